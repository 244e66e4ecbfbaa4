"""What the CRM said of the mapped objects, by day, and the baseline that a person accepted.

Owns `discovery.crm_schema` and `discovery.crm_baseline`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import duckdb
import orjson
from pydantic import TypeAdapter

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.acceptance import accept
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.crm.examine import Examination
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.warehouse.connection import transaction

_SCHEMA = TypeAdapter(CrmSchema)
_NEWEST = "FROM discovery.crm_schema WHERE object = $1 ORDER BY discovered_at DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Discovered:
    """One object as it was at a moment; `schema` is None where the CRM had none of that name.

    `asked` is what the answer depends on: of another CRM, object or parent it says nothing.
    """

    asked: str
    at: datetime
    schema: CrmSchema | None


def asked_of(spec: ObjectSpec) -> str:
    """What a discovery of the object is a discovery of."""
    return " | ".join([spec.crm, spec.to, *sorted(parent.to for parent in spec.parents.values())])


def store_schema(
    con: duckdb.DuckDBPyConnection, obj: CrmObject, schema: CrmSchema | None, now: datetime, *, asked: str = ""
) -> None:
    """Keep what the CRM said of an object; a second discovery of one day (UTC) takes the first one's place.

    `asked` is what `asked_of` says of the object's spec.
    The first discovery of all, or of another CRM than before, becomes the baseline.
    """
    told = to_json(schema)
    with transaction(con):
        con.execute("DELETE FROM discovery.crm_schema WHERE object = $1 AND day = $2", [obj, now.date()])
        con.execute("INSERT INTO discovery.crm_schema VALUES ($1, $2, $3, $4, $5)", [now.date(), obj, asked, now, told])
        held = con.execute("SELECT asked FROM discovery.crm_baseline WHERE object = $1", [obj]).fetchall()
        if held != [(asked,)]:
            _set_baseline(con, obj, asked, now, told)


def keep(con: duckdb.DuckDBPyConnection, found: Mapping[CrmObject, Examination], now: datetime) -> None:
    """Keep what a CRM said of all objects of a contract."""
    for obj, each in found.items():
        store_schema(con, obj, each.schema, now, asked=asked_of(each.spec))


def is_known(con: duckdb.DuckDBPyConnection, specs: Iterable[ObjectSpec], since: datetime) -> bool:
    """Whether all of it was discovered since then, of the CRM and objects that the contract names now.

    What stops runs is asked anew each time: it may be mended.
    """
    for spec in specs:
        found = newest(con, spec.object)
        if found is None or found.asked != asked_of(spec) or found.at < since:
            return False
        if any(finding.blocks for finding in accept(spec, found.schema)):
            return False
    return True


def newest_schema(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> CrmSchema | None:
    """What the CRM said last of an object; None where it has none, or was never asked."""
    found = newest(con, obj)
    return found.schema if found else None


def newest(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> Discovered | None:
    """The last discovery of an object; None where there was none."""
    rows = con.execute(f"SELECT asked, discovered_at, told {_NEWEST}", [obj]).fetchall()
    return Discovered(rows[0][0], rows[0][1], from_json(rows[0][2])) if rows else None


def baseline(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> Discovered | None:
    """What was accepted of an object, and when; None before its first discovery."""
    query = "SELECT asked, accepted_at, told FROM discovery.crm_baseline WHERE object = $1"
    rows = con.execute(query, [obj]).fetchall()
    return Discovered(rows[0][0], rows[0][1], from_json(rows[0][2])) if rows else None


def accept_newest(con: duckdb.DuckDBPyConnection, objects: Sequence[CrmObject], now: datetime) -> None:
    """Take what was discovered last of these objects for the baseline."""
    with transaction(con):
        for obj in objects:
            rows = con.execute(f"SELECT asked, told {_NEWEST}", [obj]).fetchall()
            if rows:
                _set_baseline(con, obj, rows[0][0], now, rows[0][1])


def days_since_accepted(
    con: duckdb.DuckDBPyConnection, obj: CrmObject, than: Discovered
) -> Iterator[tuple[date, CrmSchema | None]]:
    """The days since a baseline was accepted with what was said on them, newest first; days that say the same as the day before them are left out."""
    rows = con.execute(
        "SELECT day, told FROM discovery.crm_schema WHERE object = $1 AND asked = $2 AND discovered_at >= $3"
        " QUALIFY lag(told) OVER (ORDER BY day) IS DISTINCT FROM told OR row_number() OVER (ORDER BY day) = 1"
        " ORDER BY day DESC",
        [obj, than.asked, than.at],
    ).fetchall()
    return ((day, from_json(told)) for day, told in rows)


def drop_days(con: duckdb.DuckDBPyConnection, before: date) -> None:
    """Forget the discoveries of days before, but for each object's last."""
    con.execute(
        "DELETE FROM discovery.crm_schema AS s WHERE day < $1"
        " AND day < (SELECT max(day) FROM discovery.crm_schema o WHERE o.object = s.object)",
        [before],
    )


def to_json(schema: CrmSchema | None) -> str | None:
    """A schema as JSON text, the same for the same schema."""
    if schema is None:
        return None
    return orjson.dumps(schema, default=_as_list, option=orjson.OPT_SORT_KEYS).decode()


@lru_cache(maxsize=64)  # the steps of a run ask for the same few again and again
def from_json(told: str | None) -> CrmSchema | None:
    """The schema that `to_json` wrote, also one of a version that knew fewer keys."""
    return None if told is None else _SCHEMA.validate_json(told)


def _as_list(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _set_baseline(con: duckdb.DuckDBPyConnection, obj: CrmObject, asked: str, now: datetime, told: str | None) -> None:
    con.execute("DELETE FROM discovery.crm_baseline WHERE object = $1", [obj])
    con.execute("INSERT INTO discovery.crm_baseline VALUES ($1, $2, $3, $4)", [obj, asked, now, told])
