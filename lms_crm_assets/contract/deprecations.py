"""What contracts may still say but should not any more: since when, what replaces it, and until when it is read.

The format only grows. What is to go is announced here first, and told by `lms-crm tenants validate`; `lms-crm contract
upgrade` writes the replacement.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deprecation:
    """One way to say something that is going; `path` leads to it in a file, `since` and `until` are versions of lms-crm."""

    path: tuple[str, ...]
    said: str
    replacement: str
    since: str
    until: str

    @property
    def text(self) -> str:
        """What a person is told."""
        return f"{self.said} is deprecated since {self.since} and read until {self.until}: {self.replacement}"


_ANNOUNCED: tuple[tuple[Deprecation, Callable[[object], bool]], ...] = (
    (
        Deprecation(
            path=("version",),
            said="version 1 of the format",
            replacement="write version 2, as 'lms-crm contract upgrade' does",
            since="0.1",
            until="1.0",
        ),
        lambda value: type(value) is int and value == 1,
    ),
    (
        Deprecation(
            path=("destination", "calls_per_10_seconds"),
            said="destination.calls_per_10_seconds",
            replacement="write throttle.crm.calls_per_10_seconds, as 'lms-crm contract upgrade' does",
            since="0.1",
            until="1.0",
        ),
        lambda value: value is not None,
    ),
)

ANNOUNCED = tuple(deprecation for deprecation, _ in _ANNOUNCED)
"""Everything that is deprecated, oldest first."""


def deprecations(document: Mapping[str, Any]) -> Iterator[Deprecation]:
    """Those that a file's content, as it is written there, makes use of."""
    for deprecation, applies in _ANNOUNCED:
        value: object = document
        for key in deprecation.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if applies(value):
            yield deprecation
