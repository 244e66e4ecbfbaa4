"""raw_lms: what the LMS said, as it said it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import datetime
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.columns import raw_metadata
from lms_crm_assets.defs.edge import TENANTS, key, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import FatalError
from lms_crm_assets.events.learners import learner_ids
from lms_crm_assets.events.share import Share, take
from lms_crm_assets.hints.found import By
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.forgotten import without_forgotten
from lms_crm_assets.lms.ingest import Fetched, Ingested, fetch_into, pull_into, standing_doubts
from lms_crm_assets.lms.landing import Weighed, landing_folder
from lms_crm_assets.ops.heartbeat import EVENTS_SENSOR, EVENTS_WORKER, is_alive
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.modes import Mode, Modes

_MEANING = {
    LmsEntity.LEARNERS: "Accounts, with suspended and deleted ones where the LMS gives them.",
    LmsEntity.COURSES: "The course catalogue.",
    LmsEntity.ENROLLMENTS: "Who is in which course, with role, status and dates.",
    LmsEntity.COMPLETIONS: "How far each learner is in each course.",
    LmsEntity.SCORES: "Grades of courses and activities.",
    LmsEntity.COMPETENCIES: "Ratings of learners in competencies.",
}


Doubts = Mapping[LmsEntity, tuple[Weighed, datetime]]
"""What was not believed of the last full pull, and when that was."""


class PullConfig(dg.Config):
    """How much to read from the LMS."""

    mode: Literal["full", "incremental", "events"] = Field(
        "full",
        description="full: everything, rows that are gone become tombstones. incremental: what changed since the "
        "last pull, where the LMS can tell; otherwise everything, and nothing is concluded from absence. events: only the "
        "rows that waiting events touch.",
    )
    take_events: bool = Field(
        False,
        description="Whether the run takes the events that wait in the inbox too; `sync/events` settles them in the end. "
        "A full or incremental pull leaves them to the runs of events where these are at work and the tenant's mode is not "
        "pull.",
    )


@dg.multi_asset(
    name="raw_lms",
    can_subset=True,
    partitions_def=TENANTS,
    specs=[
        dg.AssetSpec(
            key("raw_lms", entity),
            group_name="raw_lms",
            kinds={"duckdb"},
            description=f"{_MEANING[entity]} As the LMS sent it, with source_id and observed_at.",
            metadata=raw_metadata(entity),
            skippable=True,
        )
        for entity in LmsEntity
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "believable",
            asset=key("raw_lms", entity),
            blocking=True,
            description="The LMS gave about as many rows as before. A full pull that lost more than the share that the "
            "contract sets in checks.max_shrink_share is not loaded, so that nothing is taken for gone.",
        )
        for entity in LmsEntity
    ],
)
def raw_lms(
    context: dg.AssetExecutionContext, config: PullConfig, tenants: TenantsResource, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Pull the selected entities in one go: many systems give several of them by one answer.

    All are loaded or none: enrollments of one pull beside learners of another would look like enrollments of nobody.
    """
    tenant = context.partition_key
    entities = [entity for entity in LmsEntity if key("raw_lms", entity) in context.selected_asset_keys]
    done, fetched = None, Fetched()
    with translated(), tenants.layer(tenant, "raw_lms") as tally:
        contract = tenants.contract(tenant)
        share = _share(context.run.run_id, contract, tenants, warehouse) if config.take_events else Share()
        forgotten = tenants.forgotten(tenant)
        with closing(without_forgotten(lms_adapter(contract, tenants.store()), forgotten)) as lms:
            if config.mode != "events":
                with _folder(tenants, tenant) as folder:
                    done = pull_into(
                        lambda settings: warehouse.connect(tenant, settings),
                        lms,
                        folder,
                        entities=entities,
                        full=config.mode == "full",
                        max_shrink_share=contract.checks.max_shrink_share,
                        aside=tenants.aside,
                    )
            if (keys := share.keys) and not (done and done.doubted):
                with _folder(tenants, tenant) as folder:
                    fetched = fetch_into(
                        lambda settings: warehouse.connect(tenant, settings), lms, folder, keys, aside=tenants.aside
                    )
                share.unseen, share.everything = fetched.unseen, fetched.moved
                tenants.keep_share(tenant, context.run.run_id, share)
        for entity in entities:
            got = done.landed.rows.get(entity, 0) if done else 0
            tally.add("records_extracted", got + fetched.rows.get(entity, 0), object=entity)
        with warehouse.connect(tenant) as con:
            standing = standing_doubts(con)
    yield from _results(tenant, entities, done, fetched, standing)


def _share(run_id: str, contract: Contract, tenants: TenantsResource, warehouse: WarehouseResource) -> Share:
    """The events that wait, leased to this run; those that runs of events take are left to them."""
    if not contract.has_inbox or (tenants.lane is Lane.FULL and _others_take_events(contract, tenants)):
        return Share()

    def ids(named: Collection[tuple[By, str]]) -> Mapping[tuple[By, str], str]:
        with warehouse.connect(contract.tenant) as con:
            return learner_ids(con, named)

    share = take(tenants.inbox(), contract, ids)
    tenants.keep_share(contract.tenant, run_id, share)
    return share


def _others_take_events(contract: Contract, tenants: TenantsResource) -> bool:
    store = tenants.store()
    pulled = Modes(store).now(contract.tenant, Mode(contract.mode)) is Mode.PULL
    return not pulled and is_alive(store, EVENTS_WORKER, EVENTS_SENSOR)


def _results(
    tenant: str, entities: Collection[LmsEntity], done: Ingested | None, fetched: Fetched, standing: Doubts
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What the run shows of each entity; `done` is None where nothing but events was looked at."""
    if done is None:
        for entity in entities:
            yield dg.MaterializeResult(
                asset_key=key("raw_lms", entity),
                metadata={"touched_by_events": fetched.rows.get(entity, 0)},
                check_results=[_untold(tenant, entity, standing)],
            )
        return
    checks = {e: _believable(tenant, e, done, standing) for e in entities}
    if done.doubted:
        yield from checks.values()
        with translated():
            raise FatalError(_disbelief(tenant, done.doubted))
    for entity in entities:
        yield dg.MaterializeResult(
            asset_key=key("raw_lms", entity),
            metadata={
                "dagster/row_count": done.living[entity],
                "received": done.landed.rows.get(entity, 0),
                "asked_for_by_key": len(done.absent.get(entity, ())),
                "neither_given_nor_gone": done.unanswered.get(entity, 0),
                "touched_by_events": fetched.rows.get(entity, 0),
                "since": done.since.isoformat() if done.since else "the beginning",
            },
            check_results=[checks[entity]],
        )


def _untold(tenant: str, entity: LmsEntity, standing: Doubts) -> dg.AssetCheckResult:
    told = f"only {entity} that events touch were asked for; none are taken for gone but those of which the LMS says so"
    return _inconclusive(tenant, entity, told, standing)


def _inconclusive(tenant: str, entity: LmsEntity, told: str, standing: Doubts) -> dg.AssetCheckResult:
    """Of a pull that concludes nothing from absence: what was not believed of the last full one still isn't."""
    if entity in standing:
        weighed, at = standing[entity]
        told += (
            f"; of the full pull of {at:%Y-%m-%d %H:%M} UTC {weighed.now} {entity} where it had {weighed.before} before "
            "were not believed. Check what the credential may see; if so many really are gone, raise checks.max_shrink_share"
        )
    return dg.AssetCheckResult(
        check_name="believable",
        asset_key=key("raw_lms", entity),
        passed=entity not in standing,
        # What it did not believe holds the full pull back, not this one.
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{tenant}: {told}.",
    )


def _folder(tenants: TenantsResource, tenant: str) -> AbstractContextManager[Path]:
    return landing_folder(tenants.landing(tenant))


def _believable(tenant: str, entity: LmsEntity, done: Ingested, standing: Doubts) -> dg.AssetCheckResult:
    """The check's result of a pull."""
    weighed, doubted = done.weighed.get(entity), done.doubted
    if entity not in done.landed.rows:
        description = f"{tenant}: this LMS, as it is configured, has no {entity}; rows of before stay as they are."
    elif weighed is None:
        told = f"an incremental pull; no {entity} are taken for gone because they are missing"
        return _inconclusive(tenant, entity, told, standing)
    elif entity in doubted:
        description = _disbelief(tenant, {entity: weighed})
    else:
        description = f"{tenant}: the LMS gave {weighed.now} {entity}, it had {weighed.before} before."
        if doubted:
            description += f" Not loaded, because of the {', '.join(doubted)} of the same pull."
    return dg.AssetCheckResult(
        check_name="believable",
        asset_key=key("raw_lms", entity),
        passed=entity not in doubted,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata={
            "rows_before": weighed.before,
            "rows_now": weighed.now,
            "share": round(weighed.share, 4),
            "limit": weighed.limit,
        }
        if weighed
        else {},
    )


def _disbelief(tenant: str, doubted: Mapping[LmsEntity, Weighed]) -> str:
    """Why, and what to do, in one line."""
    losses = ", ".join(
        f"{w.now} {entity} where it had {w.before} before ({w.share:.1%} fewer)" for entity, w in doubted.items()
    )
    limit = next(iter(doubted.values())).limit
    return (
        f"{tenant}: the LMS gave {losses}: not believed, the limit is {limit:.1%} fewer. Nothing was loaded and nothing "
        "sent. Check what the credential may see; if so many really are gone, raise checks.max_shrink_share"
    )
