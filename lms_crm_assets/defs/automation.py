"""When things run: schedules, and the sensor that takes up new tenants. Webhooks get their sensor with the receiver."""

from collections.abc import Iterator

import dagster as dg

from lms_crm_assets.defs.edge import TENANTS, key
from lms_crm_assets.defs.jobs import full_reconcile, incremental_pull
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.domain import CrmObject


@dg.schedule(
    job=full_reconcile,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 02:00 UTC, one run a tenant.",
)
def nightly_full_reconcile(context: dg.ScheduleEvaluationContext, tenants: TenantsResource) -> Iterator[dg.RunRequest]:
    """A full reconciliation of every tenant."""
    at = context.scheduled_execution_time
    for tenant in _known(context.instance, tenants):
        yield dg.RunRequest(run_key=f"full-{tenant}-{at:%Y-%m-%dT%H:%M}", partition_key=tenant)


@dg.schedule(
    job=incremental_pull,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every five minutes, one run a tenant that was reconciled before.",
)
def five_minute_incremental_pull(
    context: dg.ScheduleEvaluationContext, tenants: TenantsResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """An incremental pull of every tenant whose CRM state is known; before that only a full run tells the truth."""
    at = context.scheduled_execution_time
    seen = context.instance.get_materialized_partitions(key("crm_snapshot", CrmObject.CONTACT))
    ready = [tenant for tenant in _known(context.instance, tenants) if tenant in seen]
    if not ready:
        yield dg.SkipReason("no tenant has had a full reconciliation yet")
    for tenant in ready:
        yield dg.RunRequest(run_key=f"incremental-{tenant}-{at:%Y-%m-%dT%H:%M}", partition_key=tenant)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes a partition of every contract in the tenants folder, and takes it away with the file.",
)
def tenants_folder(context: dg.SensorEvaluationContext, tenants: TenantsResource) -> dg.SensorResult | dg.SkipReason:
    """Keep the tenants partitions equal to the contracts."""
    known = set(context.instance.get_dynamic_partitions(str(TENANTS.name)))
    files = set(tenants.names())
    if known == files:
        return dg.SkipReason("partitions and contracts agree")
    return dg.SensorResult(
        dynamic_partitions_requests=[
            TENANTS.build_add_request(sorted(files - known)),
            TENANTS.build_delete_request(sorted(known - files)),
        ]
    )


def _known(instance: dg.DagsterInstance, tenants: TenantsResource) -> list[str]:
    """Tenants with both a contract and a partition."""
    partitions = set(instance.get_dynamic_partitions(str(TENANTS.name)))
    return [tenant for tenant in tenants.names() if tenant in partitions]
