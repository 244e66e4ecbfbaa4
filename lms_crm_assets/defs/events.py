"""Events: the sensor that starts a run where some wait, and the asset that settles them when their outcome is known."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import dagster as dg

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.automation import WAITING, paused_tenants
from lms_crm_assets.defs.edge import TENANTS, key, tenants_known, translated
from lms_crm_assets.defs.jobs import sync_events
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.defs.started import SCHEDULE_TAG
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.events.share import settle
from lms_crm_assets.ops.breaker import Breaker
from lms_crm_assets.ops.heartbeat import EVENTS_SENSOR, EVENTS_WORKER, beat, is_alive
from lms_crm_assets.ops.inbox import Depth
from lms_crm_assets.ops.lanes import Lane, is_taken
from lms_crm_assets.ops.latency import p95_seconds
from lms_crm_assets.ops.modes import Mode, Modes, Sample
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.sync.outcomes import failed_keys


@dg.asset(
    key=key("sync", "events"),
    group_name="sync",
    partitions_def=TENANTS,
    deps=[key("sync", obj) for obj in CrmObject],
    description="The events that this run took from the inbox, settled now that the outcome of what they touched is in "
    "the ledger: done, tried again later where the LMS does not show the row yet, or parked. `report` is the run's page for "
    "people, see docs/report.md.",
)
def settled_events(
    context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Settle the run's share of the inbox."""
    tenant = context.partition_key
    file = tenants.share_file(tenant, context.run.run_id)
    share = tenants.share(tenant, context.run.run_id)
    page = tenants.report(context.instance)
    report = {"report": dg.MetadataValue.path(str(page.absolute()))} if page is not None else {}
    if not share.events:
        file.unlink(missing_ok=True)
        return dg.MaterializeResult(metadata={"events": 0, **report})
    with translated(), tenants.layer(tenant, "sync", "events") as tally:
        inbox = tenants.inbox()
        with warehouse.connect(tenant) as con:
            failed = failed_keys(con, context.run.run_id)
        settled = settle(inbox, share, failed)
        for status, number in (("done", settled.done), ("retried", settled.retried), ("parked", settled.parked)):
            tally.add("events_settled", number, status=status)
        waiting = inbox.depth(tenant)
    file.unlink()
    return dg.MaterializeResult(
        metadata={
            "events": len(share.events),
            "done": settled.done,
            "tried_again_later": settled.retried,
            "parked": settled.parked,
            "still_waiting": waiting.pending,
            **report,
        }
    )


@dg.sensor(
    job=sync_events,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts one run of each tenant for which events wait, unless its contract's mode is pull or backpressure "
    "has switched it there: then the scheduled runs take them. Where `lms-crm worker` is at work it is quicker, and the "
    "sensor leaves them to it.",
)
def waiting_events(
    context: dg.SensorEvaluationContext, tenants: TenantsResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Runs of the tenants for which events wait."""
    with translated():
        store = tenants.store()
        if is_alive(store, EVENTS_WORKER):
            due, why = [], "lms-crm worker takes the events"
        else:
            beat(store, EVENTS_SENSOR)
            due, why = tenants_to_run(context.instance, tenants, look_at_modes(tenants)), "no event waits for a run"
            queued = _queued(context.instance) if due else set()
            due = [tenant for tenant in due if tenant not in queued]
            why = "; ".join([why, *paused_tenants(tenants).values()])
    for tenant in due:
        yield dg.RunRequest(partition_key=tenant, tags={SCHEDULE_TAG: "events"})
    if not due:
        yield dg.SkipReason(why)


def look_at_modes(tenants: TenantsResource) -> dict[str, Mode]:
    """The mode of each tenant that has an inbox, after a look at how things stand with it."""
    contracts = list(_with_inbox(tenants))
    if not contracts:
        return {}
    inbox = tenants.inbox()
    depths, now = inbox.depths(), inbox.store.clock()
    return {
        contract.tenant: look_at_mode(tenants.store(), contract, depths.get(contract.tenant, Depth()), now)
        for contract in contracts
    }


def tenants_to_run(instance: dg.DagsterInstance, tenants: TenantsResource, modes: Mapping[str, Mode]) -> list[str]:
    """The tenants for which a run of events is to be started now."""
    pushed = {tenant for tenant, mode in modes.items() if mode is not Mode.PULL}
    if not pushed:
        return []
    inbox = tenants.inbox()
    waiting = pushed.intersection(inbox.tenants_waiting(inbox.store.clock()))
    if waiting:
        waiting -= paused_tenants(tenants).keys()
    # Dagster's own tables are asked last: most looks find nothing.
    known = waiting and waiting & tenants_known(instance)
    # A run that is under way takes what waits when it ends, or the next look does.
    return sorted(t for t in known if not is_taken(tenants.folder(t, "locks"), Lane.EVENTS))


def look_at_mode(store: OperationalStore, contract: Contract, depth: Depth, now: float) -> Mode:
    """The tenant's mode, after a look at how much waits and how the CRM answers."""
    crm = contract.destination.url
    sample = Sample(
        depth=depth.pending + depth.leased,
        # One that the LMS doesn't show yet is tried again later: no run could help it, and none is too slow for it.
        oldest_seconds=max(0.0, now - depth.due_at) if depth.due_at is not None else 0.0,
        crm_p95_seconds=p95_seconds(store, crm, contract.backpressure.window_seconds),
        breaker_open=Breaker(store, crm).down_seconds() is not None,
    )
    return Modes(store).look(contract.tenant, Mode(contract.mode), sample, contract.backpressure)


def _with_inbox(tenants: TenantsResource) -> Iterator[Contract]:
    """The contracts that name somebody who may deliver; one that can't be read is told by its runs."""
    for tenant in tenants.names():
        with suppress(LmsCrmError):
            contract = tenants.contract(tenant)
            if contract.has_inbox:
                yield contract


def _queued(instance: dg.DagsterInstance) -> set[str]:
    """The tenants with a run of events that was asked for and has yet to start: it takes all that wait when it does."""
    queued = instance.get_runs(dg.RunsFilter(job_name=sync_events.name, statuses=[*WAITING]))
    return {run.tags["dagster/partition"] for run in queued if "dagster/partition" in run.tags}
