"""The writer: one thread that commits what the requests of a moment brought, all at once.

A commit that waits for the disk takes milliseconds; with one for each request 1,000 requests a second wait 221 ms, with
one for all that came meanwhile 5 (facts: reliability).
"""

import asyncio
import queue
import threading
import time
from dataclasses import dataclass

import apsw
import structlog

from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.inbox import Added, Delivery, Inbox
from lms_crm_assets.receiver.problems import Problem

_log = structlog.get_logger(__name__)

MOST_ROWS = 500
MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 2**20
RETRY_AFTER_SECONDS = 5
_COMPANY_SECONDS = 0.003

_Waiting = tuple[Delivery, "asyncio.Future[Added]"]


@dataclass
class _Load:
    """What waits for the writer; only the event loop's thread touches it."""

    deliveries: int = 0
    size: int = 0


def unavailable(detail: str) -> Problem:
    """Nothing was kept, and the sender should come again."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


class Writer:
    """Keeps deliveries in the inbox; used from one event loop."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._load = _Load()
        self._thread = threading.Thread(target=self._run, name="inbox-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to write, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Commit what waits, and end."""
        self._stopped = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def keep(self, delivery: Delivery) -> Added:
        """What became of the delivery, once that is on the disk; a `Problem` (503) when it could not be kept."""
        size = len(delivery.body)
        if self._stopped or self._loop is None:
            raise unavailable("the receiver is stopping")
        if self._load.deliveries >= MOST_WAITING or self._load.size + size > MOST_WAITING_BYTES:
            raise unavailable("too much arrives at once")
        future: asyncio.Future[Added] = self._loop.create_future()
        self._load.deliveries += 1
        self._load.size += size
        self._queue.put((delivery, future))
        added = await future
        if added is Added.FULL:
            raise unavailable("the inbox is full")
        told = {"tenant": delivery.tenant, "side": delivery.side.value, "delivery_id": delivery.delivery_id}
        _log.info("accepted", **told, result=added.value)
        return added

    def _run(self) -> None:
        last = False
        batch: list[_Waiting] = []
        while not last:
            first = self._queue.get()
            if first is None:
                return
            if len(batch) > 1:
                # Under load a commit waits for company: each costs as much as verifying three deliveries.
                time.sleep(_COMPANY_SECONDS)
            batch = [first]
            while len(batch) < MOST_ROWS and not last:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    batch.append(more)
            results = self._commit([delivery for delivery, _ in batch])
            assert self._loop is not None  # noqa: S101 - set before the thread starts
            try:
                self._loop.call_soon_threadsafe(self._tell, batch, results)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _commit(self, deliveries: list[Delivery]) -> list[Added | Problem]:
        try:
            return list(self._inbox.add(deliveries))
        except Exception as exc:  # noqa: BLE001 - the thread has to live on, and whoever waits be told
            if len(deliveries) > 1 and not isinstance(exc, apsw.Error | OSError | LmsCrmError):
                # One of them may be what the store refuses; the others are kept.
                return [result for delivery in deliveries for result in self._commit([delivery])]
            _log.error("inbox_not_written", error=type(exc).__name__, deliveries=len(deliveries))
            return [unavailable("the inbox can't be written") for _ in deliveries]

    def _tell(self, batch: list[_Waiting], results: list[Added | Problem]) -> None:
        for (delivery, future), result in zip(batch, results, strict=True):
            self._load.deliveries -= 1
            self._load.size -= len(delivery.body)
            if future.done():
                continue  # the sender has hung up, which doesn't take back what it sent
            if isinstance(result, Problem):
                future.set_exception(result)
            else:
                future.set_result(result)
