"""Reading what the checks found: per rule how many rows, and a sample that shows no learner data."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import duckdb

from lms_crm_assets.checks.rules import Rule, Rules
from lms_crm_assets.domain import LmsEntity, RuleSeverity
from lms_crm_assets.masking import masked, safe_key, shortened

_FOUND = "(SELECT *, 'error' AS severity FROM staging.quarantine UNION ALL SELECT *, 'warn' FROM staging.warnings)"


@dataclass(frozen=True)
class RuleCount:
    """How many rows broke one rule, of all that the LMS gave; a row with two violations counts under both."""

    rule: Rule
    rows: int
    share: float

    @property
    def is_refusing(self) -> bool:
        """Whether it refused any row."""
        return self.rows > 0 and self.rule.severity is RuleSeverity.ERROR

    @property
    def is_too_much(self) -> bool:
        """Whether it was broken by a larger share of the rows than the contract allows."""
        return self.rule.max_share is not None and self.share > self.rule.max_share


def rule_counts(con: duckdb.DuckDBPyConnection, rules: Rules, in_lms: int) -> list[RuleCount]:
    """The count of each rule that is not off, also of those that nothing broke, in the order of their codes."""
    rows = con.execute(
        'SELECT code, rule, "column", severity, "rows" FROM staging.broken WHERE entity = $1', [rules.entity]
    ).fetchall()
    counted = {(code, rule, column): number for code, rule, column, _, number in rows}
    known = {(rule.code, rule.name, rule.column): rule for rule in rules.rules}
    # A rule that the contract has changed since the table was built counts as it was then.
    for code, name, column, severity, _ in rows:
        was = known.get((code, name, column)) or Rule(code, column, name, RuleSeverity(severity))
        known[code, name, column] = replace(was, severity=RuleSeverity(severity))
    return [
        RuleCount(rule, counted.get(key, 0), counted.get(key, 0) / in_lms if in_lms else 0.0)
        for key, rule in sorted(known.items(), key=lambda each: each[0])
    ]


def failing_rows(
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, layer: str, personal: Collection[str], limit: int
) -> list[dict[str, str | int]]:
    """A sample of the rows that broke a rule whose code begins with `layer`, of every rule some, refused ones first.

    Values of the `personal` columns are masked.
    """
    query = (
        'SELECT source_id, code, rule, severity, "column", "value", attempts, strftime(first_seen_at, \'%Y-%m-%d %H:%M\')'
        " FROM (SELECT *, row_number() OVER (PARTITION BY code, rule, severity ORDER BY len(source_id), source_id) AS n"
        f" FROM {_FOUND} WHERE entity = $1 AND starts_with(code, $2) ORDER BY severity, n, code LIMIT $3)"
        ' ORDER BY severity, code, rule, len(source_id), source_id, "column"'
    )
    return [
        {
            "source_id": safe_key(source_id),
            "code": code,
            "rule": rule,
            "severity": severity,
            "column": column,
            "value": masked(value) if column in personal else shortened(safe_key(value)),
            "attempts": attempts or 0,
            "first_seen": first_seen,
        }
        for source_id, code, rule, severity, column, value, attempts, first_seen in con.execute(
            query, [entity, layer, limit]
        ).fetchall()
    ]
