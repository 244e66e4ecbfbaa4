"""What waits to be delivered, and what is decided about it. Bounded in number and bytes; the caller's clock."""

import random
import secrets
from collections import Counter
from heapq import heappop, heappush
from itertools import count
from typing import Any

import orjson

from .subscription import Subscription
from .voice import Delivery, Event, Voice

MOST_WAITING = 100_000
MOST_BYTES = 64 * 1024 * 1024
SHUFFLE_SECONDS = 1.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.2, 30.0
# Receivers take bodies up to 256 KiB.
_BODY_BYTES = 200_000
_ANY_TIME_LATER = {408, 425, 429}


class Outbox:
    """The events that a system has to tell, from the change to the acknowledgement."""

    def __init__(self, subscription: Subscription, voice: Voice) -> None:
        """Begin with nothing to tell."""
        self._subscription = subscription
        self._together = min(subscription.together or voice.events_together, voice.most_together)
        self._tries = voice.tries
        self._counts: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        # One chance for what is lost and one for the rest, so that a seed loses the same whatever else is set.
        self._loss = random.Random(subscription.seed)  # noqa: S311 - simulated mishaps, not secrets
        self._chance = random.Random(subscription.seed)  # noqa: S311 - as above
        self._numbers = count()
        self._fresh: list[tuple[float, int, bytes]] = []
        self._later: list[tuple[float, int, Delivery]] = []
        self._waiting = self._bytes = 0

    def add(self, event: Event, now: float) -> None:
        """Take up what has changed."""
        wanted = self._subscription.sources
        if wanted is not None and event["changeSource"] not in wanted:
            return
        self._counts["changed"] += 1
        if self._loss.random() < self._subscription.drop:
            self._counts["dropped"] += 1
            return
        text = orjson.dumps(event)
        if self._waiting >= MOST_WAITING or self._bytes + len(text) > MOST_BYTES:
            self._counts["overflowed"] += 1
            return
        self._waiting += 1
        self._bytes += len(text)
        due = now + (self._chance.random() * SHUFFLE_SECONDS if self._subscription.shuffle else 0.0)
        heappush(self._fresh, (due, next(self._numbers), text))

    def take(self, now: float) -> Delivery | None:
        """What is to be sent now; it is settled afterwards."""
        if self._later and self._later[0][0] <= now:
            return heappop(self._later)[2]
        events: list[bytes] = []
        size = 0
        while self._fresh and self._fresh[0][0] <= now and len(events) < self._together:
            size += len(self._fresh[0][2])
            if events and size > _BODY_BYTES:
                break
            events.append(heappop(self._fresh)[2])
        if not events:
            return None
        self._counts["sent"] += len(events)
        return Delivery(f"msg_{secrets.token_urlsafe(16)}", tuple(events))

    def next_due(self) -> float | None:
        """When something is to be sent next; None: nothing waits for its time."""
        return min((waiting[0][0] for waiting in (self._fresh, self._later) if waiting), default=None)

    def settle(self, delivery: Delivery, status: int | None, now: float, wait_seconds: float = 0.0) -> None:
        """Note the answer to a delivery, None for none, and decide whether it is sent again.

        What the receiver says will never do (HubSpot documentation, "Webhooks API": 400, 401, 403, 404, 405) ends it.
        `wait_seconds` is what the receiver asked for.
        """
        self._answers["none" if status is None else str(status)] += 1
        number = len(delivery.events)
        delivery.attempt += 1
        if status is not None and 200 <= status < 300:  # noqa: PLR2004 - HTTP
            if not delivery.acknowledged:
                self._counts["acknowledged"] += number
                delivery.acknowledged = True
                if self._chance.random() < self._subscription.twice:
                    heappush(self._later, (now, next(self._numbers), delivery))
                    return
        elif delivery.acknowledged:
            pass
        elif delivery.attempt < self._tries and _may_pass(status):
            backoff = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (delivery.attempt - 1))
            due = now + max(backoff * (0.5 + self._chance.random() / 2), wait_seconds)
            heappush(self._later, (due, next(self._numbers), delivery))
            return
        else:
            self._counts["given_up"] += number
        self._waiting -= number
        self._bytes -= sum(map(len, delivery.events))

    def as_json(self) -> dict[str, Any]:
        """The counts of events, and of answers by status."""
        names = ("changed", "dropped", "overflowed", "sent", "acknowledged", "given_up")
        counts = {name: self._counts[name] for name in names}
        return {**counts, "waiting": self._waiting, "answers": dict(self._answers)}


def _may_pass(status: int | None) -> bool:
    return status is None or status in _ANY_TIME_LATER or not 400 <= status < 500  # noqa: PLR2004 - HTTP
