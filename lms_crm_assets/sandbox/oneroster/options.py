"""How the service behaves: the options that `reset` and `configure` take by name, each checked by its type."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lms_crm_assets.sandbox.core import SandboxRequestError


@dataclass(frozen=True, slots=True)
class Options:
    """None lifts a limit.

    - `latency_seconds`: added to every request.
    - `page_limit`: the largest page; a larger `limit` is taken for it.
    - `token_seconds`, `token_calls`: a token granted from now on ends after that time, or so many calls.
    - `requests_per_10_seconds`: past it, 429 with `Retry-After`.
    """

    latency_seconds: float = 0.0
    page_limit: int = 10_000
    token_seconds: float = 3_600
    token_calls: int | None = None
    requests_per_10_seconds: int | None = None

    def changed(self, given: Mapping[str, Any]) -> "Options":
        """These options with some others; `SandboxRequestError` for an unknown name or a value that can't be."""
        for name, value in given.items():
            if name not in Options.__slots__:
                raise SandboxRequestError(f"unknown option: {name}; known are {', '.join(Options.__slots__)}")
            if not _fits(name, value):
                raise SandboxRequestError(f"the option {name} can't be {value!r}")
        return replace(self, **given)


def _fits(name: str, value: Any) -> bool:
    if name.endswith("_seconds") and name != "requests_per_10_seconds":
        return type(value) in {int, float} and 0 <= value < float("inf")
    return (value is None and name != "page_limit") or (type(value) is int and value >= (name == "page_limit"))
