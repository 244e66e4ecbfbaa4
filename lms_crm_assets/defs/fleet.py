"""fleet_health: every tenant's state on one page, so that one tenant's failure is not hidden by another's success."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from lms_crm_assets.contract.cron import last_due
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.edge import table
from lms_crm_assets.defs.jobs import apply, full_reconcile, incremental_pull
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.inbox import Depth, Inbox
from lms_crm_assets.ops.modes import Modes

# A run of events looks at single rows: it says nothing of the others.
_RECONCILING = (full_reconcile.name, incremental_pull.name, apply.name)
_FULL = (full_reconcile.name, apply.name)
# The checks that fail when something was not sent, or not taken by the CRM.
_TELLING = {"approved", "delivered", "converged"}
_LOOKED_AT = 20
_SWITCHED = "pull: "
# An event that is done is kept for so long: a repeat is told by it, and it can be replayed.
_KEPT_SECONDS = 30 * 86_400.0
_FRESH, _NEVER = "fresh", "never reconciled"
_COLUMNS = {
    "tenant": "The tenant",
    "state": f"{_FRESH}, stale, {_NEVER}, no full reconciliation of late, or that the contract can't be read",
    "agreed_at": "When a run last ended with everything sent and taken (a plan that waits does not count)",
    "full_at": "The same of a full reconciliation, which also sees what others changed in the CRM",
    "age_minutes": "How long ago that is",
    "promised_minutes": "The contract's sla.freshness_minutes",
    "mode": "How changes arrive: the contract's word, or why backpressure has switched it to pull",
    "events_waiting": "Events in the inbox whose outcome is not known yet",
    "oldest_event_seconds": "For how long the oldest of them waits",
    "events_parked": "Events that are tried no more: lms-crm events list --state parked",
    "refused": "What the checks of the newest run refused or the CRM did not take: rows of the LMS and records",
    "failing_checks": "The checks of the newest run that did not pass; see the run, or lms-crm quarantine list",
}
# Behind a check that stopped its run.
_BLOCKING = " (nothing was sent)"
# Where a run ended before any check could tell.
_FAILED = "the run failed, see why"
_REFUSED = ("invalid", "refused", "undelivered")


@dg.asset(
    group_name="fleet_health",
    description="Every tenant: when a run of its last ended well, and whether that is as fresh as its contract promises. "
    " Looked at every quarter of an hour.",
    check_specs=[
        dg.AssetCheckSpec(
            "fresh",
            asset="fleet_health",
            description="Each tenant had a successful run within its contract's sla.freshness_minutes.",
        ),
        dg.AssetCheckSpec(
            "inbox",
            asset="fleet_health",
            description="No event is parked, and no tenant is switched to pull because events or the CRM's answers pile up.",
        ),
        dg.AssetCheckSpec(
            "checks_pass",
            asset="fleet_health",
            description="Every check of each tenant's newest run passed: nothing was refused, withheld or left to a person. "
            "The badge of a tenant's own check shows the tenant that ran last alone.",
        ),
    ],
)
def fleet_health(context: dg.AssetExecutionContext, tenants: TenantsResource) -> dg.MaterializeResult:
    """Compare each tenant's last successful run with what its contract promises."""
    if (inbox := _inbox(tenants)) is not None:
        inbox.purge(inbox.store.clock() - _KEPT_SECONDS)
    rows = list(_states(context.instance, tenants, inbox, datetime.now(UTC)))
    states = {row["state"] for row in rows}
    amiss = [f"{row['tenant']} ({row['state']})" for row in rows if row["state"] != _FRESH]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "not_fresh": len(amiss),
            "events_waiting": sum(int(row["events_waiting"] or 0) for row in rows),
            "tenants": table(rows, _COLUMNS),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="fresh",
                passed=not amiss,
                severity=dg.AssetCheckSeverity.WARN if states <= {_FRESH, _NEVER} else dg.AssetCheckSeverity.ERROR,
                description=f"Not as fresh as promised: {', '.join(amiss)}. Look at their newest runs."
                if amiss
                else "Every tenant is as fresh as promised.",
            ),
            _inbox_check(rows),
            _checks_check(rows),
        ],
    )


def _inbox_check(rows: Sequence[Mapping[str, str | int | None]]) -> dg.AssetCheckResult:
    parked = [f"{row['tenant']} ({row['events_parked']} parked)" for row in rows if row["events_parked"]]
    switched = [f"{row['tenant']} ({row['mode']})" for row in rows if str(row["mode"]).startswith(_SWITCHED)]
    amiss = [*switched, *parked]
    return dg.AssetCheckResult(
        check_name="inbox",
        passed=not amiss,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Look at: {', '.join(amiss)}. `lms-crm events list --state parked` shows parked events."
        if amiss
        else f"No event is parked; {sum(int(row['events_waiting'] or 0) for row in rows)} wait for their outcome.",
        metadata={"switched_to_pull": len(switched), "tenants_with_parked_events": len(parked)},
    )


def _checks_check(rows: Iterable[Mapping[str, str | int | None]]) -> dg.AssetCheckResult:
    failing = [row for row in rows if row["failing_checks"]]
    named = "; ".join(f"{row['tenant']} ({row['failing_checks']})" for row in failing)
    return dg.AssetCheckResult(
        check_name="checks_pass",
        passed=not failing,
        severity=dg.AssetCheckSeverity.ERROR
        if any(mark in str(row["failing_checks"]) for row in failing for mark in (_BLOCKING, _FAILED))
        else dg.AssetCheckSeverity.WARN,
        description=f"Did not pass: {named}." if failing else "Every check of each tenant's newest run passed.",
    )


def _newest_checks(instance: dg.DagsterInstance, tenant: str) -> dict[str, str | int | None]:
    """Which checks of the tenant's newest run that is over did not pass, and how much they refused."""
    over = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    found = [
        record
        for job in _RECONCILING
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=over, tags={"dagster/partition": tenant}), limit=1
        )
    ]
    newest = max(found, key=lambda record: record.end_time or 0.0, default=None)
    checks = _checks_of(instance, newest.dagster_run.run_id) if newest else []
    failed = [
        f"{check.asset_key.to_user_string()} {check.check_name}{_BLOCKING if check.blocking and check.severity is dg.AssetCheckSeverity.ERROR else ''}"
        for check in checks
        if not check.passed
    ]
    if newest is not None and newest.dagster_run.status is dg.DagsterRunStatus.FAILURE and not failed:
        failed = [_FAILED]
    return {"refused": _refused(checks), "failing_checks": ", ".join(failed)}


def _refused(checks: Iterable[dg.AssetCheckEvaluation]) -> int:
    """The sum of what single assets refused; two checks of one asset tell the same number of rows."""
    by_asset: dict[tuple[dg.AssetKey, str], int] = {}
    for check in checks:
        for name in _REFUSED:
            if (told := check.metadata.get(name)) is not None:
                by_asset[check.asset_key, name] = int(str(told.value))
    return sum(by_asset.values())


def _states(
    instance: dg.DagsterInstance, tenants: TenantsResource, inbox: Inbox | None, now: datetime
) -> Iterator[dict[str, str | int | None]]:
    depths = inbox.depths() if inbox else {}
    for tenant in tenants.names():
        agreed_at, full_at = _agreed_at(instance, tenant, _RECONCILING), _agreed_at(instance, tenant, _FULL)
        age = int((now - agreed_at).total_seconds() // 60) if agreed_at else None
        promised, mode = None, ""
        try:
            contract = tenants.contract(tenant)
        except LmsCrmError:
            state = "its contract can't be read"
        else:
            promised, mode = contract.sla.freshness_minutes, _mode(tenants, contract)
            state = _state(age, promised, full_at, contract.schedules.full, now)
        yield {
            "tenant": tenant,
            "state": state,
            "agreed_at": _shown(agreed_at),
            "full_at": _shown(full_at),
            "age_minutes": age,
            "promised_minutes": promised,
            "mode": mode,
            **_newest_checks(instance, tenant),
            **_waiting(depths.get(tenant, Depth()), now),
        }


def _inbox(tenants: TenantsResource) -> Inbox | None:
    """The inbox, where there is a key for it."""
    try:
        return tenants.inbox()
    except LmsCrmError:
        return None


def _mode(tenants: TenantsResource, contract: Contract) -> str:
    standing = Modes(tenants.store()).standing(contract.tenant)
    return f"{_SWITCHED}{standing.reason}" if standing.switched else contract.mode


def _waiting(depth: Depth, now: datetime) -> dict[str, int | None]:
    return {
        "events_waiting": depth.pending + depth.leased,
        "oldest_event_seconds": None if depth.oldest_at is None else int(now.timestamp() - depth.oldest_at),
        "events_parked": depth.parked,
    }


def _state(age: int | None, promised: int, full_at: datetime | None, full: str, now: datetime) -> str:
    if age is None:
        return _NEVER
    if age > promised:
        return "stale"
    # The newest time may still be under way; the one before it is over.
    missed = last_due(full, last_due(full, now) - timedelta(seconds=1))
    return "no full reconciliation" if full_at is None or full_at < missed else _FRESH


def _shown(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M UTC}" if moment else None


def _agreed_at(instance: dg.DagsterInstance, tenant: str, jobs: Iterable[str]) -> datetime | None:
    """The end of the tenant's newest run of these jobs that ended well with a plan that was sent and taken in full."""
    ends = []
    for job in jobs:
        succeeded = dg.RunsFilter(
            job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], tags={"dagster/partition": tenant}
        )
        for record in instance.get_run_records(succeeded, limit=_LOOKED_AT):
            if record.end_time and _was_taken(instance, record.dagster_run.run_id):
                ends.append(record.end_time)
                break
    return datetime.fromtimestamp(max(ends), UTC) if ends else None


def _was_taken(instance: dg.DagsterInstance, run_id: str) -> bool:
    checks = _checks_of(instance, run_id)
    withheld = sum(int(str(c.metadata["refused"].value)) for c in checks if "refused" in c.metadata)
    return not withheld and all(check.passed for check in checks if check.check_name in _TELLING)


def _checks_of(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckEvaluation]:
    found = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    events = [record.event_log_entry.dagster_event for record in found]
    return [event.asset_check_evaluation_data for event in events if event]


fleet_job = dg.define_asset_job(
    "look_after_fleet", selection=[fleet_health], description="Look at every tenant's freshness."
)

fleet_watch = dg.ScheduleDefinition(
    name="fleet_watch",
    job=fleet_job,
    cron_schedule="*/15 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every quarter of an hour.",
)
