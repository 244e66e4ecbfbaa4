"""Runs whose process died are told from those that live."""

import dagster as dg

from lms_crm_assets.ops.lanes import Lane

LANE_TAG = "lms_crm/lane"
"""On a job: in which of the tenant's lanes its runs go; `full` where there is none."""


def lane_of(run: dg.DagsterRun) -> Lane:
    """The lane of a run."""
    return Lane(run.tags.get(LANE_TAG, Lane.FULL))


def end_orphans(instance: dg.DagsterInstance, tenant: str, lane: Lane, run_id: str) -> None:
    """Report the lane's runs that still count as started as failed: we have its place, so their process is gone.

    Otherwise a killed run would block the tenant's queue for ever.
    """
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"dagster/partition": tenant})
    for run in instance.get_runs(started):
        if run.run_id != run_id and lane_of(run) is lane:
            instance.report_run_failed(run, "The process of this run is gone: it was killed.")
