"""How often somebody may call us, shared by all who ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms_crm_assets.ops.allowance import TABLES, Allowance
from lms_crm_assets.ops.store import OperationalStore, Schema
from tests.conftest import empty_store


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def store() -> OperationalStore:
    return OperationalStore(empty_store().folder, schema=Schema("api", (TABLES,)))


@pytest.fixture
def clock(store: OperationalStore, monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(store, "clock", clock)
    return clock


def test_a_burst_then_the_rate(store: OperationalStore, clock: _Clock) -> None:
    allowance = Allowance(store, "burst", per_second=2, burst=4)
    assert [allowance.take().allowed for _ in range(5)] == [True] * 4 + [False]
    refused = allowance.take()
    assert (refused.remaining, refused.retry_after_seconds, refused.full_in_seconds) == (0, 0.5, 2.0)
    clock.now += 0.5
    assert allowance.take().allowed
    assert not allowance.take().allowed
    clock.now += 100
    assert allowance.take().remaining == 3


def test_names_do_not_share(store: OperationalStore, clock: _Clock) -> None:
    del clock
    assert all(Allowance(store, f"own {n}", 1, 1).take().allowed for n in range(3))


def test_a_clock_that_was_set_back_locks_nobody_out(store: OperationalStore, clock: _Clock) -> None:
    allowance = Allowance(store, "back", per_second=1, burst=2)
    for _ in range(3):
        allowance.take()
    clock.now -= 3600
    assert allowance.take().allowed


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5), st.sampled_from([0.5, 1.0, 7.0]))
def test_no_window_holds_more_than_the_burst_and_the_rate(pauses: list[float], burst: int, rate: float) -> None:
    store, clock = STORE, CLOCK
    allowance = Allowance(store, f"{pauses} {burst} {rate}", rate, burst)
    taken: list[float] = []
    for pause in pauses:
        clock.now += pause
        if allowance.take().allowed:
            taken.append(clock.now)
    for number, first in enumerate(taken):
        for more, last in enumerate(taken[number:], 1):
            assert more <= burst + (last - first) * rate + 1e-3


CLOCK = _Clock()
STORE = OperationalStore(empty_store().folder, CLOCK, schema=Schema("api", (TABLES,)))
