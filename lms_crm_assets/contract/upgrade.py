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


def renewed(document: Mapping[str, Any]) -> Document:
    """The document in the newest version, as one would write it today: without what is deprecated."""
    return _with_limit_in_throttle(upgrade(document))


def _from_1_to_2(document: Mapping[str, Any]) -> Document:
    """The burst limit has moved from the destination to `throttle.crm`; `from` takes expressions, as columns did."""
    return _with_limit_in_throttle({**document, "version": 2})


def _with_limit_in_throttle(document: Mapping[str, Any]) -> Document:
    """The CRM's burst limit where it belongs; two that contradict each other stay, for a person to choose."""
    destination, throttle = document.get("destination"), document.get("throttle", {})
    if not isinstance(destination, Mapping) or "calls_per_10_seconds" not in destination:
        return dict(document)
    crm = throttle.get("crm", {}) if isinstance(throttle, Mapping) else None
    limit = destination["calls_per_10_seconds"]
    if not isinstance(crm, Mapping) or crm.get("calls_per_10_seconds", limit) != limit:
        return dict(document)
    rest = {key: value for key, value in destination.items() if key != "calls_per_10_seconds"}
    changed = {
        **document,
        "destination": rest,
        "throttle": {**throttle, "crm": {**crm, "calls_per_10_seconds": limit}},
    }
    # Beside the destination, where a reader of the file looks for it.
    if "throttle" in document or "objects" not in document:
        return changed
    return {key: changed[key] for key in _before(document, "objects", "throttle")}


def _before(document: Mapping[str, Any], place: str, new: str) -> list[str]:
    keys = list(document)
    keys.insert(keys.index(place), new)
    return keys


_STEPS: dict[int | None, Callable[[Mapping[str, Any]], Document]] = {1: _from_1_to_2}
