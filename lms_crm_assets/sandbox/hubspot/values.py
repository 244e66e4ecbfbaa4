"""What HubSpot does to one property value: check it by the property's type and bring it to its canonical text."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from lms_crm_assets.sandbox.hubspot.errors import InvalidValueError

MAX_CHARACTERS = 65_536
_THOUSAND_YEARS_MS = 1_000 * 365 * 86_400_000
_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_INTEGER = re.compile(r"-?\d{1,15}")
_EMAIL = re.compile(r"[^\s@,;<>()\[\]\"]+@[^\s@.,;<>()\[\]\"]+(\.[^\s@.,;<>()\[\]\"]+)+")

Options = Mapping[str, str]


def iso(ms: int) -> str:
    """Epoch milliseconds as HubSpot prints them: `2026-11-22T22:50:00Z`, with `.123` only when they are not zero."""
    seconds, rest = divmod(ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def epoch_ms(text: str) -> int | None:
    """Epoch milliseconds, an ISO instant with its zone or a day, as milliseconds; None when it is none of them."""
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        if _DAY.fullmatch(text):
            moment, fraction = datetime.fromisoformat(f"{text}T00:00:00+00:00"), ""
        elif found := _INSTANT.fullmatch(text):
            moment, fraction = datetime.fromisoformat(found[1] + found[3]), found[2] or ""
        else:
            return None
    except ValueError:
        return None
    since = moment - _EPOCH
    return since.days * _DAY_MS + since.seconds * 1000 + int(fraction[:3].ljust(3, "0"))


def _text(name: str, text: str, _options: Options) -> str:
    if len(text) > MAX_CHARACTERS:  # the limit is documented, its code is unverified
        message = f"Property value of {len(text)} characters is too long. The maximum is {MAX_CHARACTERS}."
        raise InvalidValueError(name, "VALUE_TOO_LONG", message)
    return text


def _email(name: str, text: str, _options: Options) -> str:
    address = text.strip().lower()
    if not _EMAIL.fullmatch(address):
        raise InvalidValueError(name, "INVALID_EMAIL", f"Email address {text} is invalid")
    return address


def _number(name: str, text: str, _options: Options) -> str:
    if text in {"NaN", "Infinity", "-Infinity"}:
        raise InvalidValueError(name, "INVALID_NUMBER", f"{text} was not a finite number.")
    try:
        number = Decimal(text) if _NUMBER.fullmatch(text) else None
    except InvalidOperation:
        number = None
    if number is None:
        raise InvalidValueError(name, "INVALID_INTEGER", f"{text} was not a valid number.")
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in {"-0", ""} else plain


def _bool(name: str, text: str, _options: Options) -> str:
    if text == "true":
        return "true"
    if text == "false":
        return "false"
    raise _not_an_option(name, text, ["true", "false"])


def _choice(name: str, text: str, options: Options) -> str:
    if text not in options:
        raise _not_an_option(name, text, options)
    return text


def _choices(name: str, text: str, options: Options) -> str:
    chosen = [part for part in text.split(";") if part]
    for part in chosen:
        _choice(name, part, options)
    return ";".join(chosen)


def _not_an_option(name: str, text: str, options: Options | list[str]) -> InvalidValueError:
    return InvalidValueError(
        name, "INVALID_OPTION", f"{text} was not one of the allowed options: [{', '.join(options)}]"
    )


def _datetime(name: str, text: str, _options: Options) -> str:
    ms = None if _DAY.fullmatch(text) else epoch_ms(text)
    if ms is None:
        raise InvalidValueError(name, "INVALID_LONG", f"{text} was not a valid long.")
    return iso(_plausible(name, text, ms))


def _date(name: str, text: str, _options: Options) -> str:
    ms = epoch_ms(text)
    if ms is None:
        raise InvalidValueError(name, "INVALID_DATE", f"{text} was not a valid date.")
    if rest := _plausible(name, text, ms) % _DAY_MS:
        minutes, rest = divmod(rest, 60_000)
        at = f"{minutes // 60}:{minutes % 60}:{rest // 1000}.{rest % 1000}"
        raise InvalidValueError(name, "INVALID_DATE", f"{text} is at {at} UTC, not midnight!")
    return iso(ms)[:10]


def _plausible(name: str, text: str, ms: int) -> int:
    if abs(ms - time.time() * 1000) > _THOUSAND_YEARS_MS:
        message = f"{text} is more than 1,000 years ago or 1,000 years from now."
        raise InvalidValueError(name, "INVALID_DATE", message)
    return ms


Normaliser = Callable[[str, str, Options], str]

NORMALISERS: Mapping[str, Normaliser] = {
    "string": _text,
    "phone_number": _text,
    "email": _email,
    "number": _number,
    "bool": _bool,
    "enumeration": _choice,
    "checkbox": _choices,
    "datetime": _datetime,
    "date": _date,
}
"""By property type; `email` and `checkbox` (many choices, `a;b`) stand for what HubSpot tells by name and field type.

Each takes the property's name, the text as sent (never empty) and the options; it raises `InvalidValueError`. Leading and
trailing blanks are refused for every type but text and e-mail (HubSpot changelog, April 2025).
"""
