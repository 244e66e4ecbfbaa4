"""When things run: schedules, and the sensor that takes up new tenants. Events have a sensor of their own (`events`).

Each tenant's contract says when it runs. Contracts come and change without a restart, so both schedules look every
minute which tenants are due.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import dagster as dg

from lms_crm_assets.contract.cron import last_due
from lms_crm_assets.contract.models import Contract, Schedules
from lms_crm_assets.defs.edge import TENANTS, tenants_known
from lms_crm_assets.defs.jobs import full_reconcile, incremental_pull
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.started import DUE_TAG, SCHEDULE_TAG
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.metrics import drop_figures
from lms_crm_assets.ops.modes import Mode, Modes
from lms_crm_assets.ops.switches import SwitchBoard

# So long after a time that nobody was there to see, the run is made up for.
_CATCH_UP = timedelta(hours=6)
_LOOKED_AT = 10
_PARTITION = "dagster/partition"
WAITING = {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING}


@dg.schedule(
    job=full_reconcile,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A full reconciliation of each tenant when its contract's schedules.full is due (02:00 UTC by default).",
)
def full_reconciles(
    context: dg.ScheduleEvaluationContext, tenants: TenantsResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Full reconciliations of the tenants that are due."""
    paused = paused_tenants(tenants)
    crons = {
        name: _schedules(contract).full for name, contract in _contracts(context, tenants).items() if name not in paused
    }
    yield from _due_runs(context, full_reconcile.name, "full", crons, paused)


@dg.schedule(
    job=incremental_pull,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="An incremental pull of each tenant when its contract's schedules.incremental is due (every five minutes "
    "by default), once it had a full reconciliation.",
)
def incremental_pulls(
    context: dg.ScheduleEvaluationContext, tenants: TenantsResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Incremental pulls of the due tenants whose CRM state is known; before that only a full run tells the truth."""
    known, modes, paused = tenants_known(context.instance), Modes(tenants.store()), paused_tenants(tenants)
    crons = {
        name: _schedules(contract).incremental
        for name, contract in _contracts(context, tenants).items()
        if name in known and name not in paused and not (contract and modes.now(name, Mode(contract.mode)) is Mode.PUSH)
    }
    yield from _due_runs(context, incremental_pull.name, "incremental", crons, paused)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes a partition of every contract in the tenants folder, and takes it away with the file.",
)
def tenants_folder(context: dg.SensorEvaluationContext, tenants: TenantsResource) -> dg.SensorResult | dg.SkipReason:
    """Keep the tenants partitions equal to the contracts; of a tenant that is gone no figures are shown any more."""
    known = set(context.instance.get_dynamic_partitions(str(TENANTS.name)))
    files = set(tenants.names())
    if known == files:
        return dg.SkipReason("partitions and contracts agree")
    for gone in known - files:
        with suppress(LmsCrmError):  # they are shown for longer, which is no reason to keep the partition
            drop_figures(tenants.store(), gone)
    return dg.SensorResult(
        dynamic_partitions_requests=[
            TENANTS.build_add_request(sorted(files - known)),
            TENANTS.build_delete_request(sorted(known - files)),
        ]
    )


def paused_tenants(tenants: TenantsResource) -> dict[str, str]:
    """The tenants that a person has paused: no run of theirs is started. With who did it, when and why."""
    board = SwitchBoard(tenants.store()).all_of(tenants.names())
    return {name: f"{name} is {switches.paused}" for name, switches in board.items() if switches.paused}


def _contracts(context: dg.ScheduleEvaluationContext, tenants: TenantsResource) -> dict[str, Contract | None]:
    """The contract of each tenant that has a partition; None where it can't be read."""
    partitions = set(context.instance.get_dynamic_partitions(str(TENANTS.name)))
    found: dict[str, Contract | None] = {}
    for tenant in tenants.names():
        if tenant in partitions:
            try:
                found[tenant] = tenants.contract(tenant)
            except LmsCrmError:
                found[tenant] = None
    return found


def _schedules(contract: Contract | None) -> Schedules:
    """When the tenant runs; of a contract that can't be read at the default times, and its failed run says why."""
    return contract.schedules if contract else Schedules()


def _due_runs(
    context: dg.ScheduleEvaluationContext, job: str, schedule: str, crons: Mapping[str, str], paused: Mapping[str, str]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A run of each tenant that is due."""
    now = context.scheduled_execution_time
    last = {cron: last_due(cron, now) for cron in set(crons.values())}
    dues = {tenant: last[cron] for tenant, cron in crons.items() if now - last[cron] <= _CATCH_UP}
    runs = _Runs(context.instance, job, schedule, set(dues.values()))
    due_now = {tenant: due for tenant, due in dues.items() if runs.may_start(tenant, due, now)}
    for tenant, due in due_now.items():
        yield dg.RunRequest(
            run_key=f"{schedule} {tenant} {due.isoformat()}",
            partition_key=tenant,
            tags={SCHEDULE_TAG: schedule, DUE_TAG: due.isoformat()},
        )
    if not due_now:
        yield dg.SkipReason("; ".join(["no tenant is due", *paused.values()]))


class _Runs:
    """The runs that a schedule has started: those that wait and those of the times `dues`, looked up for all tenants at once.

    By the job and the time, which a tenant's run has for one time each; not by the schedule: with a thousand tenants nearly
    every run has that tag, and to look through them took 0.7 s a tenant after one day. A run is known by its tags, also one
    that was started again by hand, which carries the time of the first.
    """

    def __init__(self, instance: dg.DagsterInstance, job: str, schedule: str, dues: Collection[datetime]) -> None:
        self._instance, self._job, self._schedule = instance, job, schedule
        waiting = self._ours(instance.get_runs(dg.RunsFilter(job_name=job, statuses=[*WAITING])))
        of_time = dg.RunsFilter(job_name=job, tags={DUE_TAG: sorted(due.isoformat() for due in dues)})
        self._waiting = {run.tags[_PARTITION] for run in waiting}
        self._newest: dict[str, datetime] = {}
        for run in self._ours(instance.get_runs(of_time)) if dues else ():
            tenant, due = run.tags[_PARTITION], datetime.fromisoformat(run.tags[DUE_TAG])
            self._newest[tenant] = max(due, self._newest.get(tenant, due))

    def may_start(self, tenant: str, due: datetime, now: datetime) -> bool:
        """Whether the run that came due at `due` is still to be started.

        One that waits for its start stands for a later one too. A time that passed unseen counts only for a tenant that ran
        by this schedule before, and not since: a new contract waits for its first time, and a changed one for its next.
        """
        if tenant in self._waiting or (tenant in self._newest and self._newest[tenant] >= due):
            return False
        return now - due < timedelta(minutes=1) or self._is_missed(tenant, due)

    def _is_missed(self, tenant: str, due: datetime) -> bool:
        of_tenant = dg.RunsFilter(job_name=self._job, tags={_PARTITION: tenant})
        # After an hour in which nobody looked, this is asked of all tenants: the newest run mostly tells.
        for most in (1, _LOOKED_AT):
            if runs := self._ours(self._instance.get_runs(of_tenant, limit=most)):
                # Of another time than any that is due now, where the contract's times were others until now.
                return max(datetime.fromisoformat(run.tags[DUE_TAG]) for run in runs) < due
        return False

    def _ours(self, runs: Iterable[dg.DagsterRun]) -> list[dg.DagsterRun]:
        """Those that the schedule started; others of the job a person did."""
        return [run for run in runs if run.tags.get(SCHEDULE_TAG) == self._schedule and _PARTITION in run.tags]
