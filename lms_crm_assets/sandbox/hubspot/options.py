"""How the portal behaves: the options that `reset` and `configure` take by name, each checked by its type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.hubspot.record_faults import RecordFault, read_record_faults


@dataclass(frozen=True, slots=True)
class Options:
    """None lifts a limit; `requests_per_10_seconds` None lifts those of OAuth apps and of associations too.

    - `requests_per_10_seconds`, `oauth_requests_per_10_seconds`: a private app's and an OAuth app's limit (HubSpot
      documentation, "API usage guidelines").
    - `search_lag_seconds`: how long the search shows a record as it was.
    - `short_search_pages`: a search shows half of what it was asked for, with `paging` as long as more follows.
    - `latency_seconds`: added to every request.
    - `token_seconds`, `token_calls`: an OAuth token granted from now on ends after that time, or so many calls.
    - `code_seconds`: how long an authorization code lives.
    - `rotate_refresh_tokens`: a refresh hands out a new refresh token and the old one is dead.
    - `custom_objects` False: a tier without them; none exists and none can be made.
    - `courses_active` False: an admin has not activated the courses object yet.
    - `record_faults`: see `RecordFault`; a new list replaces the one before.
    """

    requests_per_10_seconds: int | None = 190
    oauth_requests_per_10_seconds: int | None = 110
    associations_per_10_seconds: int | None = 150
    searches_per_second: int | None = 5
    daily_limit: int = 1_000_000
    search_lag_seconds: float = 0.0
    short_search_pages: bool = False
    latency_seconds: float = 0.0
    token_seconds: float = 1_800
    token_calls: int | None = None
    code_seconds: float = 300
    rotate_refresh_tokens: bool = False
    custom_objects: bool = True
    courses_active: bool = True
    record_faults: Sequence[RecordFault] = ()

    def changed(self, given: Mapping[str, Any]) -> "Options":
        """These options with some others; `SandboxRequestError` for an unknown name or a value of the wrong type."""
        if not isinstance(given, Mapping):
            raise SandboxRequestError("options are an object of names and values")
        for name, value in given.items():
            if name not in _CHECKS:
                raise SandboxRequestError(f"unknown option: {name}; known are {', '.join(_CHECKS)}")
            fits, wanted = _CHECKS[name]
            if not fits(value):
                raise SandboxRequestError(f"the option {name} is {wanted}, not {value!r}")
        changes = dict(given)
        if "record_faults" in changes:
            changes["record_faults"] = read_record_faults(changes["record_faults"])
        return replace(self, **changes)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_count_or_none(value: object) -> bool:
    return value is None or _is_count(value)


def _is_seconds(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value < float("inf")  # type: ignore[operator]


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_flag(value: object) -> bool:
    return type(value) is bool


Check = tuple[Callable[[object], bool], str]

_COUNT: Check = (_is_count, "a whole number from 0")
_LIMIT: Check = (_is_count_or_none, "a whole number from 0, or null")
_SECONDS: Check = (_is_seconds, "a number of seconds from 0")
_FLAG: Check = (_is_flag, "true or false")
_LIST: Check = (_is_list, "a list")

_CHECKS: Mapping[str, Check] = {
    "requests_per_10_seconds": _LIMIT,
    "oauth_requests_per_10_seconds": _LIMIT,
    "associations_per_10_seconds": _LIMIT,
    "searches_per_second": _LIMIT,
    "daily_limit": _COUNT,
    "search_lag_seconds": _SECONDS,
    "short_search_pages": _FLAG,
    "latency_seconds": _SECONDS,
    "token_seconds": _SECONDS,
    "token_calls": _LIMIT,
    "code_seconds": _SECONDS,
    "rotate_refresh_tokens": _FLAG,
    "custom_objects": _FLAG,
    "courses_active": _FLAG,
    "record_faults": _LIST,
}
