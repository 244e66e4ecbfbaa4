"""What a row of any collection tells about itself: its key, whether it is deleted, when it changed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

_DELETED = "tobedeleted"


def sourced_id(row: Any) -> str | None:
    """The `sourcedId` of a row or of a reference to one."""
    given = row.get("sourcedId") if isinstance(row, Mapping) else None
    return str(given) if isinstance(given, str | int) and given != "" else None


def member(row: Any, name: str) -> Any:
    """A member of a row, None where there is none."""
    return row.get(name) if isinstance(row, Mapping) else None


def place_of(row: Any) -> str:
    """What tells a row from its neighbours: its sourcedId, and of a row without one its content."""
    return sourced_id(row) or f"({_digest(row)})"


def is_deleted(row: Any) -> bool:
    """Whether the provider says that the row is to be deleted."""
    return bool(member(row, "status") == _DELETED)


def _digest(row: Any) -> str:
    try:
        content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        content = b"nested too deep"
    return hashlib.sha256(content).hexdigest()
