"""A CRM beside another tenant's, sandbox beside production say: what a contract that works here would meet there.

Owns `discovery.compared`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.crm.examine import examine
from lms_crm_assets.discovery.changes import Change, SchemaChange, compare
from lms_crm_assets.discovery.crm_schema import from_json, newest, to_json
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.warehouse.connection import transaction

# The other CRM may well have more.
_MORE = frozenset({Change.FIELD_NEW, Change.VALUES_NEW, Change.OBJECT_NEW})


@dataclass(frozen=True, slots=True)
class Other:
    """What another tenant's CRM said of this tenant's objects; `trouble` is why it could not be asked, else empty."""

    tenant: str
    schemas: Mapping[CrmObject, CrmSchema | None]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What the other CRM lacks or has narrower, by object; `at` is when it was asked."""

    at: datetime
    trouble: str
    lacks: Mapping[CrmObject, list[SchemaChange]]


def ask_other(contract: Contract, other: Contract, store: OperationalStore) -> Other:
    """Ask the other tenant's CRM for the objects of this contract; what goes wrong there is no error here."""
    if contract.destination.adapter != other.destination.adapter:
        trouble = (
            f"{other.tenant} is of {other.destination.adapter}, {contract.tenant} of {contract.destination.adapter}"
        )
        return Other(other.tenant, {}, trouble)
    try:
        found = examine(other.model_copy(update={"objects": contract.objects}), store)
    except LmsCrmError as exc:
        return Other(other.tenant, {}, str(exc))
    return Other(other.tenant, {obj: each.schema for obj, each in found.items()})


def store_other(con: duckdb.DuckDBPyConnection, other: Other, now: datetime) -> None:
    """Keep what was said last; of former comparisons nothing is kept."""
    with transaction(con):
        con.execute("DELETE FROM discovery.compared")
        if other.trouble:
            con.execute(
                "INSERT INTO discovery.compared VALUES ($1, NULL, $2, NULL, $3)", [other.tenant, now, other.trouble]
            )
        for obj, schema in other.schemas.items():
            con.execute(
                "INSERT INTO discovery.compared VALUES ($1, $2, $3, $4, NULL)",
                [other.tenant, obj, now, to_json(schema)],
            )


def likeness(con: duckdb.DuckDBPyConnection, tenant: str, specs: Mapping[CrmObject, ObjectSpec]) -> Likeness | None:
    """This CRM as it was discovered last beside the other tenant's; None before the two were compared."""
    rows = con.execute(
        "SELECT object, compared_at, told, trouble FROM discovery.compared WHERE tenant = $1", [tenant]
    ).fetchall()
    if not rows:
        return None
    trouble = next((row[3] for row in rows if row[3]), "")
    lacks: dict[CrmObject, list[SchemaChange]] = {}
    for name, _, told, _ in rows if not trouble else ():
        obj = CrmObject(name)
        here = newest(con, obj)
        if obj in specs and here is not None and here.schema is not None:
            found = compare(here.schema, from_json(told), specs[obj])
            lacks[obj] = [each for each in found if each.change not in _MORE]
    return Likeness(rows[0][1], trouble, lacks)
