"""What can be set on a simulator that serves a generated school, each option checked by its own reader."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from lms_crm_assets.sandbox.core import SandboxRequestError


def positive(value: Any) -> int:
    """A whole number from 1 on."""
    if type(value) is not int or value < 1:
        raise ValueError("a whole number from 1 on")
    return value


def natural_or_none(value: Any) -> int | None:
    """A whole number from 0 on, or none."""
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError("a whole number from 0 on, or null")
    return value


def positive_or_none(value: Any) -> int | None:
    """A whole number from 1 on, or none."""
    return None if value is None else positive(value)


def amount(value: Any) -> float:
    """A finite number from 0 on."""
    if type(value) not in {int, float} or not 0 <= value < float("inf"):
        raise ValueError("a number from 0 on")
    return float(value)


def amount_or_none(value: Any) -> float | None:
    """A finite number from 0 on, or none."""
    return None if value is None else amount(value)


def option(read: Callable[[Any], Any], default: Any) -> Any:
    """A field of `Options` with the reader that checks what it is set to."""
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True)
class Options:
    """What every such simulator can be set to; each adds its own."""

    latency_seconds: float = option(amount, 0.0)
    """Waited before every answer."""

    def changed(self, given: Mapping[str, Any]) -> Self:
        """These with some others; `SandboxRequestError` for an unknown one or a wrong value."""
        readers = {each.name: each.metadata["read"] for each in fields(self)}
        if unknown := given.keys() - readers.keys():
            raise SandboxRequestError(f"unknown options: {sorted(unknown)}")
        read = {}
        for name, value in given.items():
            try:
                read[name] = readers[name](value)
            except ValueError as exc:
                raise SandboxRequestError(f"{name} has to be {exc}") from exc
        return replace(self, **read)
