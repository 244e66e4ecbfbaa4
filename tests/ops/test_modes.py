"""Backpressure: to pull at the first window that is beyond a limit, back after three good ones in a row."""

from pathlib import Path

import pytest

from lms_crm_assets.contract.webhooks import Backpressure
from lms_crm_assets.ops.latency import note, p95_seconds
from lms_crm_assets.ops.modes import Mode, Modes, Sample, Standing, beyond, following
from lms_crm_assets.ops.store import OperationalStore

LIMITS = Backpressure(oldest_seconds=60, crm_p95_seconds=2, depth=100, window_seconds=20)
GOOD, BAD = Sample(0, 0.0), Sample(101, 0.0)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (GOOD, ""),
        (Sample(100, 60.0, 2.0), ""),
        (BAD, "101 events wait"),
        (Sample(1, 61.0), "the oldest event waits for 61 s"),
        (Sample(0, 0.0, 2.5), "the CRM's answers take 2.5 s at the 95th percentile"),
        (Sample(0, 0.0, breaker_open=True), "the CRM does not answer"),
    ],
)
def test_each_limit_is_told_in_plain_words(sample: Sample, reason: str) -> None:
    assert beyond(sample, LIMITS) == reason


def run_through(samples: list[Sample], every: float) -> list[bool]:
    standing, now, found = Standing(), 1000.0, []
    for sample in samples:
        standing = following(standing, sample, LIMITS, now)
        found.append(standing.switched)
        now += every
    return found


def test_it_switches_at_once_and_returns_after_three_good_windows() -> None:
    assert run_through([GOOD, BAD, GOOD, GOOD, GOOD, GOOD], every=20) == [False, True, True, True, False, False]


def test_looks_within_a_window_count_once() -> None:
    # Every five seconds: three windows of twenty are twelve looks.
    found = run_through([BAD, *[GOOD] * 20], every=5)
    assert found.index(False) == 12


def test_a_bad_window_between_begins_the_count_anew() -> None:
    assert run_through([BAD, GOOD, GOOD, BAD, GOOD, GOOD, GOOD], every=20) == [True] * 6 + [False]


@pytest.fixture
def moments() -> list[float]:
    return [1000.0]


@pytest.fixture
def store(tmp_path: Path, moments: list[float]) -> OperationalStore:
    return OperationalStore(tmp_path, lambda: moments[0])


def test_the_place_is_shared_and_the_contract_says_what_is_wished_for(
    store: OperationalStore, moments: list[float]
) -> None:
    assert Modes(store).look("acme", Mode.PUSH, GOOD, LIMITS) is Mode.PUSH
    assert Modes(store).look("acme", Mode.PUSH, BAD, LIMITS) is Mode.PULL
    assert Modes(store).standing("acme").reason == "101 events wait"
    assert Modes(store).look("globex", Mode.HYBRID, GOOD, LIMITS) is Mode.HYBRID
    for expected in (Mode.PULL, Mode.PULL, Mode.PUSH):
        moments[0] += 20
        assert Modes(store).look("acme", Mode.PUSH, GOOD, LIMITS) is expected


def test_the_95th_percentile_is_of_the_newest_calls(store: OperationalStore, moments: list[float]) -> None:
    for seconds in range(1, 101):
        note(store, "https://crm.test", seconds / 10)
    assert p95_seconds(store, "https://crm.test", 60) == 9.5
    assert p95_seconds(store, "https://other.test", 60) is None
    moments[0] += 61
    assert p95_seconds(store, "https://crm.test", 60) is None
    # What is older than ten minutes is forgotten.
    moments[0] += 600
    note(store, "https://crm.test", 1.0)
    assert store.read("SELECT count(*) FROM latencies") == [(1,)]
