"""Runs whose process died are told from those that live."""

import time
from collections.abc import Collection
from pathlib import Path

import dagster as dg

from lms_crm_assets import interrupt
from lms_crm_assets.ops.lanes import Lane, is_taken

_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.1

LANE_TAG = "lms_crm/lane"
"""On a job: in which of the tenant's lanes its runs go; `full` where there is none."""

GONE = "The process of this run is gone: it was killed."
"""What is said of a run that could not say it itself."""


def lane_of(run: dg.DagsterRun) -> Lane:
    """The lane of a run."""
    return Lane(run.tags.get(LANE_TAG, Lane.FULL))


def end_orphans(
    instance: dg.DagsterInstance, tenant: str, locks: Path, lane: Lane | None = None, run_id: str = ""
) -> None:
    """Report runs that still count as started as failed where their process is gone: nobody has their lane's place.

    Of our own `lane` these are all but ours, for we have the place. `locks` is the tenant's folder of locks. Otherwise a
    killed run would block the tenant's queue for ever. A run that has just ended gave its place back and says so a moment
    later, for which it has some seconds.
    """
    dead = {each for each in Lane if each is lane or not is_taken(locks, each)}
    gone = _started(instance, tenant, dead) - {run_id}
    give_up_at = time.monotonic() + _GRACE_SECONDS
    while gone and time.monotonic() < give_up_at:
        interrupt.requested.wait(_POLL_SECONDS)
        gone &= _started(instance, tenant, dead)
    for each in gone:
        if run := instance.get_run_by_id(each):
            instance.report_run_failed(run, GONE)


def _started(instance: dg.DagsterInstance, tenant: str, lanes: Collection[Lane]) -> set[str]:
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"dagster/partition": tenant})
    return {run.run_id for run in instance.get_runs(started) if lane_of(run) in lanes}
