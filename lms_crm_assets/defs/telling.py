"""What a run tells while it works: the ids that all its lines carry, its spans, and the figures of its layers and its own."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import dagster as dg
import structlog
from structlog.contextvars import bind_contextvars, unbind_contextvars

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.agreement import was_all_taken
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.metrics import Tally, counting, note_systems
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.telemetry.logs import bound
from lms_crm_assets.telemetry.traces import span

_log = structlog.get_logger(__name__)
_IDS = ("run_id", "tenant", "lane")


@contextmanager
def layer(store: OperationalStore, tenant: str, name: str, obj: str = "") -> Iterator[Tally]:
    """Count what one step does; its lines, calls and figures are those of a layer and an object or entity."""
    tally = Tally()
    with bound(layer=name, object=str(obj)), span(f"{name} {obj}".strip(), tenant=tenant), counting(tally):
        try:
            yield tally
        finally:
            tally.save(store, tenant)


class RunTelling:
    """One run, from its beginning to its end, both in the same thread."""

    def __init__(self, run: dg.DagsterRun, tenant: str, lane: Lane) -> None:
        self._run_id, self._tenant, self._lane = run.run_id, tenant, lane
        self._began = time.monotonic()
        self._span = ExitStack()
        bind_contextvars(run_id=run.run_id, tenant=tenant, lane=lane.value)
        self._span.enter_context(span("run", run=run.run_id, tenant=tenant, lane=lane.value, job=run.job_name))
        _log.info("run_began", job=run.job_name)

    def concerns(self, store: OperationalStore, contract: Contract) -> None:
        """Note which systems the figures are about, and how fresh the CRM is promised to be."""
        source, crm = contract.source, contract.destination
        tally = Tally()
        tally.put("freshness_promised_seconds", timedelta(minutes=contract.sla.freshness_minutes).total_seconds())
        for status in ("succeeded", "failed"):
            tally.add("runs", 0, lane=self._lane, status=status)
        with suppress(LmsCrmError):  # the steps say it
            note_systems(store, self._tenant, {"lms": (source.adapter, source.url), "crm": (crm.adapter, crm.url)})
        tally.save(store, self._tenant)

    def ended(self, store: OperationalStore, instance: dg.DagsterInstance) -> None:
        """Tell how it ended, by its events."""
        seconds, tally = time.monotonic() - self._began, Tally()
        found = instance.get_records_for_run(
            self._run_id, of_type={dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
        ).records
        events = [event for record in found if (event := record.event_log_entry.dagster_event)]
        failed = sorted({str(event.step_key) for event in events if event.is_step_failure})
        checks = [e.asset_check_evaluation_data for e in events if not e.is_step_failure]
        status = "failed" if failed else "succeeded"
        tally.add("runs", lane=self._lane, status=status)
        tally.observe("run_duration_seconds", seconds, lane=self._lane)
        # A run of events looks at some records only.
        agrees = not failed and self._lane is Lane.FULL and was_all_taken(checks)
        if agrees:
            tally.put("last_success_timestamp_seconds", store.clock())
        tally.save(store, self._tenant)
        _log.info("run_ended", status=status, seconds=round(seconds, 1), failed_steps=failed, agrees=agrees)

    def close(self) -> None:
        """What comes after it is not the run's."""
        self._span.close()
        unbind_contextvars(*_IDS)
