"""The facts of runs are kept, found again, and forgotten when they are old."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lms_crm_assets.errors import FatalError
from lms_crm_assets.report.history import drop_facts, facts_of, keep, trend
from tests.conftest import empty_store
from tests.report.facts import CONTACTS, NOW, run_facts

QUIET = replace(
    CONTACTS, create=0, update=0, archive=0, created=0, updated=0, archived=0, agreed=1881, rejected=2, live=1
)


def test_a_run_is_found_by_how_its_id_begins_as_it_was_kept() -> None:
    store, first, second = empty_store(), run_facts("aaa-1"), run_facts("bbb-1", hours=1)
    keep(store, second)
    keep(store, first)

    assert facts_of(store, "acme") == second
    assert facts_of(store, "acme", "aaa") == first
    with pytest.raises(FatalError, match=r"no run ccc of acme is known"):
        facts_of(store, "acme", "ccc")
    with pytest.raises(FatalError, match=r"lms-crm reconcile --tenant globex"):
        facts_of(store, "globex")


def test_of_pulls_that_left_everything_as_it_was_the_newest_alone_is_kept() -> None:
    store = empty_store()
    kept = [
        keep(store, run_facts("full")),
        *(
            keep(store, run_facts(f"pull {hour}", hours=hour, job="incremental_pull", objects=(QUIET,)))
            for hour in range(1, 5)
        ),
        keep(store, run_facts("changing pull", hours=5, job="incremental_pull")),
    ]

    # The first pull found another state than the full run had left.
    assert kept == [True, True, False, False, False, True]
    points = trend(store, "acme", NOW + timedelta(days=1))
    assert [point.ended_at.hour for point in points] == [2, 3, 6, 7]
    assert [point.changed for point in points] == [51, 0, 0, 51]
    assert [point.refused for point in points] == [11, 11, 11, 11]
    assert len(trend(store, "acme", NOW)) == 1


def test_old_runs_are_forgotten() -> None:
    store = empty_store()
    for tenant in ("acme", "gone"):
        for hours in (0, 48):
            keep(store, run_facts(f"run {hours}", hours=hours, tenant=tenant))
    between = NOW + timedelta(hours=24)

    assert drop_facts(store, "acme", between, dry_run=True) == 1
    assert drop_facts(store, "acme", between) == 1
    assert facts_of(store, "acme").run_id == "run 48"
    assert drop_facts(store, None, between) == 1
    assert drop_facts(store, None, between) == 0
