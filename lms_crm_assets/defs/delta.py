"""delta: what has to change in the CRM, one row a record; and the plan that is made of it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg
import duckdb
from pydantic import Field

from lms_crm_assets.contract.canonical import PARENTS
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.defs.columns import delta_metadata
from lms_crm_assets.defs.edge import TABLE_LIMIT, TENANTS, key, table, translated
from lms_crm_assets.defs.launch import PlanConfig
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.defs.started import is_by_hand
from lms_crm_assets.delta.build import DeltaCounts, build_delta, leave_delta, read_counts
from lms_crm_assets.delta.destination import blamed, refusals, refused_by_code, refused_records
from lms_crm_assets.delta.forecast import Pace, Quota, forecast
from lms_crm_assets.delta.guardrails import breaches
from lms_crm_assets.delta.plan import Plan, approve, drop_plans, has_delta, newest_plan, record_plan, withhold
from lms_crm_assets.delta.scope import make_scope
from lms_crm_assets.delta.show import change_rows
from lms_crm_assets.delta.there_already import addresses_to_ask, there_already
from lms_crm_assets.delta.there_already import told as there_already_told
from lms_crm_assets.discovery.crm_schema import newest_schema
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.events.share import Share
from lms_crm_assets.ops.audit import AuditLog
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.sync.canary import why_held
from lms_crm_assets.sync.journal import drop_older, recover
from lms_crm_assets.warehouse.sql import scalar

_ALSO_READ = {
    # Its roll-ups, where a contract maps some.
    CrmObject.CONTACT: [LmsEntity.COURSES, LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.COMPETENCIES],
    CrmObject.COMPLETION: [LmsEntity.SCORES],
}
_PLAN_COLUMNS = {
    "external_id": "The LMS's id, the value of the match key",
    "action": "create, update or archive; unchanged where only an observed field differs",
    "field": "The CRM field, or the parent that the record is linked to",
    "old": "What the CRM holds (learner data is masked)",
    "new": "What the LMS says (learner data is masked)",
    "class": "ours: the LMS changed; drift: the CRM was changed by others; conflict: both",
    "owner": "Whose word counts for the field",
}

_REFUSED_COLUMNS = {
    "external_id": "The LMS's id, the value of the match key",
    "code": "What the CRM would refuse it for, see docs/error-codes.md",
    "severity": "error: the record is not sent; warn: it is sent (LMS-306 and 308: without the field)",
    "field": "The CRM field to blame, or the parent",
    "value": "What it would get (learner data is masked, unless the contract's checks.mask_samples says otherwise)",
    "attempts": "In how many deltas",
    "first_seen": "When it was found first",
    "remedy": "What to do",
}


class DeltaConfig(dg.Config):
    """Which records count."""

    only_touched: bool = Field(
        False, description="Only the records that the run's events touch; what else differs is left to the next pull."
    )


def _delta_asset(obj: CrmObject) -> dg.AssetsDefinition:
    @dg.asset(
        key=key("delta", obj),
        group_name="delta",
        partitions_def=TENANTS,
        kinds={"duckdb"},
        description=f"Each {obj} whose CRM state differs from the LMS under the contract: what to do with it, the "
        "changed fields with old and new value, and whether the difference is ours, drift or a conflict.",
        deps=[
            *(key("staging", entity.staging_table) for entity in (obj.entity, *_ALSO_READ.get(obj, []))),
            *(key("crm_snapshot", other) for other in (obj, *sorted(PARENTS[obj]))),
            # What hangs on a record that is refused waits with it.
            *(key("delta", parent) for parent in sorted(PARENTS[obj])),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "destination_rules",
                asset=key("delta", obj),
                blocking=True,
                description="The CRM, as its schema was discovered, would take every record (codes LMS-3xx). Those that it "
                "would refuse are not sent; above the share that the contract sets in checks.max_invalid_share nothing is.",
            )
        ],
    )
    def delta(
        context: dg.AssetExecutionContext, config: DeltaConfig, tenants: TenantsResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        with translated(), tenants.layer(tenant, "delta", obj) as tally:
            contract = tenants.contract(tenant)
            if obj not in contract.objects:
                return dg.MaterializeResult(
                    metadata={"skipped": f"{tenant} maps no {obj}"},
                    check_results=[_nothing_to_check(tenant, obj)],
                )
            spec, mask = object_spec(contract, obj), contract.checks.mask_samples
            share_allowed, columns = contract.checks.max_invalid_share, delta_metadata(contract, spec)
            if why := tenants.why_left(tenant, context.run.run_id, obj):
                with warehouse.connect(tenant) as con:
                    if tenants.is_concerned(tenant, context.run.run_id, obj):  # a switch leaves it
                        leave_delta(con, obj)
                    verdict = _acceptable(con, tenant, spec, share_allowed, mask=mask)
                return dg.MaterializeResult(metadata={**columns, "skipped": why}, check_results=[verdict])
            share = tenants.share(tenant, context.run.run_id) if config.only_touched else None
            with warehouse.connect(tenant) as con:
                recovered = recover(con, spec, tenants.folder(tenant, "sync"))
                counts = build_delta(
                    con,
                    spec,
                    partial(_scope, con, spec, share) if share is not None else None,
                    schema=newest_schema(con, obj),
                    checks=contract.checks,
                    unsent=tenants.switches(tenant).left_out,
                )
                rows = change_rows(con, spec, TABLE_LIMIT)
                verdict = _acceptable(con, tenant, spec, share_allowed, mask=mask)
            tally.add("records_unchanged", counts.unchanged, object=obj)
            tally.add("records_drifted", counts.drift, object=obj, status="drift")
            tally.add("records_drifted", counts.conflict, object=obj, status="conflict")
            tally.put("records_withheld", counts.refused, object=obj)
        return dg.MaterializeResult(
            metadata={
                **columns,
                **asdict(counts),
                "dagster/row_count": counts.create + counts.update + counts.archive,
                "recovered_journals": recovered,
                f"changes_first_{TABLE_LIMIT}": table(rows, _PLAN_COLUMNS),
            },
            check_results=[verdict],
        )

    return delta


def _scope(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, share: Share) -> None:
    make_scope(con, spec, share.keys, share.crm_ids)


def _nothing_to_check(tenant: str, obj: CrmObject) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="destination_rules", passed=True, description=f"{tenant} maps no {obj}: there is nothing to check."
    )


def _acceptable(
    con: duckdb.DuckDBPyConnection, tenant: str, spec: ObjectSpec, share_allowed: float, *, mask: bool
) -> dg.AssetCheckResult:
    """Whether the CRM would take every record of an object: of all of them, whatever the run is about."""
    found = refusals(con, spec.object)
    wanted = scalar(con, f"SELECT count(*) FROM staging.{spec.object.entity.staging_table}")
    # One bad course would stop the tenant, if what hangs on it counted.
    share = found.at_fault / wanted if wanted else 0.0
    too_many = share > share_allowed
    told = f"the CRM's schema lets every {spec.object} pass."
    if found.by_code:
        told = f"{found.records} of {wanted} records are not sent, {found.warned} are sent with a warning: "
        told += " ".join(blamed(found))
    if too_many:
        told += f" Above {share_allowed:.1%} (checks.max_invalid_share) nothing is sent at all."
    sample = refused_records(con, spec, TABLE_LIMIT, mask=mask)
    return dg.AssetCheckResult(
        check_name="destination_rules",
        passed=not found.by_code,
        severity=dg.AssetCheckSeverity.ERROR if too_many else dg.AssetCheckSeverity.WARN,
        description=f"{tenant}: {told}",
        metadata={
            "refused": found.records,
            "refused_share": round(share, 4),
            "warned": found.warned,
            **({"refused_by_code": dg.MetadataValue.json(refused_by_code(con, spec.object))} if found.records else {}),
            **({"refused_records": table(sample, _REFUSED_COLUMNS)} if sample else {}),
        },
    )


_PLAN = key("delta", "plan")


@dg.asset(
    key=_PLAN,
    group_name="delta",
    partitions_def=TENANTS,
    kinds={"duckdb"},
    deps=[key("delta", obj) for obj in CrmObject],
    description="The deltas of all objects as one plan with an id, its forecast, and whether it may be sent.",
    check_specs=[
        dg.AssetCheckSpec(
            "guardrails",
            asset=_PLAN,
            blocking=True,
            description="The plan stays within the contract's guardrails: shares and numbers of updates and archives, "
            "the size of the source, the day's quota. Beyond them nothing is sent without a person.",
        ),
        dg.AssetCheckSpec(
            "approved",
            asset=_PLAN,
            description="All of the plan may be sent: the contract applies plans by itself, or a person approved it, and no "
            "feature switch of the tenant keeps any of it.",
        ),
    ],
)
def plan(
    context: dg.AssetExecutionContext, config: PlanConfig, tenants: TenantsResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Make a plan of the deltas, or approve the stored one that the configuration names."""
    tenant = context.partition_key
    now = datetime.now(UTC)
    with translated(), tenants.layer(tenant, "delta", "plan") as tally:
        contract, switches = tenants.contract(tenant), tenants.switches(tenant)
        if config.apply_plan:
            switches.check_may_send()
        specs = {obj: object_spec(contract, obj) for obj in contract.in_order()}
        addresses: list[str] = []
        pace, quota = _pace_and_quota(contract, tenants.store())
        if quota is not None:
            tally.put("quota_used_calls", quota.used)
            tally.put("quota_allowed_calls", quota.allowed)
        with warehouse.connect(tenant) as con:
            built = {
                obj: spec
                for obj, spec in specs.items()
                if has_delta(con, obj) and not tenants.why_left(tenant, context.run.run_id, obj)
            }
            counts = {obj: read_counts(con, obj) for obj in built}
            if config.apply_plan:
                made = approve(
                    con,
                    config.apply_plan,
                    list(built.values()),
                    sync_run_id=context.run.run_id,
                    despite_guardrails=config.despite_guardrails,
                    now=now,
                )
            else:
                sources = {
                    obj: scalar(con, f"SELECT count(*) FROM staging.{obj.entity.staging_table}") for obj in built
                }
                expected = forecast(counts, {obj: len(spec.parents) for obj, spec in built.items()}, pace, quota)
                made = record_plan(
                    con,
                    list(built.values()),
                    forecast=expected,
                    breaches=breaches(counts, sources, expected, contract.guardrails),
                    auto_apply=contract.guardrails.auto_apply,
                    sync_run_id=context.run.run_id,
                    now=now,
                    lane=tenants.lane,
                )
                if switches.dry_run:
                    made = withhold(con, made.plan_id, f"{switches.dry_run}; {switches.why_dry}", "dry_run")
                elif why := why_held(con, switches, by_hand=is_by_hand(tenants.started_by)):
                    made = withhold(con, made.plan_id, why)
                oldest = now - timedelta(days=contract.retention_days)
                drop_older(con, oldest)
                drop_plans(con, oldest)
                if CrmObject.CONTACT in built and tenants.lane is Lane.FULL:
                    addresses = addresses_to_ask(con, built[CrmObject.CONTACT])
            # A run of events is about its own records: what a person still has to look at stays to be seen.
            standing = newest_plan(con, Lane.FULL) if tenants.lane is Lane.EVENTS else None
        if config.apply_plan:
            despite = "despite the guardrails" if config.despite_guardrails and made.breaches else ""
            AuditLog(tenants.store()).note(tenants.started_by, "plan.approved", tenant, made.plan_id, despite)
        there = _contacts_there_already(contract, tenants.store(), addresses)
    left = [obj for obj in specs if obj in switches.left_out]
    told = f"{', '.join(left)} left alone, {switches.only}" if left else ""
    # Of a new plan nobody has read what the guardrails would say.
    despite_guardrails = bool(config.apply_plan) and config.despite_guardrails
    return _plan_result(tenant, made, counts, standing, there, left=told, despite_guardrails=despite_guardrails)


def _contacts_there_already(
    contract: Contract, store: OperationalStore, addresses: list[str]
) -> Mapping[str, int | str]:
    """The figure of a first plan, and what to do about it, where there are any."""
    if not addresses:
        return {}
    spec, crm = object_spec(contract, CrmObject.CONTACT), crm_adapter(contract, store)
    try:
        found = there_already(crm, spec, addresses)
    finally:
        crm.close()
    if found is None or not found.found:
        return {}
    text = there_already_told(found.found, found.asked, spec.match_key, contract.destination.adapter)
    return {"contacts_there_already": found.found, "contacts_there_already_told": text}


def _pace_and_quota(contract: Contract, store: OperationalStore) -> tuple[Pace, Quota | None]:
    crm = crm_adapter(contract, store)
    try:
        quota = crm.quota()
        links = crm.linker.batch_size if crm.linker else 0
        bulk = (crm.bulk.least, crm.bulk.batch_size) if crm.bulk else None
        return Pace(crm.batch_size, links, crm.calls_per_second, bulk), Quota(*quota) if quota else None
    finally:
        crm.close()


def _plan_result(
    tenant: str,
    made: Plan,
    counts: Mapping[CrmObject, DeltaCounts],
    standing: Plan | None,
    there: Mapping[str, int | str],
    *,
    left: str,
    despite_guardrails: bool,
) -> dg.MaterializeResult:
    share = made.forecast["quota_share_after"]
    columns = {
        "object": "CRM object",
        "create": "Records to create",
        "update": "Records to update",
        "overwrite": "Updates that replace what the CRM holds",
        "archive": "Records to archive",
        "unchanged": "Records that agree",
        "drift": "Updates because the CRM was changed by others",
        "conflict": "Updates where both sides changed",
        "observed": "Records whose observed fields differ",
        "unreadable": "Records with a value that is none of its field's type",
        "refused": "Records that are not sent since the CRM would refuse them",
    }
    return dg.MaterializeResult(
        metadata={
            "plan_id": made.plan_id,
            "status": made.status,
            **({"withheld": made.withheld} if made.withheld else {}),
            **({"left_alone": left} if left else {}),
            **there,
            "records": made.forecast["records"],
            "calls": made.forecast["calls"],
            "minutes": round(made.forecast["minutes"], 2),
            "drifted": sum(count.drift + count.conflict for count in counts.values()),
            "refused": sum(count.refused for count in counts.values()),
            **({"quota_share_after": round(share, 4)} if share is not None else {}),
            "summary": table([{"object": obj.value, **asdict(count)} for obj, count in counts.items()], columns),
        },
        check_results=[
            _within(tenant, made, standing, despite_guardrails=despite_guardrails),
            _approved(tenant, made, standing, left),
        ],
    )


def _within(tenant: str, made: Plan, standing: Plan | None, *, despite_guardrails: bool) -> dg.AssetCheckResult:
    severity, told = dg.AssetCheckSeverity.ERROR, ""
    if made.breaches and not despite_guardrails:
        told = f"{'; '.join(made.breaches)}. Nothing was sent. To send it all the same: {_apply(tenant, made)}"
    elif standing is not None and standing.status == "refused":
        # Not an error, which would hold back what the events are about.
        severity = dg.AssetCheckSeverity.WARN
        told = (
            f"the plan of these events stays within the guardrails, but the one of {standing.created_at:%Y-%m-%d %H:%M} UTC"
            f" is still refused: {'; '.join(standing.breaches)}. To send it all the same: {_apply(tenant, standing)}"
        )
    return dg.AssetCheckResult(
        check_name="guardrails",
        passed=not told,
        severity=severity,
        description=f"{tenant}: {told or 'the plan stays within the guardrails.'}",
    )


def _approved(tenant: str, made: Plan, standing: Plan | None, left: str) -> dg.AssetCheckResult:
    waiting = next((p for p in (made, standing) if p is not None and p.status != "approved"), None)
    amiss = [_why_unsent(tenant, waiting)] if waiting is not None else []
    amiss += [left] if left else []
    return dg.AssetCheckResult(
        check_name="approved",
        passed=not amiss,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{tenant}: {'; '.join(amiss) if amiss else 'the plan may be sent.'}",
    )


def _why_unsent(tenant: str, plan: Plan) -> str:
    if plan.withheld:
        return f"the plan {plan.plan_id} is withheld: {plan.withheld}"
    return f"the plan {plan.plan_id} waits for a person: {_apply(tenant, plan)}"


def _apply(tenant: str, plan: Plan) -> str:
    return f"lms-crm apply --tenant {tenant} {plan.plan_id}" + (" --despite-guardrails" if plan.breaches else "")


DELTA = [*(_delta_asset(obj) for obj in CrmObject), plan]
