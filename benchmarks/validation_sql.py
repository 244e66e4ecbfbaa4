"""The rules on learners as SQL by hand, a line a rule. It has to find what the product finds, row by row."""

import duckdb

from benchmarks.validation_rules import (
    EMAIL,
    FORMULA,
    LONGEST,
    MANGLED,
    NAMES,
    NO_KEY,
    REQUIRED,
    SHORT,
    UNPRINTABLE,
    WHOLE,
)
from lms_crm_assets.warehouse.sql import literal

_DELETED = f"coalesce(regexp_matches(username, '{MANGLED}'), false)"

# Code, column, and when the row breaks the rule.
SQL_RULES = [
    *(("LMS-101", column, f"{column} IS NULL") for column in REQUIRED),
    ("LMS-103", "source_id", f"length(source_id) > {LONGEST} OR regexp_matches(source_id, '{NO_KEY}')"),
    ("LMS-104", "email", f"NOT regexp_matches(email, '{EMAIL}') AND NOT {_DELETED}"),
    ("LMS-106", "username", _DELETED),
    ("LMS-105", "status", f"status NOT IN ('active', 'suspended') AND NOT {_DELETED}"),
    *(("LMS-102", column, f"contains({column}, chr(65533))") for column in WHOLE),
    *(("LMS-107", column, f"length({column}) > {LONGEST}") for column in SHORT),
    *(("LMS-108", column, f"regexp_matches({column}, '{FORMULA}')") for column in NAMES),
    *(("LMS-111", column, f"regexp_matches({column}, '{UNPRINTABLE}')") for column in NAMES),
]


def violations_by_sql(con: duckdb.DuckDBPyConnection) -> None:
    """Make the temp table `violation` from `candidate` as somebody would who writes it as one query."""
    found = ", ".join(
        f"CASE WHEN {broken} THEN {{'code': {literal(code)}, 'column': {literal(column)}}} END"
        for code, column, broken in SQL_RULES
    )
    any_broken = " OR ".join(f"({broken})" for _, _, broken in SQL_RULES)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE violation AS WITH by_row AS MATERIALIZED ("
        'SELECT rid, v.code, v."column" FROM (SELECT rid, unnest(list_filter(['
        f"{found}], lambda v: v IS NOT NULL)) AS v FROM candidate WHERE {any_broken})"
        " UNION ALL SELECT rid, 'LMS-102', unnest(unreadable) FROM candidate WHERE len(unreadable) > 0"
        "), copies AS MATERIALIZED ("
        "SELECT rid FROM candidate SEMI JOIN (SELECT lower(source_id) AS same FROM candidate GROUP BY ALL"
        " HAVING count(*) > 1) ON lower(source_id) = same"
        "), living AS (SELECT rid, lower(email) AS same FROM candidate ANTI JOIN by_row USING (rid) ANTI JOIN copies USING (rid))"
        " FROM by_row UNION ALL SELECT rid, 'LMS-201', 'source_id' FROM copies"
        " UNION ALL SELECT rid, 'LMS-202', 'email' FROM living SEMI JOIN"
        " (SELECT same FROM living GROUP BY ALL HAVING count(*) > 1) USING (same)"
    )
