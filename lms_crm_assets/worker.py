"""`lms-crm worker`: runs of events in a process that is warm, so that a webhook is in the CRM within seconds.

A run that the sensor asks for waits for the daemon, the queue and a process of its own, which is longer than the run.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from dagster import DagsterInstance, JobDefinition

from lms_crm_assets import interrupt
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.events import look_at_modes, tenants_to_run
from lms_crm_assets.defs.jobs import sync_events
from lms_crm_assets.defs.orphans import end_orphans
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.ops.heartbeat import EVENTS_WORKER, beat
from lms_crm_assets.ops.modes import Mode
from lms_crm_assets.settings import Settings

_LOOK_SECONDS = 0.25
_MODES_SECONDS = 5.0


def work(settings: Settings, instance: DagsterInstance, tenants_at_once: int, tell: Callable[[str], None]) -> None:
    """Take waiting events until somebody asks for an end; `tell` gets a line a run.

    `CredentialError` where there is no key for the inbox.
    """
    job = build_definitions(settings).resolve_job_def(sync_events.name)
    tenants = TenantsResource(tenants_dir=str(settings.tenants_dir), state_dir=str(settings.state_dir))
    tenants.inbox()
    for tenant in tenants.names():
        # A worker that was killed left its run as if it went on, for which the tenant's other runs would wait.
        end_orphans(instance, tenant, tenants.folder(tenant, "locks"))
    running: dict[str, Future[None]] = {}
    modes: dict[str, Mode] = {}
    looked_at = -_MODES_SECONDS
    with ThreadPoolExecutor(tenants_at_once, thread_name_prefix="events") as pool:
        while not interrupt.requested.is_set():
            running = {tenant: future for tenant, future in running.items() if not future.done()}
            try:
                if time.monotonic() - looked_at >= _MODES_SECONDS:
                    looked_at = time.monotonic()
                    beat(tenants.store(), EVENTS_WORKER)
                    modes = look_at_modes(tenants)
                due = tenants_to_run(instance, tenants, modes)
            except RetryableError as exc:  # the store can't be reached for a while
                tell(str(exc))
                due = []
            for tenant in due:
                if tenant not in running:
                    running[tenant] = pool.submit(_run, job, tenant, instance, tell)
            interrupt.requested.wait(_LOOK_SECONDS)


def _run(job: JobDefinition, tenant: str, instance: DagsterInstance, tell: Callable[[str], None]) -> None:
    started = time.monotonic()
    try:
        told = _figures(run_job(job, tenant, instance, started_by="worker"))
    except interrupt.StoppedError:
        told = "stopped by a person"
    except Exception as exc:  # noqa: BLE001 - one tenant's trouble is not the others'
        told = f"failed: {type(exc).__name__}"
    tell(f"{tenant}: {told} ({time.monotonic() - started:.1f} s)")


def _figures(summary: RunSummary) -> str:
    if not summary.succeeded:
        return f"failed: {' '.join(summary.problems)}"
    written = sum(o.created + o.updated + o.archived for o in summary.objects.values())
    return f"{summary.events} events, {written} records written, {summary.undelivered} not taken"
