"""What a tenant's runs told, read from Dagster's history as plain values."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import dagster as dg

from lms_crm_assets.alerts.state import CheckTold, Reading, RunTold
from lms_crm_assets.defs.agreement import was_taken
from lms_crm_assets.defs.edge import ERROR
from lms_crm_assets.defs.jobs import apply, full_reconcile, incremental_pull, sync_events
from lms_crm_assets.defs.launch import step_forms
from lms_crm_assets.defs.orphans import GONE
from lms_crm_assets.defs.tenant_assets import TENANT_KEYS
from lms_crm_assets.errors import SwitchedOffError

# Dagster's job behind a click on "Materialize" among the assets, of all of them or of some.
_CLICKED = "__ASSET_JOB"
_JOBS = {
    Reading.FULL: (full_reconcile.name, apply.name, _CLICKED),
    Reading.PULL: (incremental_pull.name,),
    Reading.EVENTS: (sync_events.name,),
}
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_LOOKED_AT = 20
# Of clicks more: most are of single assets, and these say nothing of the tenant.
_CLICKS_LOOKED_AT = 100
# So many failures in a row can be told from more.
_MOST_FAILURES = 10
_TELLING_EVENTS = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
}
# How a run tells that it came while another of the same tenant had its place; it says nothing of the tenant.
_BUSY = "another run of"
_BY_OTHERS = ("drift", "conflict")


class RunHistory:
    """The history as it is looked at once: what a run told is read once."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._events: dict[str, list[dg.DagsterEvent]] = {}
        self._taken: dict[tuple[str, str], float | None] = {}

    def agreed_at(self, tenant: str, readings: Iterable[Reading]) -> datetime | None:
        """The end of the tenant's newest such run that ended well with a plan that was sent and taken in full.

        Of each job the newest twenty that succeeded are looked at, and of the clicks the newest hundred.
        """
        ends = [self._taken_at(tenant, job) for reading in readings for job in _JOBS[reading]]
        newest = max((end for end in ends if end), default=None)
        return datetime.fromtimestamp(newest, UTC) if newest else None

    def begun_at(self, tenant: str, readings: Iterable[Reading]) -> datetime | None:
        """The end of the tenant's oldest such run that is known still, whatever came of it."""
        ends = [
            record.end_time
            for job in (job for reading in readings for job in _JOBS[reading])
            for record in self._records(tenant, job, _OVER, 1, oldest_first=True)
            if record.end_time
        ]
        return datetime.fromtimestamp(min(ends), UTC) if ends else None

    def telling_runs(self, tenant: str) -> set[str]:
        """The runs that the tenant's state is made of: the newest of each job that is over, and the newest that was taken."""
        found: set[str] = set()
        for job in (job for jobs in _JOBS.values() for job in jobs):
            failed, succeeded = (
                [record.dagster_run.run_id for record in self._records(tenant, job, [status], _LOOKED_AT)]
                for status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS)
            )
            taken = (run_id for run_id in succeeded if self._was_taken(run_id))
            found.update([*failed[:1], *succeeded[:1], *islice(taken, 1)])
        return found

    def newest(self, tenant: str) -> Mapping[Reading, RunTold]:
        """The newest run of each kind that is over, had its place and was not switched off; a kind that never ran is not in it."""
        told = {reading: self._newest(tenant, reading) for reading in Reading}
        return {reading: run for reading, run in told.items() if run is not None}

    def _newest(self, tenant: str, reading: Reading) -> RunTold | None:
        found = [record for job in _JOBS[reading] for record in self._records(tenant, job, _OVER, _MOST_FAILURES)]
        found.sort(key=lambda record: record.end_time or 0.0, reverse=True)
        newest, failures = None, 0
        for record in found:
            succeeded = record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
            if not succeeded and self._says_nothing(record.dagster_run.run_id):
                continue
            newest = newest or record
            if succeeded:
                break
            failures += 1
        return self._told(newest, reading, failures) if newest is not None else None

    def _told(self, record: dg.RunRecord, reading: Reading, failures: int) -> RunTold:
        run_id, checks = record.dagster_run.run_id, self._checks(record.dagster_run.run_id)
        error, told = self._failure(run_id)
        return RunTold(
            run_id,
            reading,
            record.end_time or 0.0,
            succeeded=not failures,
            failures=failures,
            checks=[_check_told(check) for check in checks],
            drifted=self._drifted(run_id),
            error=error,
            told=told,
        )

    def _taken_at(self, tenant: str, job: str) -> float | None:
        """The end of the newest that was taken; it is asked for by several."""
        known = (tenant, job)
        if known not in self._taken:
            succeeded = self._records(tenant, job, [dg.DagsterRunStatus.SUCCESS], _LOOKED_AT)
            ends = (r.end_time for r in succeeded if r.end_time and self._was_taken(r.dagster_run.run_id))
            self._taken[known] = next(ends, None)
        return self._taken[known]

    def _records(
        self, tenant: str, job: str, statuses: list[dg.DagsterRunStatus], limit: int, *, oldest_first: bool = False
    ) -> Iterable[dg.RunRecord]:
        of_tenant = dg.RunsFilter(job_name=job, statuses=statuses, tags={"dagster/partition": tenant})
        if job != _CLICKED:
            return self._instance.get_run_records(of_tenant, limit=limit, ascending=oldest_first)
        clicked = self._instance.get_run_records(of_tenant, limit=_CLICKS_LOOKED_AT, ascending=oldest_first)
        return list(islice(filter(_reconciles, clicked), limit))

    def _was_taken(self, run_id: str) -> bool:
        return was_taken(self._checks(run_id))

    def _says_nothing(self, run_id: str) -> bool:
        """Whether it did not come to its work: another one was at it, or a person's switch ended it."""
        if self._failure(run_id)[0] == SwitchedOffError.__name__:
            return True
        return any(
            event.event_type is dg.DagsterEventType.RUN_FAILURE and _BUSY in _innermost(event)
            for event in self._told_events(run_id)
        )

    def _checks(self, run_id: str) -> list[dg.AssetCheckEvaluation]:
        """Those of the tenant; a click on everything looks after the fleet in the same run, which tells of others."""
        evaluated = (
            event.asset_check_evaluation_data
            for event in self._told_events(run_id)
            if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        return [check for check in evaluated if check.asset_key in TENANT_KEYS]

    def _drifted(self, run_id: str) -> int | None:
        counted = None
        for event in self._told_events(run_id):
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
                metadata = event.step_materialization_data.materialization.metadata
                if all(name in metadata for name in _BY_OTHERS):
                    counted = (counted or 0) + sum(int(str(metadata[name].value)) for name in _BY_OTHERS)
        return counted

    def _failure(self, run_id: str) -> tuple[str, str]:
        """The class and the line of the error of ours that ended the run."""
        for event in self._told_events(run_id):
            if event.event_type is dg.DagsterEventType.STEP_FAILURE:
                failed = event.step_failure_data.user_failure_data
                if failed is not None and ERROR in failed.metadata:
                    return str(failed.metadata[ERROR].value), str(failed.description)
            elif event.event_type is dg.DagsterEventType.RUN_FAILURE and event.message == GONE:
                return "", GONE
        return "", ""

    def _told_events(self, run_id: str) -> list[dg.DagsterEvent]:
        if run_id not in self._events:
            found = self._instance.get_records_for_run(run_id, of_type=_TELLING_EVENTS).records
            events = [record.event_log_entry.dagster_event for record in found]
            self._events[run_id] = [event for event in events if event is not None]
        return self._events[run_id]


def _reconciles(clicked: dg.RunRecord) -> bool:
    """Whether it was a full reconciliation: of all assets, and all was read, as it is unless the launch form said otherwise."""
    run = clicked.dagster_run
    everything = all(form.get("mode", "full") == "full" for form in step_forms(run).values())
    return everything and (run.asset_selection is None or run.asset_selection >= TENANT_KEYS)


def _check_told(check: dg.AssetCheckEvaluation) -> CheckTold:
    values = {name: entry.value for name, entry in check.metadata.items()}
    codes: Any = values.get("by_code")
    return CheckTold(
        check.asset_key.to_user_string(),
        check.check_name,
        check.passed,
        stops=bool(check.blocking and check.severity is dg.AssetCheckSeverity.ERROR and not check.passed),
        figures={name: value for name, value in values.items() if isinstance(value, int)},
        codes={str(code): int(number) for code, number in codes.items()} if isinstance(codes, Mapping) else {},
    )


def _innermost(event: dg.DagsterEvent) -> str:
    data = event.event_specific_data
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.message) if error is not None else ""
