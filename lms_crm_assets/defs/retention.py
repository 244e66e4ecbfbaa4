"""retention: every night what was kept for long enough goes, Dagster's own runs and events among it."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.edge import table
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.defs.run_history import RunHistory
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.privacy.retention import purge_shared, purge_tenant
from lms_crm_assets.settings import Settings

MOST_RUNS = 100_000
"""Deleted by one night: a thousand tenants pulled every half hour make 49,000 a day. What is left goes the next night."""

_MOST_SECONDS = 10_800.0
_PAGE = 100
_OTHERS_DAYS = 30
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_TENANT_TAG = "dagster/partition"
_COLUMNS = {"tenant": "The tenant", "what": "What went", "number": "How much of it"}


@dg.asset(
    group_name="fleet_health",
    description="What was kept for as long as the contracts say, taken away: plans, outcomes, the ledger's former states, rows "
    "that the LMS deleted, deliveries, files of dead runs, and Dagster's own runs with their events. Every night.",
    check_specs=[
        dg.AssetCheckSpec(
            "kept_no_longer", asset="retention", description="Every tenant could be purged, and no old run is left."
        )
    ],
)
def retention(
    context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Purge every tenant; one that can't be now is named, and holds up no other."""
    now = datetime.now(UTC)
    settings = Settings(Path(tenants.tenants_dir), Path(tenants.state_dir), warehouse.url)
    rows: list[Mapping[str, str | int]] = []
    amiss: list[str] = []
    contracts: dict[str, Contract] = {}
    for tenant in tenants.names():
        try:
            contracts[tenant] = tenants.contract(tenant)
            counts = purge_tenant(settings, contracts[tenant], now)
        except LmsCrmError as exc:
            amiss.append(f"{tenant}: {exc}")
            continue
        rows += [{"tenant": tenant, "what": what, "number": number} for what, number in counts.items() if number]
    shared = purge_shared(settings, list(contracts.values()))
    rows += [{"tenant": "(all)", "what": what, "number": number} for what, number in shared.items() if number]
    runs, left = purge_runs(context.instance, contracts, now, context.run.run_id)
    if left:
        amiss.append("more old runs are left for the next night")
    return dg.MaterializeResult(
        metadata={
            "runs_deleted": runs,
            "things_deleted": sum(int(row["number"]) for row in rows),
            **({"deleted": table(rows, _COLUMNS)} if rows else {}),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="kept_no_longer",
                passed=not amiss,
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join(amiss) or "Nothing is kept for longer than the contracts say.",
            )
        ],
    )


def purge_runs(
    instance: dg.DagsterInstance,
    contracts: Mapping[str, Contract],
    now: datetime,
    own_run: str = "",
    *,
    most: int = MOST_RUNS,
) -> tuple[int, bool]:
    """Delete runs that are older than their tenant's contract says, with events and logs; how many, and whether some are left.

    Those stay that `fleet_health` tells a tenant's state from.
    """
    history = RunHistory(instance)
    give_up_at = time.monotonic() + _MOST_SECONDS
    deleted = 0
    kept_of_all = {own_run}
    for tenant, wanted in _outdated(contracts, now):
        kept = history.telling_runs(tenant) | {own_run} if tenant else kept_of_all
        kept_of_all |= kept
        while True:
            # Those that stay are among the first again; there are a few a tenant.
            found = instance.get_run_records(wanted, limit=_PAGE + len(kept), ascending=True)
            old = [record.dagster_run.run_id for record in found if record.dagster_run.run_id not in kept]
            if not old:
                break
            for run_id in old:
                if deleted >= most or time.monotonic() > give_up_at:
                    return deleted, True
                _delete(instance, run_id)
                deleted += 1
    return deleted, False


def _outdated(contracts: Mapping[str, Contract], now: datetime) -> Iterator[tuple[str, dg.RunsFilter]]:
    """Which runs are outdated, of each tenant, and last ("") those of no tenant and of tenants that are no more."""
    names = list(contracts)
    # Where one night is not enough, it is not always the same ones that are left.
    random.shuffle(names)
    for tenant in names:
        before = now - timedelta(days=contracts[tenant].retention.runs_days)
        yield tenant, dg.RunsFilter(statuses=_OVER, tags={_TENANT_TAG: tenant}, created_before=before)
    longest = max([*(contract.retention.runs_days for contract in contracts.values()), _OTHERS_DAYS])
    yield "", dg.RunsFilter(statuses=_OVER, created_before=now - timedelta(days=longest))


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    # Not every kind of storage for what was printed can take a run's away.
    with suppress(NotImplementedError):
        instance.compute_log_manager.delete_logs(prefix=[run_id])


purge_job = dg.define_asset_job(
    "purge", selection=[retention], description="Take away what was kept for as long as the contracts say."
)

nightly_purge = dg.ScheduleDefinition(
    name="nightly_purge",
    job=purge_job,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:30 UTC.",
)
