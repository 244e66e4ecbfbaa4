"""raw_lms: what the LMS said, as it said it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from pydantic import Field

from lms_crm_assets.defs.edge import TENANTS, key, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.landing import cursor, land, landing_folder, load
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
)
def raw_lms(
    context: dg.AssetExecutionContext, config: PullConfig, tenants: TenantsResource, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult]:
    """Pull the selected entities in one go: many systems give several of them by one answer."""
    tenant = context.partition_key
    entities = [entity for entity in LmsEntity if key("raw_lms", entity) in context.selected_asset_keys]
    with translated():
        contract = tenants.contract(tenant)
        lms = lms_adapter(contract)
        since = None
        if config.mode == "incremental" and lms.capabilities.supports_since:
            with warehouse.connect(tenant) as con:
                since = cursor(con, entities)
        observed_at = datetime.now(UTC)
        with landing_folder(tenants.folder(tenant, "landing")) as folder:
            try:
                landed = land(lms.pull(entities, since), entities, folder)
            finally:
                lms.close()
            if since is not None:
                landed.advance_together()
            with warehouse.connect(tenant) as con:
                for entity in entities:
                    load(
                        con,
                        entity,
                        landed,
                        observed_at=observed_at,
                        complete=config.mode == "full",
                        max_shrink_share=contract.checks.max_shrink_share,
                    )
                live = {e: scalar(con, f"SELECT count(*) FROM raw_lms.{e} WHERE NOT is_deleted") for e in entities}
    for entity in entities:
        yield dg.MaterializeResult(
            asset_key=key("raw_lms", entity),
            metadata={
                "dagster/row_count": live[entity],
                "received": landed.rows[entity],
                "since": since.isoformat() if since else "the beginning",
            },
        )
