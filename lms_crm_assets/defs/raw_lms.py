"""raw_lms: what the LMS said, as it said it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from lms_crm_assets.defs.edge import TENANTS, key, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import FatalError
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.landing import (
    Weighed,
    absent,
    cursor,
    ensure_raw_table,
    land,
    land_more,
    landing_folder,
    load,
    weigh,
)
from lms_crm_assets.warehouse.sql import scalar

_MEANING = {
    LmsEntity.LEARNERS: "Accounts, with suspended and deleted ones where the LMS gives them.",
    LmsEntity.COURSES: "The course catalogue.",
    LmsEntity.ENROLLMENTS: "Who is in which course, with role, status and dates.",
    LmsEntity.COMPLETIONS: "How far each learner is in each course.",
    LmsEntity.SCORES: "Grades of courses and activities.",
    LmsEntity.COMPETENCIES: "Ratings of learners in competencies.",
}


class PullConfig(dg.Config):
    """How much to read from the LMS."""

    mode: Literal["full", "incremental"] = Field(
        "full",
        description="full: everything, rows that are gone become tombstones. incremental: what changed since the "
        "last pull, where the LMS can tell; otherwise everything, and nothing is concluded from absence.",
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
    full = config.mode == "full"
    with translated():
        contract = tenants.contract(tenant)
        with closing(lms_adapter(contract, tenants.store())) as lms, _folder(tenants, tenant) as folder:
            served, able = [e for e in entities if e in lms.capabilities.entities], lms.capabilities.supports_since
            since = None
            if not full and able:
                with warehouse.connect(tenant) as con:
                    since = cursor(con, [entity for entity in served if entity in able])
            observed_at = datetime.now(UTC)
            landed = land(lms.pull(served, since), served, folder)
            weighed: dict[LmsEntity, Weighed] = {}
            gone: dict[LmsEntity, list[str]] = {}
            if full:
                with warehouse.connect(tenant, landed.settings()) as con:
                    limit = contract.checks.max_shrink_share
                    weighed = {e: weigh(con, e, landed, max_shrink_share=limit) for e in served}
                    gone = {e: absent(con, e, landed) for e in served}
            doubted = {e: found for e, found in weighed.items() if not found.believable}
            live: dict[LmsEntity, int] = {}
            if not doubted:
                for entity, keys in gone.items():
                    # A row that moved between two pages is not gone: each is asked for by its key.
                    land_more(lms.fetch(entity, keys) if keys else (), landed)
                with warehouse.connect(tenant, landed.settings()) as con:
                    for entity in served:
                        load(con, entity, landed, observed_at=observed_at, complete=full)
                    for entity in entities:
                        ensure_raw_table(con, entity)
                        live[entity] = scalar(con, f"SELECT count(*) FROM raw_lms.{entity} WHERE NOT is_deleted")
    checks = {e: _believable(tenant, e, weighed.get(e), doubted) for e in entities}
    if doubted:
        yield from checks.values()
        with translated():
            raise FatalError(_disbelief(tenant, doubted))
    for entity in entities:
        yield dg.MaterializeResult(
            asset_key=key("raw_lms", entity),
            metadata={
                "dagster/row_count": live[entity],
                "received": landed.rows.get(entity, 0),
                "asked_for_by_key": len(gone.get(entity, ())),
                "since": since.isoformat() if since else "the beginning",
            },
            check_results=[checks[entity]],
        )


def _folder(tenants: TenantsResource, tenant: str) -> AbstractContextManager[Path]:
    return landing_folder(tenants.folder(tenant, "landing"))


def _believable(
    tenant: str, entity: LmsEntity, weighed: Weighed | None, doubted: Collection[LmsEntity]
) -> dg.AssetCheckResult:
    """The check's result; `weighed` is None where nothing is concluded from absence."""
    if weighed is None:
        description = f"{tenant}: an incremental pull; no {entity} are taken for gone because they are missing."
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
