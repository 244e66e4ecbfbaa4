"""The circuit breaker: it opens after many failures in a row, lets one probe through, and closes by itself."""

from lms_crm_assets.ops.breaker import FAILING_CALLS, Breaker, Verdict
from tests.ops.clock import store_with_clock
from tests.postgres import Place


def test_it_opens_after_many_failures_in_a_row_and_one_probe_closes_it(place: Place) -> None:
    store, clock = store_with_clock(place)
    breaker = Breaker(store, "crm")
    for _ in range(FAILING_CALLS - 1):
        breaker.failed()
    assert breaker.ask().verdict is Verdict.PASS
    breaker.failed()
    assert breaker.ask().verdict is Verdict.WAIT

    clock.now += breaker.ask().wait_seconds
    # Another process of the same state folder asks too.
    assert [Breaker(store, "crm").ask().verdict for _ in range(5)] == [Verdict.PROBE, *[Verdict.WAIT] * 4]
    breaker.succeeded()

    assert breaker.ask().verdict is Verdict.PASS


def test_an_answer_between_starts_the_count_anew(place: Place) -> None:
    store, _ = store_with_clock(place)
    breaker = Breaker(store, "crm")
    for _ in range(10):
        for _ in range(FAILING_CALLS - 1):
            breaker.failed()
        breaker.succeeded()

    assert breaker.ask().verdict is Verdict.PASS


def test_probes_of_a_system_that_stays_down_become_rare(place: Place) -> None:
    store, clock = store_with_clock(place)
    breaker, started, probes = Breaker(store, "crm"), clock.now, 0
    for _ in range(FAILING_CALLS):
        breaker.failed()
    while clock.now < started + 3600:
        state = breaker.ask()
        if state.verdict is Verdict.PROBE:
            probes += 1
            breaker.failed()
        clock.now += max(state.wait_seconds, 0.001)

    assert 50 <= probes <= 70
    assert breaker.ask().down_seconds >= 3600


def test_a_probe_that_nobody_heard_of_again_gives_its_place_free(place: Place) -> None:
    store, clock = store_with_clock(place)
    breaker = Breaker(store, "crm")
    for _ in range(FAILING_CALLS):
        breaker.failed()
    clock.now += 6
    assert breaker.ask().verdict is Verdict.PROBE
    assert breaker.ask().verdict is Verdict.WAIT
    clock.now += 300

    assert breaker.ask().verdict is Verdict.PROBE
