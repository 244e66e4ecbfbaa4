"""The gate before a system: what leaves a call's block changes the next calls."""

import threading
import time

import pytest

from lms_crm_assets.errors import (
    CredentialError,
    OutageError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    TooManyAtOnceError,
)
from lms_crm_assets.ops import gate as gate_module
from lms_crm_assets.ops.breaker import FAILING_CALLS
from lms_crm_assets.ops.gate import Gate, Pool
from tests.ops.clock import Clock, store_with_clock
from tests.postgres import Place


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, place: Place) -> Clock:
    """The store's clock, which waiting moves on."""
    _, found = store_with_clock(place)

    def wait(seconds: float) -> None:
        found.now += seconds

    monkeypatch.setattr(gate_module, "_sleep", wait)
    return found


def gate(place: Place, clock: Clock, *, share: float = 1.0, at_once: int = 4, credential: str = "secret") -> Gate:
    store, _ = store_with_clock(place)
    store.clock = clock
    return Gate(store, "https://crm.test", credential, calls=None, at_once=at_once, quota_share=share)


def failing(found: Gate, error: Exception, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error)), found.call():
            raise error


def test_a_system_that_stays_down_ends_the_run_and_is_not_hammered(place: Place, clock: Clock) -> None:
    found = gate(place, clock)
    failing(found, RetryableError("503"), FAILING_CALLS)
    before = found.traffic["calls"]
    ends: list[RetryableError] = []
    while not any(isinstance(end, OutageError) for end in ends):
        with pytest.raises(RetryableError) as raised, found.call():
            raise RetryableError("503")
        ends.append(raised.value)

    assert "has not answered for" in str(ends[-1])
    assert found.traffic["calls"] - before <= 5
    # The next run of any tenant at that address learns it at once.
    with pytest.raises(OutageError), gate(place, clock, credential="another").call():
        pass


def test_a_short_outage_is_waited_out(place: Place, clock: Clock) -> None:
    found = gate(place, clock)
    failing(found, RetryableError("503"), FAILING_CALLS)
    before = clock.now
    with found.call():
        pass
    with found.call():
        pass

    assert 5 <= clock.now - before < 6


def test_a_person_who_waits_is_not_kept_by_an_open_breaker(place: Place, clock: Clock) -> None:
    found = gate(place, clock)
    failing(found, RetryableError("503"), FAILING_CALLS)
    before = clock.now
    with found.call(urgent=True):
        pass

    assert clock.now == before


@pytest.mark.parametrize("answer", [CredentialError("401"), RateLimitedError("429")])
def test_an_answer_of_any_kind_is_no_outage(place: Place, clock: Clock, answer: Exception) -> None:
    found = gate(place, clock)
    failing(found, answer, 3 * FAILING_CALLS)
    before = clock.now
    with found.call():
        pass

    assert clock.now - before < 5


def test_the_share_of_the_day_that_others_need_is_kept(place: Place, clock: Clock) -> None:
    found = gate(place, clock, share=0.8)
    found.quota.told(799, 1000)
    with found.call():
        found.quota.told(800, 1000)
    with pytest.raises(QuotaReachedError, match="800 of the 1,000 calls"), found.call():
        pass
    # Hours later the day may have begun anew: one call asks.
    clock.now += 3600
    with found.call():
        pass


def test_a_call_that_waited_for_its_turn_learns_what_was_told_meanwhile(
    place: Place, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = store_with_clock(place)
    store.clock = clock
    found = Gate(store, "https://crm.test", "secret", calls=1, quota_share=0.8)
    with found.call():
        pass

    def wait(seconds: float) -> None:
        clock.now += seconds
        found.quota.told(800, 1000)

    monkeypatch.setattr(gate_module, "_sleep", wait)
    with pytest.raises(QuotaReachedError, match="800 of the 1,000 calls"), found.call():
        pytest.fail("called")


def test_a_call_that_waited_for_its_place_learns_it_too(place: Place, clock: Clock) -> None:
    found = gate(place, clock, at_once=1, share=0.8)
    inside, leave, ended = threading.Event(), threading.Event(), []

    def first() -> None:
        with found.call():
            inside.set()
            assert leave.wait(60)
            found.quota.told(800, 1000)

    def second() -> None:
        try:
            with found.call():
                ended.append("called")
        except QuotaReachedError:
            ended.append("refused")

    callers = [threading.Thread(target=first), threading.Thread(target=second)]
    callers[0].start()
    assert inside.wait(60)
    callers[1].start()
    # It is past the first look at the quota once it waits for the other's place.
    while not found._room._waiters:  # type: ignore[attr-defined]  # of threading.Condition
        time.sleep(0.01)
    leave.set()
    for caller in callers:
        caller.join(60)
    assert ended == ["refused"]


def test_a_probe_that_is_not_made_is_left_to_others(
    place: Place, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_quota, other = gate(place, clock, share=0.8), gate(place, clock, credential="another")
    failing(without_quota, RetryableError("503"), FAILING_CALLS)
    clock.now += 6  # the breaker's first pause is over

    def wait(seconds: float) -> None:
        clock.now += seconds
        without_quota.quota.told(800, 1000)

    with monkeypatch.context() as patch:
        patch.setattr(gate_module, "_sleep", wait)
        with pytest.raises(QuotaReachedError), without_quota.call():
            pytest.fail("called")

    before = clock.now
    with other.call():
        pass
    assert clock.now - before < 5


def test_after_a_refusal_for_the_day_nothing_is_tried(place: Place, clock: Clock) -> None:
    found = gate(place, clock)
    failing(found, QuotaReachedError("the day's quota is used up"))

    with pytest.raises(QuotaReachedError), gate(place, clock).call():
        pass


def test_too_many_calls_at_once_become_fewer(place: Place, clock: Clock) -> None:
    found, widest, under_way, lock = gate(place, clock, at_once=8), 0, 0, threading.Lock()
    failing(found, TooManyAtOnceError("403"), 2)
    inside = threading.Barrier(2, timeout=120)

    def call() -> None:
        nonlocal widest, under_way
        with found.call():
            with lock:
                under_way += 1
                widest = max(widest, under_way)
            inside.wait()
            with lock:
                under_way -= 1

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert widest == 2


def test_a_pool_has_a_limit_of_its_own_and_may_count_against_the_general_one(place: Place, clock: Clock) -> None:
    store, _ = store_with_clock(place)
    store.clock = clock
    pools = {"search": Pool(2, 1.0, is_part=False), "links": Pool(3, 10.0, is_part=True)}
    found = Gate(store, "https://crm.test", "secret", calls=4, pools=pools)

    def seconds(pool: str, times: int) -> float:
        before = clock.now
        for _ in range(times):
            with found.call(pool=pool):
                pass
        return clock.now - before

    assert seconds("search", 2) == 0
    assert 1.0 <= seconds("search", 1) < 2
    assert seconds("links", 3) == 0
    assert seconds("", 1) == 0  # the fourth of the general ones
    assert 8 <= seconds("", 1) < 11
    assert found.traffic["calls"] == 8


def test_a_call_of_a_pool_fails_once(place: Place, clock: Clock) -> None:
    store, _ = store_with_clock(place)
    store.clock = clock
    found = Gate(store, "https://crm.test", "s", calls=400, pools={"links": Pool(300, 10.0, is_part=True)})
    for _ in range(FAILING_CALLS - 1):
        with pytest.raises(RetryableError), found.call(pool="links"):
            raise RetryableError("503")
    before = clock.now
    with found.call():
        pass

    assert clock.now == before


def test_whoever_comes_while_an_old_outage_is_probed_waits_for_what_the_probe_finds(place: Place, clock: Clock) -> None:
    found = gate(place, clock)
    failing(found, RetryableError("503"), FAILING_CALLS)
    clock.now += 8 * 3600  # a night later

    with found.call():  # the probe
        before = clock.now
        with pytest.raises(OutageError), gate(place, clock).call():
            pass
        assert clock.now - before >= 30
    with gate(place, clock).call():
        pass


@pytest.mark.parametrize("answer", [RateLimitedError("429"), TooManyAtOnceError("403"), QuotaReachedError("used up")])
def test_a_probe_that_is_answered_with_a_limit_closes_the_breaker(
    place: Place, clock: Clock, answer: RetryableError
) -> None:
    found = gate(place, clock)
    failing(found, RetryableError("503"), FAILING_CALLS)
    clock.now += 6
    failing(found, answer)
    clock.now += 700  # what was said of the day is old
    before = clock.now
    with found.call():
        pass

    assert clock.now - before < 1


def test_a_quota_that_was_told_in_the_future_blocks_nobody(place: Place, clock: Clock) -> None:
    found = gate(place, clock)
    found.quota.told(1000, 1000)
    clock.now -= 3 * 3600  # the clock was set back

    with found.call():
        pass
