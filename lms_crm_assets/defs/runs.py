"""Running a job for one tenant from the command line, in this process, with progress and a summary."""

import queue
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from lms_crm_assets import interrupt
from lms_crm_assets.defs.edge import PASSING, TENANTS, key
from lms_crm_assets.defs.started import STARTED_TAG
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.audit import person
from lms_crm_assets.progress import Step

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class ObjectSummary:
    """One object's figures of one run: records, and the write calls that they took.

    `create`, `update` and `archive` are what the plan wants, `refused` are not sent since the CRM would refuse them.
    """

    in_lms: int
    invalid: int
    create: int
    update: int
    archive: int
    created: int
    updated: int
    archived: int
    unchanged: int
    rejected: int
    failed: int
    skipped: int
    refused: int
    write_calls: int


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    `problems` holds one line for each failed step, `passing` says that they may be gone later, `refused` one for each failed check, `plan` the plan's figures, `differing` that the CRM holds something else than was written, `events` how many events of the inbox it settled.
    """

    run_id: str
    succeeded: bool
    objects: Mapping[str, ObjectSummary]
    problems: list[str] = field(default_factory=list)
    passing: bool = False
    refused: list[str] = field(default_factory=list)
    plan: Mapping[str, Any] = field(default_factory=dict)
    differing: bool = False
    events: int = 0

    @property
    def undelivered(self) -> int:
        """Records that the CRM doesn't hold as it should."""
        return sum(s.rejected + s.failed + s.skipped + s.refused for s in self.objects.values())

    @property
    def advice(self) -> list[str]:
        """What the plan says of contacts that the CRM has already, before the first run."""
        told = self.plan.get("contacts_there_already_told")
        return [str(told)] if told else []

    @property
    def waits(self) -> bool:
        """Whether it ended at its plan: nothing was sent, and there is something to send."""
        return self.succeeded and self.plan.get("status", "approved") != "approved" and self.plan["records"] > 0

    @property
    def agrees(self) -> bool:
        """Whether the CRM took every record, and holds what was written."""
        return not self.undelivered and not self.differing


def run_job(
    job: dg.JobDefinition,
    tenant: str,
    instance: dg.DagsterInstance,
    progress: Step | None = None,
    ops: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    started_by: str | None = None,
) -> RunSummary:
    """Run the job for the tenant to its end; errors are in the summary. `ops` configures steps by name.

    `started_by` is who or what starts it; the person at the command line by default.
    """
    if not instance.has_dynamic_partition(str(TENANTS.name), tenant):
        instance.add_dynamic_partitions(str(TENANTS.name), [tenant])
    run_id = str(uuid.uuid4())
    configured = dict(job.get_run_config_for_partition_key(tenant))
    configured["ops"] = {**configured.get("ops", {}), **{name: {"config": c} for name, c in (ops or {}).items()}}
    results: list[dg.ExecuteInProcessResult] = []
    failures: list[BaseException] = []

    def execute() -> None:
        try:
            results.append(
                job.execute_in_process(
                    run_id=run_id,
                    partition_key=tenant,
                    tags={STARTED_TAG: started_by or person()},
                    instance=instance,
                    raise_on_error=False,
                    # Steps are reported by the summary; the event log keeps everything.
                    run_config={**configured, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
            )
        except BaseException as exc:  # noqa: BLE001 - carried over to the calling thread
            failures.append(exc)

    worker = threading.Thread(target=execute, name=f"run-{tenant}")
    told: queue.SimpleQueue[dg.EventLogEntry] = queue.SimpleQueue()
    if progress is not None:
        instance.add_event_listener(run_id, told.put)
    with interrupt.heard():
        worker.start()
        if progress is not None:
            _follow(worker, run_id, instance, told, progress)
        worker.join()
    if not (results and results[0].success):
        # The work looked at this between two calls, so that nothing is left half-known.
        interrupt.check()
    if failures:
        raise failures[0]
    return _summary(run_id, results[0])


def _follow(
    worker: threading.Thread,
    run_id: str,
    instance: dg.DagsterInstance,
    entries: "queue.SimpleQueue[dg.EventLogEntry]",
    progress: Step,
) -> None:
    """Report steps as the run tells of them."""
    done, total, current, told = 0, 0, "starting", ""
    while True:
        alive = worker.is_alive()
        while not entries.empty():
            entry = entries.get()
            event = entry.dagster_event
            if event is None:
                told = entry.user_message
            elif event.event_type is dg.DagsterEventType.RUN_START:
                run = instance.get_run_by_id(run_id)
                plan = run and run.execution_plan_snapshot_id
                total = len(instance.get_execution_plan_snapshot(plan).step_keys_to_execute) if plan else 0
            elif event.event_type is dg.DagsterEventType.STEP_START:
                current, told = str(event.step_key).replace("__", " / "), ""
            elif event.event_type in {
                dg.DagsterEventType.STEP_SUCCESS,
                dg.DagsterEventType.STEP_FAILURE,
                dg.DagsterEventType.STEP_SKIPPED,
            }:
                done += 1
        progress(f"{current} ({told})" if told else current, done, total)
        if not alive:
            return
        worker.join(_LOOK_SECONDS)


def _summary(run_id: str, result: dg.ExecuteInProcessResult) -> RunSummary:
    metadata: dict[dg.AssetKey, dict[str, Any]] = {}
    problems: dict[str, bool] = {}
    refused: list[str] = []
    differing = False
    blocking: dict[str, list[str]] = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            metadata[materialization.asset_key] = {
                name: value.value for name, value in materialization.metadata.items()
            }
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            problems.update([_problem(event, blocking)])
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE and not problems:
            problems.update([_run_problem(event)])
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                refused.append(f"{'/'.join(check.asset_key.path)}: {check.description}")
                differing = differing or check.check_name == "converged"
                if check.severity is dg.AssetCheckSeverity.ERROR:
                    blocking.setdefault(str(event.step_key), []).append(str(check.description))
    objects = {
        obj.value: _object_summary(obj, metadata)
        for obj in CrmObject
        if key("delta", obj) in metadata or "records_created" in metadata.get(key("sync", obj), {})
    }
    return RunSummary(
        run_id,
        result.success,
        objects,
        problems=list(problems),
        passing=bool(problems) and all(problems.values()),
        refused=refused,
        plan=metadata.get(key("delta", "plan"), {}),
        differing=differing,
        events=metadata.get(key("sync", "events"), {}).get("events", 0),
    )


def _problem(event: dg.DagsterEvent, blocking: Mapping[str, list[str]]) -> tuple[str, bool]:
    """The one line that matters of a failed step, and whether it may pass by itself.

    What the step says itself comes first; one that only its blocking checks stopped is explained by them.
    """
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        passing = data.user_failure_data.metadata.get(PASSING)
        return str(data.user_failure_data.description), bool(passing and passing.value)
    if descriptions := blocking.get(str(event.step_key)):
        return " ".join(descriptions), False
    return f"{event.step_key}: {_innermost(data.error)}", False


def _run_problem(event: dg.DagsterEvent) -> tuple[str, bool]:
    """The same of a run that failed without a step: its resources could not be made."""
    text = _innermost(event.job_failure_data.error)
    return text, "another run of" in text


def _innermost(error: Any) -> str:
    """The first line of the message that Dagster wrapped."""
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no reason given"
    return str(error.message).strip().splitlines()[0].partition(": ")[2] or str(error.message).strip()


def _object_summary(obj: CrmObject, metadata: Mapping[dg.AssetKey, Mapping[str, Any]]) -> ObjectSummary:
    staging = metadata.get(key("staging", obj.entity.staging_table), {})
    delta = metadata.get(key("delta", obj), {})
    sync = metadata.get(key("sync", obj), {})
    return ObjectSummary(
        in_lms=staging.get("in_lms", 0),
        invalid=staging.get("invalid", 0),
        create=delta.get("create", 0),
        update=delta.get("update", 0),
        archive=delta.get("archive", 0),
        created=sync.get("records_created", 0),
        updated=sync.get("records_updated", 0),
        archived=sync.get("records_archived", 0),
        unchanged=delta.get("unchanged", 0),
        rejected=sync.get("records_rejected", 0),
        failed=sync.get("records_failed", 0),
        skipped=sync.get("records_skipped", 0),
        refused=delta.get("refused", 0),
        write_calls=sync.get("write_calls", 0),
    )
