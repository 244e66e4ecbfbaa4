"""The pace of calls: no window holds too many, refusals slow it down, and processes share it fairly."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms_crm_assets.contract.models import ChangesSource, LmsThrottle
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.ops.pace import Pace
from lms_crm_assets.ops.patience import TRIES
from tests.conftest import empty_store
from tests.ops.clock import store_with_clock
from tests.postgres import Place
from tests.sandbox_control import fault, requests

WINDOW = 10.0


def most_in_a_window(moments: list[float]) -> int:
    """The most calls that any window of ten seconds saw."""
    return max(sum(1 for at in moments[n:] if at < start + WINDOW) for n, start in enumerate(moments))


def called(pace: Pace, clock: Any, times: int) -> list[float]:
    """The moments of so many calls, one after the other, each waiting for its turn."""
    moments = []
    for _ in range(times):
        clock.now += pace.turn()
        moments.append(clock.now)
    return moments


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 30), gaps=st.lists(st.floats(0, 3), max_size=80))
def test_no_window_holds_more_than_its_calls(place: Place, limit: int, gaps: list[float]) -> None:
    store, clock = store_with_clock(place)
    # Each example has a store of its own: held open they would be more connections than the server takes.
    with closing(store):
        pace = Pace(store, f"crm {len(place.opened)}", limit)
        moments = []
        for gap in gaps:
            clock.now += gap
            moments.append(clock.now + pace.turn())

    assert not moments or most_in_a_window(sorted(moments)) <= limit


def test_the_allowed_rate_is_used(place: Place) -> None:
    store, clock = store_with_clock(place)

    moments = called(Pace(store, "crm", 190), clock, 950)

    assert 950 / (moments[-1] - moments[0] + WINDOW) >= 0.97 * 19


def test_a_refusal_slows_down_for_a_while(place: Place) -> None:
    store, clock = store_with_clock(place)
    pace = Pace(store, "crm", 100)
    for _ in range(8):  # one burst is refused, not eight
        pace.refused(None)

    assert most_in_a_window(called(pace, clock, 300)[:70]) <= 70
    clock.now += 30
    assert most_in_a_window(called(pace, clock, 200)) == 100


def test_everybody_waits_as_long_as_the_other_side_says(place: Place) -> None:
    store, clock = store_with_clock(place)
    Pace(store, "crm", None).refused(7.0)

    assert Pace(store, "crm", None).turn() == pytest.approx(7.0)
    clock.now += 7.1
    assert Pace(store, "crm", None).turn() == 0


def test_the_lower_limit_of_contract_and_headers_counts(place: Place) -> None:
    store, clock = store_with_clock(place)
    pace = Pace(store, "crm", 50)
    pace.told(20)
    assert most_in_a_window(called(pace, clock, 100)) == 20

    pace.told(500)
    clock.now += 20
    assert most_in_a_window(called(pace, clock, 200)) == 50


def test_a_clock_that_is_set_back_stops_nothing(place: Place) -> None:
    store, clock = store_with_clock(place)
    pace = Pace(store, "crm", 5)
    called(pace, clock, 20)
    clock.now -= 86_400

    assert pace.turn() < WINDOW


_CALLER = """
import sys, time, json
from pathlib import Path
from lms_crm_assets.ops.pace import Pace
from lms_crm_assets.ops.store import OperationalStore
pace, moments = Pace(OperationalStore.at(Path(sys.argv[1])), "crm", 20, 0.5), []
print("ready", flush=True)
sys.stdin.readline()
until = time.time() + 2.5
while time.time() < until:
    asked = time.time()
    pause = pace.turn()
    # When it may call, which lies between these: how late a busy machine wakes it is not the pace's doing.
    moments.append((asked + pause, time.time() + pause))
    time.sleep(pause)
print(json.dumps(moments))
"""


def test_processes_share_one_pace_and_none_starves(place: Place) -> None:
    place.store().close()
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", _CALLER, str(place.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=place.environ(),
        )
        for _ in range(4)
    ]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    each = [json.loads(caller.communicate(timeout=60)[0]) for caller in callers]

    together = [between for moments in each for between in moments]
    surely_within = (sum(start <= early and late < start + 0.5 for early, late in together) for start, _ in together)
    assert max(surely_within) <= 20
    # Whoever wakes first takes most of a window's turns; but none waits longer than a window for one of its own.
    whole_windows = int(2.5 / 0.7)
    assert min(len(moments) for moments in each) >= whole_windows


def school(sandbox: Sandbox, rate: float | None, **changes: Any) -> ChangesAdapter:
    values = {"adapter": "changes", "url": sandbox.school, "token": "env:GLOBEX_LMS_TOKEN", **changes}
    return ChangesAdapter(ChangesSource.model_validate(values), LmsThrottle(calls_per_second=rate), empty_store())


def pages(lms: ChangesAdapter) -> Iterator[Page]:
    with closing(lms):
        yield from lms.pull([LmsEntity.LEARNERS], None)


@pytest.mark.parametrize("rate", [8.0, 2.5])
def test_the_lms_is_asked_no_faster_than_the_contract_says(sandbox: Sandbox, rate: float) -> None:
    moments = [time.monotonic() for _ in pages(school(sandbox, rate, page_size=int(80 / rate)))]

    assert len(moments) > 2 * rate
    # `int(rate)` calls leave at once; a page comes a little after its call, so that gaps are measured over windows.
    burst = int(rate)
    for early, late in zip(moments, moments[burst:], strict=False):
        assert late - early > burst / rate - 0.25


def test_without_a_limit_the_lms_is_asked_as_fast_as_it_answers(sandbox: Sandbox) -> None:
    moments = [time.monotonic() for _ in pages(school(sandbox, None, page_size=15))]

    assert min(late - early for early, late in pairwise(moments)) < 0.25


def test_a_rate_limit_of_the_lms_is_waited_out_and_uses_up_no_try(sandbox: Sandbox) -> None:
    limited = {"route": "/api/v1/learners", "kind": "status", "status": 429, "times": 2 * TRIES}
    fault(sandbox.school, {**limited, "headers": {"Retry-After": "0"}})
    assert sum(len(page.records) for page in pages(school(sandbox, None))) > 0

    answers = Counter[str]()
    for by_status in requests(sandbox.school).values():
        answers.update(by_status)
    assert answers["429"] == 2 * TRIES
