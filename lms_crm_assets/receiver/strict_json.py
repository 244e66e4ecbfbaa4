"""JSON as it is accepted from outside: what two readers might read differently is refused.

Whatever is well-formed passes: what makes no sense is refused later, with a code.
"""

import json
from typing import Any

MAX_DEPTH = 64


class NotJsonError(ValueError):
    """The text says why, without quoting what was sent."""


def read_json(body: bytes) -> Any:
    """The value of a body; `NotJsonError` for what is no JSON, or ambiguous, or nested too deep."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJsonError("the body is not UTF-8") from None
    if "\0" in text:
        raise NotJsonError("the body contains NUL")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except NotJsonError:
        raise
    except RecursionError:
        raise NotJsonError(f"the body is nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        # Truncated, or a number of thousands of digits.
        raise NotJsonError("the body is no JSON") from None
    # Few brackets can't be nested deep; NUL is written with an escape.
    if text.count("[") + text.count("{") > MAX_DEPTH or "\\u0000" in text:
        _check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJsonError("an object of the body has a key twice")
    return found


def _constant(_: str) -> Any:
    raise NotJsonError("the body contains NaN or Infinity, which JSON has not")


def _check(value: Any) -> None:
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, str) and "\0" in each:
                raise NotJsonError("the body contains NUL")
            if isinstance(each, dict):
                inner.extend((*each.keys(), *each.values()))
            elif isinstance(each, list):
                inner.extend(each)
        depth += any(isinstance(each, dict | list) for each in level)
        if depth > MAX_DEPTH:
            raise NotJsonError(f"the body is nested deeper than {MAX_DEPTH}")
        level = inner
