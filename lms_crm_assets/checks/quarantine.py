"""Reading the quarantine: what was refused, and a sample that shows no learner data."""

from collections.abc import Collection

import duckdb

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.masking import masked, safe_key, shortened


def refusals(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> dict[str, int]:
    """Refused rows by code; a row with two violations counts under both."""
    query = "SELECT code, count(DISTINCT source_id) FROM staging.quarantine WHERE entity = $1 GROUP BY ALL ORDER BY ALL"
    return dict(con.execute(query, [entity]).fetchall())


def refused_rows(
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, personal: Collection[str], limit: int
) -> list[dict[str, str]]:
    """A sample of refused rows, of every code some, values of the personal columns masked."""
    query = (
        'SELECT source_id, code, "column", "value", strftime(first_seen_at, \'%Y-%m-%d %H:%M\') FROM ('
        "SELECT *, row_number() OVER (PARTITION BY code ORDER BY len(source_id), source_id) AS n"
        " FROM staging.quarantine WHERE entity = $1 ORDER BY n, code LIMIT $2)"
        ' ORDER BY code, len(source_id), source_id, "column"'
    )
    return [
        {
            "source_id": safe_key(source_id),
            "code": code,
            "column": column,
            "value": masked(value) if column in personal else safe_key(shortened(value)),
            "first_seen": first_seen,
        }
        for source_id, code, column, value, first_seen in con.execute(query, [entity, limit]).fetchall()
    ]
