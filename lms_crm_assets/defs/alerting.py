"""When it is looked for what people have to hear of: after each run, and every quarter of an hour with the fleet."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from lms_crm_assets.alerts.look import KEPT_SECONDS, Look
from lms_crm_assets.alerts.register import Register
from lms_crm_assets.alerts.state import TenantState
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.tenant_states import tenant_states
from lms_crm_assets.errors import LmsCrmError

_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_PARTITION = "dagster/partition"
# The fleet is looked at every quarter of an hour, which finds what ended before.
_FIRST = timedelta(minutes=15)
# A look takes some 0.1 s a tenant, and a channel that does not answer 10 s: a tick dies at 300 s.
_AT_ONCE = 200


def look_at(tenants: TenantsResource, states: Iterable[TenantState]) -> list[str]:
    """Note what is amiss with these tenants and tell who has to hear of it; a line for each thing in the way of that."""
    try:
        look = Look(tenants.store(), Path(tenants.tenants_dir))
        look.at(states)
    except LmsCrmError as exc:
        return [str(exc)]
    return look.troubles


def forget_old_alerts(tenants: TenantsResource) -> None:
    """Forget the alerts that were over long ago, and close those of tenants that have no contract any more."""
    with suppress(LmsCrmError):
        store = tenants.store()
        register = Register(store)
        register.close_others(tenants.names())
        register.purge(store.clock() - KEPT_SECONDS)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="After each run: what is amiss with its tenant is told to the channels of its alerts, once, and once more "
    "when it is over. A message that a channel did not take is sent again.",
)
def alerts(context: dg.SensorEvaluationContext, tenants: TenantsResource) -> dg.SensorResult | dg.SkipReason:
    """Look at the tenants whose runs ended since the last tick, and at those of whom a channel has still to hear."""
    since = datetime.fromisoformat(context.cursor) if context.cursor else datetime.now(UTC) - _FIRST
    ended = context.instance.get_run_records(
        dg.RunsFilter(statuses=_OVER, updated_after=since), limit=_AT_ONCE, order_by="update_timestamp", ascending=True
    )
    seen = max((record.update_timestamp.astimezone(UTC) for record in ended), default=since)
    names = {tenant for record in ended if (tenant := record.dagster_run.tags.get(_PARTITION))}
    try:
        names.update(Register(tenants.store()).tenants_waiting())
    except LmsCrmError as exc:
        return dg.SkipReason(str(exc))
    here = sorted(names.intersection(tenants.names()))
    troubles = look_at(tenants, tenant_states(context.instance, tenants, here, datetime.now(UTC)))
    context.update_cursor(seen.isoformat())
    return dg.SkipReason("; ".join(troubles) or f"looked at {', '.join(here) or 'nobody: no run ended'}")
