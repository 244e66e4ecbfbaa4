"""sync: the delta delivered, with the outcome of every record."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg

from lms_crm_assets.contract.canonical import PARENTS
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.pages import page_of
from lms_crm_assets.defs.columns import sync_metadata
from lms_crm_assets.defs.edge import TABLE_LIMIT, TENANTS, key, plain, table, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.delta.plan import Plan, newest_plan, plan_to_send
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.switches import Switches
from lms_crm_assets.sync.canary import Trial, deliver
from lms_crm_assets.sync.convergence import Convergence, standing_differences
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.outcomes import RecordOutcome, lag_seconds, records_in_crm, refused_outcomes
from lms_crm_assets.sync.rejections import dead_records, standing_refusals
from lms_crm_assets.sync.runs import SyncRun, note_run

_LOG_EVERY_SECONDS = 10.0
# So many records of a run are linked to.
_LINKS = 20

_OUTCOME_COLUMNS = {
    "external_id": "The LMS's id, the value of the match key",
    "status": "rejected: the CRM refused the data; failed: the next run sends it again; skipped: refused too often, "
    "see lms-crm dead-letters",
    "code": "Why, see docs/error-codes.md",
    "crm_code": "The CRM's own code; its message is kept in the warehouse: lms-crm explain",
    "batch_id": "The batch it was sent in",
    "remedy": "What to do",
}

_BACK_COLUMNS = {
    "external_id": "The LMS's id, the value of the match key",
    "field": "The CRM field, or the parent",
    "wrote": "What was written (learner data is masked)",
    "holds": "What the CRM holds (learner data is masked)",
}


def _sync_asset(obj: CrmObject) -> dg.AssetsDefinition:
    asset_key = key("sync", obj)

    @dg.asset(
        key=asset_key,
        group_name="sync",
        partitions_def=TENANTS,
        kinds={"salesforce", "hubspot"},
        description=f"Each {obj} of the plan upserted by its match key, parents first. Outcomes are in "
        "sync.outcomes, what was last written in sync.ledger.",
        deps=[key("delta", "plan"), *(key("sync", parent) for parent in sorted(PARENTS[obj]))],
        check_specs=[
            dg.AssetCheckSpec(
                "delivered",
                asset=asset_key,
                description="Every record of the plan was taken by the CRM; what it refused is listed with its code.",
            ),
            dg.AssetCheckSpec(
                "canary",
                asset=asset_key,
                blocking=True,
                description="Where the tenant's switch `canary` is set: the share of the records that is sent first was taken "
                "and holds what was written. Otherwise nothing else of the plan is sent.",
            ),
            dg.AssetCheckSpec(
                "converged",
                asset=asset_key,
                description="What was written was read back from the CRM and is as the plan says, value by value.",
            ),
        ],
    )
    def sync(
        context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        with translated(), tenants.layer(tenant, "sync", obj) as tally:
            contract = tenants.contract(tenant)
            if obj not in contract.objects:
                return dg.MaterializeResult(
                    metadata={"skipped": f"{tenant} maps no {obj}"},
                    check_results=_nothing_sent(f"{tenant} maps no {obj}"),
                )
            spec, run_id = object_spec(contract, obj), context.run.run_id
            columns = sync_metadata(contract, spec)
            left = tenants.why_left(tenant, run_id, obj)
            switches = tenants.switches(tenant)
            switches.check_not_paused()
            with warehouse.connect(tenant) as con:
                plan = None if left or switches.dry_run else plan_to_send(con, run_id, tenants.lane)
                newest = newest_plan(con, tenants.lane, run_id)
                refused_before, differing_before = standing_refusals(con, obj), standing_differences(con, obj)
            if plan is None or obj in plan.sent:
                why = left or _why_not(newest, switches)
                told = f"{tenant}: nothing was sent, {why}"
                # Also when the run is started again from here. A run of events that is held back lost nothing: what they
                # told is in the next pull's plan, and events of a run that fails would be parked in the end.
                withheld = newest is not None and newest.status == "withheld" and tenants.lane is Lane.FULL
                failed = withheld and not left and not switches.dry_run
                return dg.MaterializeResult(
                    metadata={**columns, "skipped": why},
                    check_results=[
                        *_as_before(told, refused_before, differing_before),
                        dg.AssetCheckResult(check_name="canary", passed=not failed, description=told),
                    ],
                )
            folder = tenants.folder(tenant, "sync")
            crm, started = crm_adapter(contract, tenants.store()), time.monotonic()
            try:
                delivery = Delivery(
                    crm=crm,
                    spec=spec,
                    plan_id=plan.plan_id,
                    open_warehouse=lambda: warehouse.connect(tenant),
                    folder=folder,
                    sync_run_id=run_id,
                    max_attempts=contract.delivery.max_attempts,
                    progress=_logged(context.log.info, obj),
                    right_of_way=tenants.right_of_way,
                    may_go_on=lambda: tenants.switches(tenant).check_may_send(obj),
                    told_by=tenants.share(tenant, run_id).told_by(),
                )
                with warehouse.connect(tenant) as con:
                    names = [event.delivery_id for event in tenants.share(tenant, run_id).events]
                    apart, now = crm.linker is not None, datetime.now(UTC)
                    note_run(con, SyncRun(run_id, plan.plan_id, tenants.started_by, names, apart, now))
                counts, found, trial = deliver(delivery, switches.canary_share, tenants.lane)
            finally:
                crm.close()
            seconds = time.monotonic() - started
            with warehouse.connect(tenant) as con:
                refused = refused_outcomes(con, obj, run_id, TABLE_LIMIT)
                records, lag = records_in_crm(con, obj, run_id, _LINKS), lag_seconds(con, obj, run_id)
                standing = standing_refusals(con, obj) if tenants.lane is Lane.EVENTS else 0
                tally.put("dead_letters", dead_records(con, obj, contract.delivery.max_attempts), object=obj)
            for what in ("created", "updated", "archived", "rejected", "failed", "skipped"):
                tally.add(f"records_{what}", getattr(counts, what), object=obj)
        undelivered = counts.rejected + counts.failed + counts.skipped
        delivered = counts.created + counts.updated + counts.archived
        return dg.MaterializeResult(
            metadata={
                **columns,
                "records_created": counts.created,
                "records_updated": counts.updated,
                "records_archived": counts.archived,
                "records_rejected": counts.rejected,
                "records_failed": counts.failed,
                "records_skipped": counts.skipped,
                "records_left_to_a_newer_run": counts.superseded,
                "write_calls": counts.write_calls,
                "http_calls": crm.traffic.get("calls", 0),
                "http_calls_failed": crm.traffic.get("failed", 0),
                "rate_limited": crm.traffic.get("rate_limited", 0),
                **({"canaries": trial.canaries} if trial else {}),
                "seconds": round(seconds, 1),
                "records_per_second": round(delivered / seconds, 1) if seconds else 0.0,
                **({"lag_seconds": round(lag, 1)} if lag is not None else {}),
                **_pages(contract, spec, records),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="delivered",
                    # A run of events sends few records, and those that were refused before still are.
                    passed=undelivered == standing == 0,
                    severity=dg.AssetCheckSeverity.ERROR,
                    description=_summary(tenant, delivered, undelivered, counts.reasons),
                    metadata={
                        "undelivered": undelivered,
                        "refused_as_before": standing,
                        **({"undelivered_rows": table(refused, _OUTCOME_COLUMNS)} if refused else {}),
                        "by_code": dg.MetadataValue.json(counts.reasons),
                    },
                ),
                _converged(tenant, found),
                _canary(tenant, trial, switches),
            ],
        )

    return sync


def _pages(contract: Contract, spec: ObjectSpec, records: Sequence[RecordOutcome]) -> dict[str, dg.MetadataValue]:
    """Links to the pages of some of the records, those that were not taken first; nothing where there are none."""
    lines = [
        f"| {plain(each.external_id)} | {each.action} | {each.status} | [{each.crm_id}]({page}) |"
        for each in records
        if (page := page_of(contract.destination, spec.to, each.crm_id)) is not None
    ]
    head = ["| external_id | action | outcome | in the CRM |", "|---|---|---|---|"]
    return {"crm_pages": dg.MetadataValue.md("\n".join([*head, *lines]))} if lines else {}


def _converged(tenant: str, found: Convergence) -> dg.AssetCheckResult:
    told = f"{tenant}: {found.read} of {found.written} written records were read back, "
    told += "all are as planned." if not found.differing else "not all are as planned."
    if found.standing:
        told += f" {found.standing} that were written before are not as planned either."
    return dg.AssetCheckResult(
        check_name="converged",
        passed=not found.differing and found.standing == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description=told,
        metadata={
            "written": found.written,
            "read_back": found.read,
            "differing_as_before": found.standing,
            **({"differing": table(found.differing, _BACK_COLUMNS)} if found.differing else {}),
        },
    )


def _why_not(newest: Plan | None, switches: Switches) -> str:
    """Why nothing of a plan is sent, in plain words."""
    if switches.dry_run:
        return f"{switches.dry_run}"
    if newest is None or newest.status != "approved":
        if newest is not None and newest.withheld:
            return f"the plan {newest.plan_id} is withheld: {newest.withheld}"
        return "there is no approved plan"
    return f"the plan {newest.plan_id} was sent already"


def _canary(tenant: str, trial: Trial | None, switches: Switches) -> dg.AssetCheckResult:
    if trial is None:
        told = f"{tenant}: the switch is not set."
        return dg.AssetCheckResult(check_name="canary", passed=True, description=told)
    return dg.AssetCheckResult(
        check_name="canary",
        passed=trial.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{tenant}: {trial}"
        + ("." if trial.passed else f". Mend what the other checks tell; `lms-crm switches show --tenant {tenant}`"),
        metadata={
            "share": switches.canary_share,
            "canaries": trial.canaries,
            "others": trial.others,
            "not_taken": trial.not_taken,
            "differing": trial.differing,
        },
    )


def _as_before(why: str, refused: int, differing: int) -> list[dg.AssetCheckResult]:
    """Where nothing is sent, what stood of the object's records still does."""
    return [
        dg.AssetCheckResult(
            check_name="delivered",
            passed=refused == 0,
            description=f"{why}; {refused} records are refused by the CRM as before.",
        ),
        dg.AssetCheckResult(
            check_name="converged",
            passed=differing == 0,
            description=f"{why}; {differing} records that were written before are not as planned.",
        ),
    ]


def _nothing_sent(why: str) -> list[dg.AssetCheckResult]:
    return [
        dg.AssetCheckResult(check_name=name, passed=True, description=why)
        for name in ("delivered", "canary", "converged")
    ]


def _logged(log: Callable[..., None], obj: CrmObject) -> Callable[[str, int, int], None]:
    """Progress for the event log, now and then: each line there is a row of a database."""
    started = last = time.monotonic()
    current = ""

    def note(phase: str, done: int, total: int) -> None:
        nonlocal started, last, current
        if phase != current:
            started, current = time.monotonic(), phase
        now = time.monotonic()
        if now - last >= _LOG_EVERY_SECONDS:
            last, rate = now, done / max(now - started, 0.001)
            left = (total - done) / rate if rate else 0.0
            log("%s, %s: %d of %d records, %d a second, %d s to go", obj, phase, done, total, rate, left)

    return note


def _summary(tenant: str, delivered: int, undelivered: int, reasons: dict[str, int]) -> str:
    if not undelivered:
        return f"{tenant}: all {delivered} records were taken by the CRM."
    by_code = "; ".join(f"{number} × {reason}" for reason, number in reasons.items())
    return f"{tenant}: {undelivered} of {delivered + undelivered} records were not taken: {by_code}"


SYNC = [_sync_asset(obj) for obj in CrmObject]
