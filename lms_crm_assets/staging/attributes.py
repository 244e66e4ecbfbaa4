"""Which attributes of the LMS's records the adapters' SQL reads, and what is left of a record without them: `extra`.

`extra` is a JSON object with sorted keys, so that a payload in another order is no change. It holds whatever the LMS
adds, also what moves with every visit (Moodle's `lastaccess`): such a row is mapped anew, but the CRM is only written
when a mapped value differs.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb
import orjson
from duckdb.func import SPECIAL

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.warehouse.sql import sql_file

MAX_EXTRA_BYTES = 32_768
"""Of a larger `extra` the largest attributes are left out, and the row stays valid.

Some 300 attributes of 100 bytes fit; what is larger is a document, not an attribute of a learner.
"""

CUT = "~"
"""Stands before an `extra` that is not whole, for the caller to take away."""

Attributes = Mapping[str, Any]
"""Name → None for an attribute that is read whole, or the attributes that are read of an object."""


_STRUCTURE = re.compile(r"json_transform\(\s*payload\s*,\s*'(\{.*?\})'\s*\)", re.DOTALL)
_PAYLOAD = re.compile(r"^    payload,$", re.MULTILINE)


@cache
def passes_payload_on(adapter: str, entity: LmsEntity) -> bool:
    """Whether the adapter's records have attributes of their own, so that its SQL gives the payload for `extra`."""
    return _PAYLOAD.search(_query(adapter, entity)) is not None


@cache
def read_attributes(adapter: str, entity: LmsEntity) -> Attributes:
    """What the adapter's SQL reads of an entity's payload: what its `json_transform` names, and the record's key."""
    read: dict[str, Any] = {"id": None}
    for structure in _STRUCTURE.findall(_query(adapter, entity)):
        read |= _of_structure(orjson.loads(structure))
    return read


def _query(adapter: str, entity: LmsEntity) -> str:
    return sql_file(f"lms_crm_assets.staging.{adapter}", f"{entity.staging_table}.sql")


def _of_structure(structure: Mapping[str, Any]) -> dict[str, Any]:
    """Objects by their members, lists and values whole."""
    return {name: _of_structure(inner) if isinstance(inner, dict) else None for name, inner in structure.items()}


@contextmanager
def extra_function(con: duckdb.DuckDBPyConnection, adapter: str, entity: LmsEntity) -> Iterator[None]:
    """Lend the connection the SQL function `extra_of(payload)`, outside of any transaction."""

    def extra_of(payload: str | None) -> str | None:
        return extra(payload, adapter, entity)

    con.create_function("extra_of", extra_of, ["VARCHAR"], "VARCHAR", null_handling=SPECIAL)
    try:
        yield
    finally:
        con.remove_function("extra_of")


def extra(payload: str | None, adapter: str, entity: LmsEntity) -> str | None:
    """The attributes of a payload that the adapter's SQL doesn't read, as canonical JSON; None when there are none.

    The payload was written by orjson, so a part of it can be written again however deep it is.
    """
    record = orjson.loads(payload) if payload is not None else None
    left = _unread(record, read_attributes(adapter, entity)) if isinstance(record, dict) else {}
    if adapter == "moodle" and "customfields" in left:
        left["customfields"] = _by_shortname(left["customfields"])
    return _within_limit(left)


def _within_limit(left: dict[str, Any]) -> str | None:
    """The attributes as JSON, the largest left out until the rest fits; `CUT` stands before what is not whole."""
    made = orjson.dumps(left, option=orjson.OPT_SORT_KEYS)
    cut = len(made) > MAX_EXTRA_BYTES
    if cut:
        sizes = {name: len(orjson.dumps({name: value})) for name, value in left.items()}
        kept, room = {}, MAX_EXTRA_BYTES
        for name in sorted(sizes, key=lambda name: (sizes[name], name)):
            room -= sizes[name]
            if room >= 0:
                kept[name] = left[name]
        left, made = kept, orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    if not left:
        return CUT if cut else None
    return f"{CUT if cut else ''}{made.decode()}"


def _unread(record: dict[str, Any], known: Attributes) -> dict[str, Any]:
    left: dict[str, Any] = {}
    for name, value in record.items():
        if name not in known:
            left[name] = value
        elif known[name] is not None and isinstance(value, dict) and (inner := _unread(value, known[name])):
            left[name] = inner
    return left


def _by_shortname(fields: Any) -> Any:
    """Moodle's list of custom fields as short name → value; anything else under that name stays as it is."""
    try:
        return {field["shortname"]: field["value"] for field in fields if isinstance(field["shortname"], str)}
    except (TypeError, KeyError):
        return fields
