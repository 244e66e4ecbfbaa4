"""staging: canonical, typed, deduplicated rows; each table's check shows what was refused and why."""

from datetime import UTC, datetime

import dagster as dg

from lms_crm_assets.checks.codes import CATALOGUE
from lms_crm_assets.checks.quarantine import refusals, refused_rows
from lms_crm_assets.defs.edge import TABLE_LIMIT, TENANTS, key, table, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.staging.build import StagingCounts, build_staging, is_staged, standing_counts
from lms_crm_assets.staging.tables import COLUMNS, PERSONAL_COLUMNS

_MEANING = {
    LmsEntity.LEARNERS: "People who learn, one row each.",
    LmsEntity.COURSES: "Courses, one row each.",
    LmsEntity.ENROLLMENTS: "One row for a learner in a course.",
    LmsEntity.COMPLETIONS: "How far a learner is in a course: state, progress and when it was completed.",
    LmsEntity.SCORES: "Scores of courses and activities, with their range.",
    LmsEntity.COMPETENCIES: "Ratings of learners in competencies.",
}
# Which other raw tables an entity is read with, and which tables its rows must refer to.
_PEOPLE_AND_COURSES = [LmsEntity.LEARNERS, LmsEntity.COURSES]
_UPSTREAM = {
    LmsEntity.LEARNERS: [],
    LmsEntity.COURSES: [],
    LmsEntity.ENROLLMENTS: _PEOPLE_AND_COURSES,
    LmsEntity.COMPLETIONS: [*_PEOPLE_AND_COURSES, LmsEntity.ENROLLMENTS],
    LmsEntity.SCORES: _PEOPLE_AND_COURSES,
    LmsEntity.COMPETENCIES: _PEOPLE_AND_COURSES,
}
_REFUSED_COLUMNS = {
    "source_id": "The LMS's id of the row",
    "code": "What is wrong, see docs/error-codes.md",
    "column": "The column to blame",
    "value": "What stands there (learner data is masked)",
    "first_seen": "When it was refused first",
    "remedy": "What to do",
}


def _staging_asset(entity: LmsEntity) -> dg.AssetsDefinition:
    asset_key = key("staging", entity.staging_table)

    @dg.asset(
        key=asset_key,
        group_name="staging",
        partitions_def=TENANTS,
        kinds={"duckdb", "polars"},
        description=f"{_MEANING[entity]} Rows that break a rule are in staging.quarantine with a code.",
        deps=[
            key("raw_lms", entity),
            *(key("staging", other.staging_table) for other in _UPSTREAM[entity]),
        ],
        metadata={
            "dagster/table_name": f"staging.{entity.staging_table}",
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn(name, kind, tags={"pii": ""} if name in PERSONAL_COLUMNS else None)
                    for name, kind in {"source_id": "VARCHAR", **COLUMNS[entity]}.items()
                ]
            ),
        },
        check_specs=[
            dg.AssetCheckSpec(
                "valid_rows",
                asset=asset_key,
                blocking=True,
                description="Rows that broke a rule. A few are a warning and stay in quarantine; above the share that "
                "the contract sets in checks.max_invalid_share nothing is sent.",
            )
        ],
    )
    def staging(
        context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        with translated():
            contract = tenants.contract(tenant)
            with warehouse.connect(tenant) as con:
                if is_staged(con, entity) and not tenants.is_concerned(tenant, context.run.run_id, entity):
                    counts = standing_counts(con, entity)
                else:
                    counts = build_staging(
                        con,
                        entity,
                        adapter=contract.source.adapter,
                        timezone=contract.source.local_timezone,
                        now=datetime.now(UTC),
                        keep_unknown=contract.unknown_attributes == "keep",
                    )
                by_code, rows = refusals(con, entity), refused_rows(con, entity, PERSONAL_COLUMNS, TABLE_LIMIT)
        too_many = counts.invalid_share > contract.checks.max_invalid_share
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": counts.valid,
                "in_lms": counts.in_lms,
                "invalid": counts.invalid,
                "cut_extra": counts.cut_extra,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="valid_rows",
                    passed=counts.invalid == 0,
                    severity=dg.AssetCheckSeverity.ERROR if too_many else dg.AssetCheckSeverity.WARN,
                    description=_summary(tenant, by_code, counts),
                    metadata={
                        "invalid": counts.invalid,
                        "invalid_share": round(counts.invalid_share, 4),
                        "refused_rows": table(
                            [{**row, "remedy": CATALOGUE[row["code"]].remedy} for row in rows], _REFUSED_COLUMNS
                        ),
                        "by_code": dg.MetadataValue.json(by_code),
                    },
                )
            ],
        )

    return staging


def _summary(tenant: str, by_code: dict[str, int], counts: StagingCounts) -> str:
    if not counts.invalid:
        return f"{tenant}: all {counts.in_lms} rows are valid."
    reasons = "; ".join(f"{code} × {n} ({CATALOGUE[code].meaning.rstrip('.')})" for code, n in by_code.items())
    return f"{tenant}: {counts.invalid} of {counts.in_lms} rows refused, by code (a row can have several): {reasons}."


STAGING = [_staging_asset(entity) for entity in LmsEntity]
