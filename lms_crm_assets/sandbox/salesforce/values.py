"""One value on its way in and out: JSON types, normalisation, limits, and the form it has in an answer.

Stored are text (never empty), bool, float, and datetimes as whole seconds since 1970; None is null. Normalisation as
the platform does it: text is trimmed, an empty text is null, an e-mail is lower-cased, a number is rounded to its scale.
(The real API is said to keep decimals beyond the scale and to round them in the user interface only. The sandbox rounds,
so that a client that compares what it wrote with what it reads has to allow for a number's scale.)
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .errors import JsonTypeError, RowError
from .ids import long_id
from .schema import TEXT_TYPES, Field

Value = str | bool | float | int | None

# REST guide, Valid Date and DateTime Formats: seconds and a zone are needed, fractions may stand.
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:?\d\d)", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1700, 4000
_EMAIL = re.compile(r"[^\s@,;<>()\[\]\"]+@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}")


def from_json(field: Field, value: Any) -> Value:
    """The value as it is stored; `JsonTypeError` for a wrong JSON type, `RowError` for one that the field can't hold."""
    if value is None:
        if field.type == "boolean":
            raise RowError(
                "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{field.label}: value not of required type: ", [field.name]
            )
        return None
    return _READERS[field.type](field, value)


def parse_datetime(text: str) -> int | None:
    """Seconds since 1970, fractions dropped; None when the text is no datetime with a zone."""
    match = _DATETIME.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1] + match[2])
    except ValueError:
        return None
    return int(moment.timestamp()) if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def format_datetime(seconds: int) -> str:
    """As answers show it: `2026-11-22T22:50:00.000+0000`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19] + ".000+0000"


def to_json(field: Field, value: Value) -> Value:
    """A stored value as answers show it."""
    if field.type == "datetime" and value is not None:
        return format_datetime(int(value))
    return value


def fold(value: str) -> str:
    """The form in which case-insensitive values are compared."""
    return value.lower()


def _read_text(field: Field, value: Any) -> Value:
    if not isinstance(value, str):
        raise JsonTypeError("string", value)
    text = value.strip()
    if len(text) > field.length:
        raise RowError(
            "STRING_TOO_LONG", f"{field.label}: data value too large: {text} (max length={field.length})", [field.name]
        )
    return text or None


def _read_email(field: Field, value: Any) -> Value:
    text = _read_text(field, value)
    if text is None:
        return None
    if not _EMAIL.fullmatch(str(text)):
        raise RowError("INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {text}", [field.name])
    return str(text).lower()


def _read_picklist(field: Field, value: Any) -> Value:
    text = _read_text(field, value)
    if text is None or not field.restricted or (text in field.values and text not in field.inactive):
        return text
    raise RowError(
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        f"{field.label}: bad value for restricted picklist field: {text}",
        [field.name],
    )


def _read_boolean(_: Field, value: Any) -> Value:
    if not isinstance(value, bool):
        raise JsonTypeError("boolean", value)
    return value


def _read_double(field: Field, value: Any) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise JsonTypeError("double", value)
    limit = 10 ** (field.precision - field.scale)
    if abs(value) < limit:
        rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
        if abs(rounded) < limit:
            return float(rounded)
    raise RowError(
        "NUMBER_OUTSIDE_VALID_RANGE",
        f"{field.label}: value outside of valid range on numeric field: {value}",
        [field.name],
    )


def _read_datetime(_: Field, value: Any) -> Value:
    seconds = parse_datetime(value) if isinstance(value, str) else None
    if seconds is None:
        raise JsonTypeError("datetime", value)
    return seconds


def _read_reference(field: Field, value: Any) -> Value:
    if not isinstance(value, str):
        raise JsonTypeError("reference", value)
    if not value:
        return None
    found = long_id(value)
    if found is None:
        raise RowError("MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", [field.name])
    return found


_READERS: dict[str, Callable[[Field, Any], Value]] = {
    **dict.fromkeys(TEXT_TYPES, _read_text),
    "email": _read_email,
    "picklist": _read_picklist,
    "boolean": _read_boolean,
    "double": _read_double,
    "datetime": _read_datetime,
    "reference": _read_reference,
}
