"""fleet_health: every tenant's state on one page, so that one tenant's failure is not hidden by another's success."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from lms_crm_assets.defs.edge import key, table
from lms_crm_assets.defs.jobs import apply, full_reconcile, incremental_pull
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import LmsCrmError

_RECONCILING = (full_reconcile.name, incremental_pull.name, apply.name)
_NEVER = "never reconciled"
_COLUMNS = {
    "tenant": "The tenant",
    "state": f"fresh, stale, {_NEVER}, or that the contract can't be read",
    "succeeded_at": "When a run of its last ended well (a plan alone does not count)",
    "age_minutes": "How long ago that is",
    "promised_minutes": "The contract's sla.freshness_minutes",
}


@dg.asset(
    group_name="fleet_health",
    deps=[key("sync", obj) for obj in CrmObject],
    description="Every tenant: when a run of its last ended well, and whether that is as fresh as its contract promises. "
    " Looked at every quarter of an hour.",
    check_specs=[
        dg.AssetCheckSpec(
            "fresh",
            asset="fleet_health",
            description="Each tenant had a successful run within its contract's sla.freshness_minutes.",
        )
    ],
)
def fleet_health(context: dg.AssetExecutionContext, tenants: TenantsResource) -> dg.MaterializeResult:
    """Compare each tenant's last successful run with what its contract promises."""
    rows = list(_states(context.instance, tenants, datetime.now(UTC)))
    states = {row["state"] for row in rows}
    amiss = [f"{row['tenant']} ({row['state']})" for row in rows if row["state"] != "fresh"]
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(rows), "not_fresh": len(amiss), "tenants": table(rows, _COLUMNS)},
        check_results=[
            dg.AssetCheckResult(
                check_name="fresh",
                passed=not amiss,
                severity=dg.AssetCheckSeverity.WARN if states <= {"fresh", _NEVER} else dg.AssetCheckSeverity.ERROR,
                description=f"Not as fresh as promised: {', '.join(amiss)}. Look at their newest runs."
                if amiss
                else "Every tenant is as fresh as promised.",
            )
        ],
    )


def _states(
    instance: dg.DagsterInstance, tenants: TenantsResource, now: datetime
) -> Iterator[dict[str, str | int | None]]:
    for tenant in tenants.names():
        succeeded_at = _succeeded_at(instance, tenant)
        age = int((now - succeeded_at).total_seconds() // 60) if succeeded_at else None
        try:
            promised = tenants.contract(tenant).sla.freshness_minutes
        except LmsCrmError:
            promised = None
        if promised is None:
            state = "its contract can't be read"
        elif age is None:
            state = _NEVER
        else:
            state = "fresh" if age <= promised else "stale"
        yield {
            "tenant": tenant,
            "state": state,
            "succeeded_at": f"{succeeded_at:%Y-%m-%d %H:%M UTC}" if succeeded_at else None,
            "age_minutes": age,
            "promised_minutes": promised,
        }


def _succeeded_at(instance: dg.DagsterInstance, tenant: str) -> datetime | None:
    """The end of the tenant's newest successful run of those that may write."""
    ends = []
    for job in _RECONCILING:
        succeeded = dg.RunsFilter(
            job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], tags={"dagster/partition": tenant}
        )
        ends += [record.end_time for record in instance.get_run_records(succeeded, limit=1) if record.end_time]
    return datetime.fromtimestamp(max(ends), UTC) if ends else None


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
