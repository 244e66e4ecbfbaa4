"""The way of a contract's file from each version of the format to the next; each step is a pure function."""

from collections.abc import Callable, Mapping
from typing import Any

Document = dict[str, Any]

MOVED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("throttle", "crm", "calls_per_10_seconds"): ("destination", "calls_per_10_seconds")
}
"""Where a key of the newest version stood in an older one, so that a mistake is told by the place in the file."""


def upgrade(document: Mapping[str, Any]) -> Document:
    """The document in the newest version; one of a version that isn't known comes back as it is."""
    current = dict(document)
    while (step := _STEPS.get(_version(current))) is not None:
        current = step(current)
    return current


def _version(document: Mapping[str, Any]) -> int | None:
    """The version when it is a number (True is 1 in Python, but no version)."""
    version = document.get("version")
    return version if type(version) is int else None


def _from_1_to_2(document: Mapping[str, Any]) -> Document:
    """The burst limit has moved from the destination to `throttle.crm`; `from` takes expressions, as columns did."""
    changed = {**document, "version": 2}
    destination = document.get("destination")
    if isinstance(destination, Mapping) and "calls_per_10_seconds" in destination and "throttle" not in document:
        rest = {key: value for key, value in destination.items() if key != "calls_per_10_seconds"}
        limit = {"crm": {"calls_per_10_seconds": destination["calls_per_10_seconds"]}}
        # Beside the destination, where a reader of the file looks for it.
        order = [*document, "throttle"] if "objects" not in document else _before(document, "objects", "throttle")
        changed = {**changed, "destination": rest, "throttle": limit}
        return {key: changed[key] for key in order}
    return changed


def _before(document: Mapping[str, Any], place: str, new: str) -> list[str]:
    keys = list(document)
    keys.insert(keys.index(place), new)
    return keys


_STEPS: dict[int | None, Callable[[Mapping[str, Any]], Document]] = {1: _from_1_to_2}
