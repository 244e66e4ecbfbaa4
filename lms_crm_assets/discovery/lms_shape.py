"""The shape of what the LMS sends: which attributes its records have, and of which types, by day.

A sample of each table of raw_lms is looked at. Owns `discovery.lms_shape` and `discovery.lms_baseline`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb
import orjson

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.staging.attributes import Attributes
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import table_exists

SAMPLE_ROWS = 2000
"""Records that are looked at: what one in a hundred has is missed by one sample in 500 million."""

# Attributes deeper than this, or more of them, are a document's, not a record's.
_DEPTH = 4
_MOST_ATTRIBUTES = 500
_LONGEST_BYTES = 65_536
# A key that is none of these is a value, an e-mail address say: it is told to nobody.
_NAME = re.compile(r"[A-Za-z_$][\w$:-]{0,63}", re.ASCII)
_TYPES: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute by its path: the types of its values but for null, and in how many of the records it stands."""

    types: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class Shape:
    """The attributes of an entity's records, by path (`user.name`), and how many records were looked at."""

    records: int
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Observed:
    """A shape as it was at a moment, of the LMS that `asked` names."""

    asked: str
    at: datetime
    shape: Shape


def shape_of(payloads: Iterable[str]) -> Shape:
    """The shape of some records as the LMS sent them; what is no object counts without attributes."""
    types: dict[str, set[str]] = {}
    seen: dict[str, int] = {}
    records = 0
    for payload in payloads:
        records += 1
        record = orjson.loads(payload)
        for path, value in _attributes(record, "", 1):
            if path not in types and len(types) >= _MOST_ATTRIBUTES:
                continue
            seen[path] = seen.get(path, 0) + 1
            found = types.setdefault(path, set())
            if value is not None:
                found.add(_TYPES[type(value)])
    return Shape(records, {path: Attribute(tuple(sorted(types[path])), seen[path]) for path in sorted(types)})


def sample(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> list[str]:
    """Payloads of living rows: those that the newest pull observed first, of many the same ones each time."""
    if not table_exists(con, "raw_lms", entity):
        return []
    table = f"raw_lms.{entity}"
    # By row number: to order the payloads themselves takes all of them into memory.
    rows = con.execute(
        f"SELECT payload FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE NOT is_deleted"
        f" ORDER BY observed_at DESC, hash(source_id), source_id LIMIT {SAMPLE_ROWS})"
        f" AND payload IS NOT NULL AND strlen(payload) <= {_LONGEST_BYTES}"
    ).fetchall()
    return [row[0] for row in rows]


def store_shape(con: duckdb.DuckDBPyConnection, entity: LmsEntity, shape: Shape, now: datetime, *, asked: str) -> None:
    """Keep a shape; a second one of one day (UTC) takes the first one's place.

    The first of all, or of another LMS than before, becomes the baseline. Where there is no record there is no shape.
    """
    if not shape.records:
        return
    told = orjson.dumps(shape, option=orjson.OPT_SORT_KEYS).decode()
    with transaction(con):
        con.execute("DELETE FROM discovery.lms_shape WHERE entity = $1 AND day = $2", [entity, now.date()])
        con.execute(
            "INSERT INTO discovery.lms_shape VALUES ($1, $2, $3, $4, $5)", [now.date(), entity, asked, now, told]
        )
        held = con.execute("SELECT asked FROM discovery.lms_baseline WHERE entity = $1", [entity]).fetchall()
        if held != [(asked,)]:
            _set_baseline(con, entity, asked, now, told)


def newest_shape(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> Observed | None:
    """What was seen last of an entity; None before its first record."""
    return _one(
        con,
        "SELECT asked, observed_at, told FROM discovery.lms_shape WHERE entity = $1 ORDER BY observed_at DESC LIMIT 1",
        entity,
    )


def shape_baseline(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> Observed | None:
    """What was accepted of an entity; None before its first record."""
    return _one(con, "SELECT asked, accepted_at, told FROM discovery.lms_baseline WHERE entity = $1", entity)


def accept_newest_shapes(con: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Take what was seen last of every entity for the baseline."""
    with transaction(con):
        for entity in LmsEntity:
            found = newest_shape(con, entity)
            if found is not None:
                told = orjson.dumps(found.shape, option=orjson.OPT_SORT_KEYS).decode()
                _set_baseline(con, entity, found.asked, now, told)


def shapes_since_accepted(
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, than: Observed
) -> Iterator[tuple[date, Shape]]:
    """The days since a baseline was accepted with what was seen on them, newest first."""
    rows = con.execute(
        "SELECT day, told FROM discovery.lms_shape WHERE entity = $1 AND asked = $2 AND observed_at >= $3 ORDER BY day DESC",
        [entity, than.asked, than.at],
    ).fetchall()
    return ((day, _from_json(told)) for day, told in rows)


def drop_shapes(con: duckdb.DuckDBPyConnection, before: date) -> None:
    """Forget the shapes of days before, but for each entity's last."""
    con.execute(
        "DELETE FROM discovery.lms_shape AS s WHERE day < $1"
        " AND day < (SELECT max(day) FROM discovery.lms_shape o WHERE o.entity = s.entity)",
        [before],
    )


def is_read(path: str, read: Attributes) -> bool:
    """Whether the adapter's SQL reads an attribute, whole or as a part of one."""
    known: Any = read
    for name in path.split("."):
        if known is None:
            return True
        if name not in known:
            return False
        known = known[name]
    return True


def _attributes(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if not _NAME.fullmatch(name):
            continue
        here = f"{path}{name}"
        yield here, inner
        if depth < _DEPTH:
            yield from _attributes(inner, f"{here}.", depth + 1)


def _one(con: duckdb.DuckDBPyConnection, query: str, entity: LmsEntity) -> Observed | None:
    rows = con.execute(query, [entity]).fetchall()
    return Observed(rows[0][0], rows[0][1], _from_json(rows[0][2])) if rows else None


def _from_json(told: str) -> Shape:
    held = orjson.loads(told)
    attributes = {path: Attribute(tuple(each["types"]), each["records"]) for path, each in held["attributes"].items()}
    return Shape(held["records"], attributes)


def _set_baseline(con: duckdb.DuckDBPyConnection, entity: LmsEntity, asked: str, now: datetime, told: str) -> None:
    con.execute("DELETE FROM discovery.lms_baseline WHERE entity = $1", [entity])
    con.execute("INSERT INTO discovery.lms_baseline VALUES ($1, $2, $3, $4)", [entity, asked, now, told])
