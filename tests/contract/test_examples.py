"""The acceptance cases beside the contracts, `tenants/examples/<tenant>/*.yaml`, by the SQL that a run uses."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from lms_crm_assets.contract.canonical import COLUMNS, EXTRA_COLUMN
from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import quoted
from tests.conftest import TENANTS

EXAMPLES = TENANTS / "examples"
SQL_TYPES = {
    FieldType.TEXT: "VARCHAR",
    FieldType.EMAIL: "VARCHAR",
    FieldType.NUMBER: "DECIMAL(12,5)",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.DATETIME: "TIMESTAMPTZ",
}
CASES = [
    pytest.param(file, number, id=f"{file.parent.name}/{file.stem}: {case['about']}")
    for file in sorted(EXAMPLES.glob("*/*.yaml"))
    for number, case in enumerate(yaml.safe_load(file.read_text(encoding="utf-8"))["cases"])
]


def contract_of(tenant: str) -> Contract:
    environ = {f"{tenant.upper()}_{side}_URL": "https://example.test" for side in ("LMS", "CRM")}
    return load_contract(TENANTS, tenant, environ)


def plain(value: Any) -> str | None:
    """A value of the example file as a source would spell it."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def desired(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, row: dict[str, Any]) -> dict[str, str | None]:
    columns = COLUMNS[spec.object]
    assert set(row) <= {*columns, EXTRA_COLUMN}, "the case names a column that there isn't"
    typed = ", ".join(f"CAST(j ->> '{name}' AS {SQL_TYPES[kind]}) AS {quoted(name)}" for name, kind in columns.items())
    source = f"SELECT {typed}, j -> '{EXTRA_COLUMN}' AS {EXTRA_COLUMN} FROM (SELECT $row::JSON AS j)"
    fields = ", ".join(normal_form(field.expression, field) for field in spec.fields.values())
    given = json.dumps({name: value if name == EXTRA_COLUMN else plain(value) for name, value in row.items()})
    (made,) = con.execute(f"SELECT {fields} FROM ({source})", {"row": given}).fetchall()
    return dict(zip(spec.fields, made, strict=True))


def live(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, name: str, value: Any) -> str | None:
    query = f"SELECT {normal_form('v', spec.fields[name])} FROM (SELECT $value::VARCHAR AS v)"
    found: str | None = con.execute(query, {"value": plain(value)}).fetchall()[0][0]
    return found


def meaning(kind: FieldType, value: Any) -> Any:
    """A value without its spelling."""
    text = plain(value)
    return Decimal(text) if kind is FieldType.NUMBER and text is not None else text


@pytest.mark.parametrize(("file", "number"), CASES)
def test_a_row_of_the_lms_becomes_the_record_of_the_crm(file: Path, number: int, tmp_path: Path) -> None:
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    case = told["cases"][number]
    spec = object_spec(contract_of(file.parent.name), CrmObject(told["object"]))
    assert {*case["expect"], *case.get("held", {})} <= set(spec.fields), "the case names a field that is not mapped"

    with connect(tmp_path / "w.duckdb") as con:
        made = desired(con, spec, case["given"])
        held = {name: live(con, spec, name, value) for name, value in case.get("held", {}).items()}

    types = {name: field.type for name, field in spec.fields.items()}
    assert {name: meaning(types[name], value) for name, value in made.items()} == {
        name: meaning(types[name], case["expect"].get(name)) for name in spec.fields
    }
    assert held == {name: made[name] for name in held}, "the CRM's spelling would be taken for a difference"


@pytest.mark.parametrize("tenant", tenant_names(TENANTS))
def test_every_object_of_an_example_contract_has_a_case(tenant: str) -> None:
    covered = {
        yaml.safe_load(file.read_text(encoding="utf-8"))["object"] for file in (EXAMPLES / tenant).glob("*.yaml")
    }

    assert covered == set(map(str, contract_of(tenant).objects))
