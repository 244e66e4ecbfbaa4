"""Calls made ahead of whoever takes their results, a bounded number at a time; the results come in the calls' order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from lms_crm_assets import interrupt
from lms_crm_assets.telemetry.logs import carried

T = TypeVar("T")

_LOOK_SECONDS = 0.2


def ordered(calls: Iterable[Callable[[], T]], at_once: int) -> Generator[T, None, None]:
    """What the calls give, in their order; at most `at_once` of them are under way or wait to be taken.

    The exception of a call comes through in its turn. Closing the iterator waits for the calls that are under way.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="lms")
    rest, there = iter(calls), carried(_made)
    ahead = deque(pool.submit(there, call) for call in islice(rest, at_once))
    try:
        while ahead:
            result = _result(ahead.popleft())
            ahead.extend(pool.submit(there, call) for call in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _made(call: Callable[[], T]) -> T:
    return call()


def _result(future: Future[T]) -> T:
    """The call's result, looking now and then whether a person wants to stop."""
    while True:
        interrupt.check()
        try:
            return future.result(timeout=_LOOK_SECONDS)
        except TimeoutError:
            if future.done():
                raise
