"""The last resort before a line is written: what looks like a secret or an address of a person is taken out of it.

Our own lines hold ids, numbers and words of ours. Those of libraries may quote what was sent, which nobody foresees.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"

_LONGEST = 4_000
_DEEPEST = 6
_SECRET_KEY = re.compile(
    r"token|secret|passw|passphrase|authorization|cookie|api[-_]?key|credential|assertion|signature|e_?mail|^key$",
    re.IGNORECASE,
)
# Bounded, so that a long word costs no square of its length.
_TELLING = re.compile(
    r"""
    (?P<scheme>\b(?:Bearer|Basic|Token)\s+)[\w.~+/=!-]{6,}
    | (?P<name>\b\w{0,40}(?:token|secret|passw(?:or)?d|api[-_]?key|assertion|signature|session_?id|authorization|code)
        ["']?\s{0,3}[=:]\s{0,3}["']?)(?!Bearer\b|Basic\b|\[)[^\s&"',;}]{4,}
    | \beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?               # a JSON Web Token
    | \bwhsec_[\w+/=-]{8,}
    | \bpat-\w{2,4}-[0-9a-f-]{16,}                         # HubSpot, private apps
    | \b00D\w{9,15}![\w.]{16,}                             # Salesforce, sessions
    | \b3MVG9[\w.]{20,}                                    # Salesforce, connected apps
    | [\w.+'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}
    """,
    re.IGNORECASE | re.VERBOSE,
)
# One of these is in whatever matches: looking for them is a tenth of the cost.
_MARKS = (
    *("@", "%40", "bearer", "basic", "token", "secret", "passw", "key", "assertion", "signature", "session"),
    *("authorization", "code", "eyj", "whsec_", "pat-", "00d", "3mvg9"),
)


def redacted_text(text: str) -> str:
    """A text without what looks like a secret or an e-mail address; a very long one is cut."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    lowered = text.lower()
    return _TELLING.sub(_without, text) if any(mark in lowered for mark in _MARKS) else text


def redacted(values: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The same of a line's values; a text under a name such as `token` goes, whatever it is."""
    return {
        str(name): REDACTED if _is_secret(str(name)) and not _is_number(value) else _cleaned(value, depth)
        for name, value in values.items()
    }


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_KEY.search(name) is not None


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redacted_text(value)
    if _is_number(value):
        return value
    if depth >= _DEEPEST:
        return REDACTED
    if isinstance(value, Mapping):
        return redacted(value, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(each, depth + 1) for each in value]
    # What it would say of itself nobody knows.
    return f"<{type(value).__name__}>"


def _without(found: re.Match[str]) -> str:
    return f"{found['scheme'] or found['name'] or ''}{REDACTED}"
