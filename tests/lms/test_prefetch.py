"""Calls ahead of their results: in order, bounded, and ended with whoever takes them."""

import threading
import time
from functools import partial

import pytest

from lms_crm_assets import interrupt
from lms_crm_assets.lms.prefetch import ordered


def test_results_come_in_the_order_of_the_calls_however_long_each_takes() -> None:
    def slow(n: int) -> int:
        time.sleep(0.02 if n % 3 == 0 else 0)
        return n

    assert list(ordered((partial(slow, n) for n in range(20)), 4)) == list(range(20))


def test_no_more_calls_are_made_ahead_than_allowed() -> None:
    begun: list[int] = []
    results = ordered((partial(begun.append, n) for n in range(100)), 3)

    next(results)
    time.sleep(0.05)

    assert len(begun) <= 4
    results.close()
    assert len(begun) <= 4


def test_calls_are_under_way_at_once() -> None:
    meeting = threading.Barrier(3, timeout=120)

    assert len(list(ordered([meeting.wait] * 3, 3))) == 3


def test_a_failure_comes_in_its_turn_and_ends_the_calls() -> None:
    def fail() -> int:
        raise ValueError("the second")

    results = ordered([lambda: 1, fail, lambda: 3], 3)

    assert next(results) == 1
    with pytest.raises(ValueError, match="the second"):
        next(results)
    assert list(results) == []


def test_a_time_limit_of_a_call_itself_comes_through() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        list(ordered([fail], 1))


def test_a_person_who_wants_to_stop_is_heard_while_a_call_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    requested, done = threading.Event(), threading.Event()
    monkeypatch.setattr(interrupt, "requested", requested)
    threading.Timer(0.05, requested.set).start()
    threading.Timer(0.6, done.set).start()

    with pytest.raises(interrupt.StoppedError):
        list(ordered([done.wait], 1))
