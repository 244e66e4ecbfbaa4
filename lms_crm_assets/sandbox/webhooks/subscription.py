"""What `POST /_sandbox/webhooks` asks for: where deliveries go, how they are signed, and what goes wrong on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import httpx

from lms_crm_assets.sandbox.errors import SandboxRequestError


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where webhooks go.

    - `drop`, `twice`: the share of events that are never sent, and of deliveries that are sent once more after they were
      acknowledged.
    - `shuffle`: each event waits up to a second, by chance.
    - `seed`: of the chance.
    - `together`: how many events a delivery may hold; without it what the system does by itself.
    - `sources`: of HubSpot only changes with these `changeSource`s.
    """

    url: str
    secret: str
    drop: float = 0.0
    twice: float = 0.0
    shuffle: bool = False
    seed: int = 0
    together: int | None = None
    sources: tuple[str, ...] | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """`SandboxRequestError` for an unknown name, a missing one or a value of the wrong kind."""
        names = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in names:
                raise SandboxRequestError(f"unknown: {name}; known are {', '.join(names)}")
            fits, wanted = _CHECKS[name]
            if not fits(value):
                raise SandboxRequestError(f"{name} has to be {wanted}")
        if not given.keys() >= {"url", "secret"}:
            raise SandboxRequestError("webhooks need a url and a secret; {} ends them")
        read = dict(given)
        if read.get("sources") is not None:
            read["sources"] = tuple(read["sources"])
        return cls(**read)


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = httpx.URL(value)
    except httpx.InvalidURL:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.host)


def _is_share(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value <= 1  # type: ignore[operator]


_CHECKS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "url": (_is_address, "an address with http or https"),
    "secret": (lambda value: isinstance(value, str) and bool(value), "a text"),
    "drop": (_is_share, "a share from 0 to 1"),
    "twice": (_is_share, "a share from 0 to 1"),
    "shuffle": (lambda value: type(value) is bool, "true or false"),
    "seed": (lambda value: type(value) is int, "a whole number"),
    "together": (lambda value: value is None or (type(value) is int and value > 0), "a whole number from 1, or null"),
    "sources": (
        lambda value: value is None or (isinstance(value, list) and all(isinstance(each, str) for each in value)),
        "a list of texts, or null",
    ),
}
