"""The schemas of a CRM by day, in a warehouse."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.discovery.crm_schema import (
    accept_newest,
    asked_of,
    baseline,
    days_since_accepted,
    drop_days,
    from_json,
    is_known,
    newest,
    newest_schema,
    store_schema,
    to_json,
)
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.warehouse.connection import connect
from tests.conftest import TENANTS, empty_store

CONTACT = CrmObject.CONTACT
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FIRST = CrmSchema("Contact", {"Name": CrmField("Name", "string", Kind.TEXT, length=80)}, {"A": frozenset({"y", "x"})})
SECOND = replace(FIRST, fields={**FIRST.fields, "Age": CrmField("Age", "double", Kind.NUMBER, scale=0, digits=3)})


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        yield found


def test_the_last_discovery_of_a_day_stands_for_it(con: duckdb.DuckDBPyConnection) -> None:
    assert newest_schema(con, CONTACT) is None
    store_schema(con, CONTACT, FIRST, NOON, asked="crm")
    store_schema(con, CONTACT, SECOND, NOON + timedelta(hours=1), asked="crm")
    store_schema(con, CrmObject.COURSE, FIRST, NOON, asked="crm")

    assert newest_schema(con, CONTACT) == SECOND
    rows = con.execute("SELECT day, object FROM discovery.crm_schema ORDER BY ALL").fetchall()
    assert rows == [(NOON.date(), "contact"), (NOON.date(), "course")]


def test_the_first_discovery_is_the_baseline_until_a_person_accepts_another(con: duckdb.DuckDBPyConnection) -> None:
    store_schema(con, CONTACT, FIRST, NOON, asked="crm")
    store_schema(con, CONTACT, None, NOON + DAY, asked="crm")

    held, gone = baseline(con, CONTACT), newest(con, CONTACT)
    assert held is not None
    assert gone is not None
    assert (held.schema, held.at, gone.schema) == (FIRST, NOON, None)
    accept_newest(con, [CONTACT], NOON + 2 * DAY)
    accepted = baseline(con, CONTACT)
    assert accepted is not None
    assert (accepted.schema, accepted.at) == (None, NOON + 2 * DAY)


def test_another_crm_has_no_baseline_of_the_one_before(con: duckdb.DuckDBPyConnection) -> None:
    store_schema(con, CONTACT, FIRST, NOON, asked="sandbox")
    store_schema(con, CONTACT, SECOND, NOON + DAY, asked="production")

    held = baseline(con, CONTACT)
    assert held is not None
    assert (held.asked, held.schema) == ("production", SECOND)


def test_what_was_asked_just_now_is_known_unless_it_stops_runs(con: duckdb.DuckDBPyConnection) -> None:
    spec = ObjectSpec(CONTACT, "Contact", "Key", {"Name": FieldSpec("x", frozenset(), FieldType.TEXT)}, {})
    key = CrmField("Key", "string", Kind.TEXT, unique=True, key=True)
    fits = replace(FIRST, fields={**FIRST.fields, "Key": key})
    assert not is_known(con, [spec], NOON)

    store_schema(con, CONTACT, fits, NOON, asked=asked_of(spec))
    assert is_known(con, [spec], NOON)
    assert not is_known(con, [spec], NOON + timedelta(seconds=1))
    assert not is_known(con, [replace(spec, to="Lead")], NOON)
    store_schema(con, CONTACT, FIRST, NOON, asked=asked_of(spec))
    assert not is_known(con, [spec], NOON)


def test_only_days_that_say_something_else_are_gone_through(con: duckdb.DuckDBPyConnection) -> None:
    for number, schema in enumerate([FIRST, FIRST, SECOND, SECOND, None]):
        store_schema(con, CONTACT, schema, NOON + number * DAY, asked="crm")
    held = baseline(con, CONTACT)
    assert held is not None

    assert list(days_since_accepted(con, CONTACT, held)) == [
        (date(2026, 11, 28), None),
        (date(2026, 11, 26), SECOND),
        (date(2026, 11, 24), FIRST),
    ]
    drop_days(con, date(2026, 12, 31))
    assert [day for day, _ in days_since_accepted(con, CONTACT, held)] == [date(2026, 11, 28)]


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_what_a_crm_says_comes_back_as_it_was(tenant: str, sandbox: Sandbox) -> None:  # noqa: ARG001 - sets the environment
    contract = load_contract(TENANTS, tenant)
    crm = crm_adapter(contract, empty_store())
    try:
        for obj in contract.in_order():
            spec = object_spec(contract, obj)
            schema = crm.discover(spec.to, [parent.to for parent in spec.parents.values()])
            assert schema is not None
            assert from_json(to_json(schema)) == schema
            assert spec.to in asked_of(spec)
    finally:
        crm.close()


def test_a_schema_of_a_version_that_knew_less_is_read() -> None:
    told = '{"to": "Contact", "fields": {"Name": {"name": "Name", "type": "string", "kind": "text"}}}'

    assert from_json(told) == CrmSchema("Contact", {"Name": CrmField("Name", "string", Kind.TEXT)})
