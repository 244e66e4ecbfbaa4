"""Batches sent by several connections at once, nothing read ahead of them."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from lms_crm_assets import interrupt
from lms_crm_assets.telemetry.logs import carried

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    batches: Iterator[list[Item]], send: Callable[[int, list[Item]], Result], workers: int
) -> Iterator[tuple[int, list[Item], Result]]:
    """Batches with what came of each, as it comes; at most `workers` under way, nothing more is read ahead.

    `send` gets a batch's number too, counted from 0. When one raises, those under way are waited for and handed out before the exception is.
    """
    numbered = enumerate(batches)
    running: dict[Future[Result], tuple[int, list[Item]]] = {}
    failure: BaseException | None = None
    there = carried(send)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="sync") as pool:
        while True:
            if failure is None and interrupt.requested.is_set():
                failure = interrupt.StoppedError()
            while failure is None and len(running) < workers:
                try:
                    following = next(numbered, None)
                except BaseException as broken:  # noqa: BLE001 - raised when those under way have been handed out
                    failure = broken
                    break
                if following is None:
                    break
                running[pool.submit(there, *following)] = following
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, batch = running.pop(future)
                if (exc := future.exception()) is not None:
                    failure = failure or exc
                else:
                    yield number, batch, future.result()
    if failure is not None:
        raise failure
