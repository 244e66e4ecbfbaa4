"""Runs whose process died are told from those that live."""

from pathlib import Path

import dagster as dg

from lms_crm_assets.ops.lanes import Lane, is_taken

LANE_TAG = "lms_crm/lane"
"""On a job: in which of the tenant's lanes its runs go; `full` where there is none."""


def lane_of(run: dg.DagsterRun) -> Lane:
    """The lane of a run."""
    return Lane(run.tags.get(LANE_TAG, Lane.FULL))


def end_orphans(
    instance: dg.DagsterInstance, tenant: str, locks: Path, lane: Lane | None = None, run_id: str = ""
) -> None:
    """Report runs that still count as started as failed where their process is gone: nobody has their lane's place.

    Of our own `lane` these are all but ours, for we have the place. `locks` is the tenant's folder of locks. Otherwise a
    killed run would block the tenant's queue for ever.
    """
    dead = {each for each in Lane if each is lane or not is_taken(locks, each)}
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"dagster/partition": tenant})
    for run in instance.get_runs(started):
        if run.run_id != run_id and lane_of(run) in dead:
            instance.report_run_failed(run, "The process of this run is gone: it was killed.")
