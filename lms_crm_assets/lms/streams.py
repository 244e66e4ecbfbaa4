"""Several streams of pages read at once, a bounded number of pages ahead of whoever takes them.

While pages are written the next ones are under way, and a slow network costs its latency once for all connections
(facts: performance, "Ingest").
"""

import threading
import time
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

from lms_crm_assets import interrupt
from lms_crm_assets.telemetry.logs import carried

T = TypeVar("T")

_LOOK_SECONDS = 0.2
_JOIN_SECONDS = 5.0


class _Done:
    """Stands in the queue where a worker has ended."""


def merged(streams: Iterable[Iterator[T]], at_once: int, *, ahead: int | None = None) -> Iterator[T]:
    """What the streams give, each in its own order; `at_once` of them are read at a time, in threads.

    At most `ahead` items (by default as many as streams at a time) wait to be taken. The first exception of a stream,
    or of `streams` itself, ends all of them and comes through.
    """
    readers = _Readers(streams, ahead or at_once)
    work = carried(readers.work)
    threads = [threading.Thread(target=work, name=f"lms-{n}", daemon=True) for n in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        yield from readers.items(len(threads))
    finally:
        readers.stop.set()
        # Who waits for a slow answer notices when it comes; nobody waits for that one.
        give_up_at = time.monotonic() + _JOIN_SECONDS
        for thread in threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
    if readers.failures:
        raise readers.failures[0]


class _Readers(Generic[T]):
    """What the threads share."""

    def __init__(self, streams: Iterable[Iterator[T]], ahead: int) -> None:
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self._streams, self._turn = iter(streams), threading.Lock()
        self._waiting: Queue[T | _Done] = Queue(ahead)

    def work(self) -> None:
        """Read one stream after the other until there is none."""
        try:
            while (stream := self._following()) is not None:
                for item in stream:
                    self._hand_over(item)
                    if self.stop.is_set():
                        return
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that takes the items
            self.failures.append(exc)
        finally:
            self._hand_over(_Done())

    def items(self, working: int) -> Iterator[T]:
        """The items until all workers are done or one has failed."""
        while working and not self.failures:
            interrupt.check()
            try:
                item = self._waiting.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if isinstance(item, _Done):
                working -= 1
            else:
                yield item

    def _following(self) -> Iterator[T] | None:
        with self._turn:
            return None if self.stop.is_set() else next(self._streams, None)

    def _hand_over(self, item: T | _Done) -> None:
        while not self.stop.is_set():
            try:
                self._waiting.put(item, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return
