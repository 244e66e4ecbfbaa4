"""How a system words its webhooks, and what it has to be able to for that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .subscription import Subscription

Event: TypeAlias = Mapping[str, Any]
Listener: TypeAlias = Callable[[Event], None]


@dataclass(slots=True)
class Delivery:
    """Some events, as JSON, that go together. `attempt` counts from 0; a delivery that is repeated keeps its id."""

    id: str
    events: tuple[bytes, ...]
    attempt: int = 0
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Wording:
    """A delivery as it is sent."""

    body: bytes
    headers: Mapping[str, str]


class Voice(Protocol):
    """The words and the signature of one system."""

    events_together: int
    """How many events one delivery holds, when there are as many and the subscription doesn't say."""

    most_together: int
    """What a subscription may raise that to."""

    tries: int
    """How often a delivery is sent until it is given up."""

    tells_source: bool
    """Whether its events have a `changeSource`."""

    def check(self, subscription: Subscription) -> None:
        """`SandboxRequestError` when the secret can't sign."""

    def words(self, subscription: Subscription, delivery: Delivery, at: float) -> Wording:
        """The delivery as it is sent at this moment, in seconds since 1970."""


@runtime_checkable
class Announcing(Protocol):
    """A simulator that can tell of its changes."""

    voice: Voice

    def announce_to(self, listener: Listener | None) -> None:
        """Tell this one from now on, whoever it was before; None: nobody."""
