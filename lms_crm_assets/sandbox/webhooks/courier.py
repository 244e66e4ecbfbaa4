"""Delivers webhooks beside the server that the changes happen in, as a task of its event loop, and ends with it."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import httpx

from lms_crm_assets.sandbox.errors import SandboxRequestError

from .outbox import Outbox
from .subscription import Subscription
from .voice import Delivery, Event, Voice

_AT_ONCE = 4
_TIMEOUT_SECONDS = 5.0
_LONGEST_ASKED_SECONDS = 60.0


class Courier:
    """One subscription and what is on its way to it; made and used in one event loop."""

    def __init__(self, subscription: Subscription, voice: Voice) -> None:
        """Begin; `SandboxRequestError` when the subscription isn't for this system."""
        if subscription.sources is not None and not voice.tells_source:
            raise SandboxRequestError("sources: this system doesn't tell a change's source")
        voice.check(subscription)
        self._subscription = subscription
        self._voice = voice
        self._outbox = Outbox(subscription, voice)
        self._wake = asyncio.Event()
        self._under_way = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    def announce(self, event: Event) -> None:
        """Take up what has changed; it is delivered later."""
        self._outbox.add(event, time.monotonic())
        self._wake.set()

    def end(self) -> None:
        """Send nothing any more, whatever waits."""
        self._task.cancel()

    def as_json(self) -> dict[str, Any]:
        """Where deliveries go, and what became of them."""
        if self._task.done():
            self._task.result()  # an error of ours is to be seen
        return {"url": self._subscription.url, **self._outbox.as_json()}

    async def _run(self) -> None:
        # What the environment says of proxies is for the world outside.
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
            asyncio.TaskGroup() as sending,
        ):
            while True:
                self._wake.clear()
                while self._under_way < _AT_ONCE and (delivery := self._outbox.take(time.monotonic())) is not None:
                    self._under_way += 1
                    sending.create_task(self._send(client, delivery))
                due = self._outbox.next_due() if self._under_way < _AT_ONCE else None
                wait = None if due is None else max(0.0, due - time.monotonic())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)

    async def _send(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        words = self._voice.words(self._subscription, delivery, time.time())
        status, asked = None, 0.0
        with suppress(httpx.HTTPError):
            answer = await client.post(self._subscription.url, content=words.body, headers=dict(words.headers))
            status, asked = answer.status_code, _seconds(answer.headers.get("retry-after", ""))
        self._outbox.settle(delivery, status, time.monotonic(), asked)
        self._under_way -= 1
        self._wake.set()


def _seconds(text: str) -> float:
    return min(float(text), _LONGEST_ASKED_SECONDS) if text.isascii() and text.isdigit() else 0.0
