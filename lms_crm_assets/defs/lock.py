"""One run of a tenant at a time, whoever started it; and runs whose process died are told from those that live."""

import fcntl
from pathlib import Path
from typing import BinaryIO

import dagster as dg

from lms_crm_assets.errors import RetryableError


def take_lock(file: Path, tenant: str) -> BinaryIO:
    """The tenant's lock, held until the file is closed or the process ends; `RetryableError` when another has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RetryableError(f"another run of {tenant} is under way") from None
    return lock


def end_orphans(instance: dg.DagsterInstance, tenant: str, run_id: str) -> None:
    """Report the tenant's runs that still count as started as failed: we hold the lock, so their process is gone.

    Otherwise a killed run would block the tenant's queue for ever.
    """
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"dagster/partition": tenant})
    for run in instance.get_runs(started):
        if run.run_id != run_id:
            instance.report_run_failed(run, "The process of this run is gone: it was killed.")
