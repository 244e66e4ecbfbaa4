"""staging: canonical, typed, deduplicated rows; each table's check shows what was refused and why."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from lms_crm_assets.checks.quarantine import RuleCount, failing_rows, rule_counts
from lms_crm_assets.checks.rules import Rule, meaning_and_remedy, rules_for
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.columns import staging_metadata
from lms_crm_assets.defs.edge import TABLE_LIMIT, TENANTS, key, table, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import LmsEntity, RuleSeverity
from lms_crm_assets.staging.build import StagingCounts, build_staging, standing_counts
from lms_crm_assets.staging.tables import PERSONAL_COLUMNS

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
    LmsEntity.SCORES: [*_PEOPLE_AND_COURSES, LmsEntity.ENROLLMENTS],
    LmsEntity.COMPETENCIES: _PEOPLE_AND_COURSES,
}
_LAYERS = {
    "schema_rules": ("LMS-1", "Types, formats and values that a row needs (codes LMS-1xx)."),
    "business_rules": ("LMS-2", "The row against other rows, and as a matter of business (codes LMS-2xx)."),
}
_RULE_COLUMNS = {
    "code": "The rule's code, see docs/error-codes.md",
    "rule": "Its name; a name of the contract for a rule of the tenant's own (LMS-299)",
    "column": "The column that it judges",
    "severity": "error: the row is refused; warn: it passes and counts",
    "rows": "How many rows broke it; a row can break several",
    "share_percent": "Of all rows that the LMS gave",
    "max_share_percent": "Above this share of the contract nothing is sent",
}
_FAILING_COLUMNS = {
    "source_id": "The LMS's id of the row",
    "code": "What is wrong, see docs/error-codes.md",
    "rule": "The rule's name",
    "severity": "error: refused; warn: passed",
    "column": "The column to blame",
    "value": "What stands there (learner data is masked, unless the contract's checks.mask_samples says otherwise)",
    "attempts": "How often the LMS gave the row with this fault",
    "first_seen": "When it was found first",
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
        metadata=staging_metadata(entity),
        check_specs=[
            dg.AssetCheckSpec(
                name,
                asset=asset_key,
                blocking=True,
                description=f"{about} A few refused rows are a warning and stay in quarantine; above the share that the "
                "contract sets, for all in checks.max_invalid_share or for one rule, nothing is sent.",
            )
            for name, (_, about) in _LAYERS.items()
        ],
    )
    def staging(
        context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        with translated(), tenants.layer(tenant, "staging", entity) as tally:
            contract = tenants.contract(tenant)
            with warehouse.connect(tenant) as con:
                rules = rules_for(contract.checks, entity)
                counts = None
                if not tenants.is_concerned(tenant, context.run.run_id, entity):
                    counts = standing_counts(con, entity)
                if counts is None:
                    counts = build_staging(
                        con,
                        rules,
                        adapter=contract.source.adapter,
                        timezone=contract.source.local_timezone,
                        now=datetime.now(UTC),
                        keep_unknown=contract.unknown_attributes == "keep",
                        marks=tenants.forgotten(tenant),
                    )
                tally.put("records_invalid", counts.invalid, object=entity)
                by_rule = rule_counts(con, rules, counts.in_lms)
                hidden = PERSONAL_COLUMNS if contract.checks.mask_samples else ()
                samples = {
                    name: failing_rows(con, entity, start, hidden, TABLE_LIMIT)
                    for name, (start, _) in _LAYERS.items()
                    if any(count.rows for count in _of_layer(by_rule, name))
                }
        too_many = counts.invalid_share > contract.checks.max_invalid_share
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": counts.valid,
                "in_lms": counts.in_lms,
                "invalid": counts.invalid,
                "invalid_percent": round(100 * counts.invalid_share, 2),
                "warned": counts.warned,
                "cut_extra": counts.cut_extra,
                **_by_code(by_rule),
            },
            check_results=[
                _verdict(contract, name, counts, _of_layer(by_rule, name), samples.get(name, []), too_many=too_many)
                for name in _LAYERS
            ],
        )

    return staging


def _of_layer(by_rule: Sequence[RuleCount], name: str) -> list[RuleCount]:
    return [count for count in by_rule if count.rule.code.startswith(_LAYERS[name][0])]


def _by_code(by_rule: Iterable[RuleCount]) -> dict[str, int]:
    """The rows by code, so that the UI plots a trend of each that was ever broken."""
    found: dict[str, int] = {}
    for count in by_rule:
        if count.rows:
            found[count.rule.code] = found.get(count.rule.code, 0) + count.rows
    return found


def _verdict(
    contract: Contract,
    name: str,
    counts: StagingCounts,
    by_rule: Sequence[RuleCount],
    sample: Sequence[Mapping[str, str | int]],
    *,
    too_many: bool,
) -> dg.AssetCheckResult:
    """One layer of rules: red where a share of the contract is passed, yellow where rows are refused."""
    refusing = any(count.is_refusing for count in by_rule)
    excessive = [count for count in by_rule if count.is_too_much]
    grave = bool(excessive) or (refusing and too_many)
    return dg.AssetCheckResult(
        check_name=name,
        passed=not refusing and not excessive,
        severity=dg.AssetCheckSeverity.ERROR if grave else dg.AssetCheckSeverity.WARN,
        description=_summary(contract, counts, by_rule, excessive),
        metadata={
            "invalid": counts.invalid,
            "invalid_share": round(counts.invalid_share, 4),
            "rules": table(
                [
                    {
                        "code": count.rule.code,
                        "rule": count.rule.name,
                        "column": count.rule.column,
                        "severity": str(count.rule.severity),
                        "rows": count.rows,
                        "share_percent": round(100 * count.share, 2),
                        "max_share_percent": None if count.rule.max_share is None else 100 * count.rule.max_share,
                    }
                    for count in sorted(by_rule, key=lambda count: -count.rows)
                ],
                _RULE_COLUMNS,
            ),
            **(
                {
                    "failing_rows": table(
                        [
                            {
                                **row,
                                "remedy": meaning_and_remedy(contract.checks, str(row["code"]), str(row["rule"]))[1],
                            }
                            for row in sample
                        ],
                        _FAILING_COLUMNS,
                    )
                }
                if sample
                else {}
            ),
        },
    )


def _summary(
    contract: Contract, counts: StagingCounts, by_rule: Iterable[RuleCount], excessive: Sequence[RuleCount]
) -> str:
    def _meaning(rule: Rule) -> str:
        return meaning_and_remedy(contract.checks, rule.code, rule.name)[0].rstrip(".")

    def told(severity: RuleSeverity) -> str:
        broken = [c for c in by_rule if c.rows and c.rule.severity is severity]
        return "; ".join(
            f"{c.rule.code} {c.rule.name} ({c.rule.column}) × {c.rows}: {_meaning(c.rule)}" for c in broken
        )

    by_rule = list(by_rule)
    refused, warned = told(RuleSeverity.ERROR), told(RuleSeverity.WARN)
    said = (
        f"{counts.invalid} of {counts.in_lms} rows are refused in all. Of these: {refused}."
        if refused
        else f"{counts.in_lms} rows, none refused by these rules."
    )
    if warned:
        said += f" Passed with a warning: {warned}."
    if excessive:
        shares = ", ".join(
            f"{c.rule.code} {c.rule.name} {c.share:.1%}, at most {c.rule.max_share:.1%}" for c in excessive
        )
        said += f" More than the contract allows, so nothing is sent: {shares}."
    return f"{contract.tenant}: {said}"


STAGING = [_staging_asset(entity) for entity in LmsEntity]
