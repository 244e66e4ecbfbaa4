"""Reading the quarantine: what was refused, and a sample that shows no learner data."""

from collections.abc import Collection

import duckdb

from lms_crm_assets.domain import LmsEntity

_SHOWN = 1
_CELL = 80


def refusals(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> dict[str, int]:
    """Refused rows by code; a row with two violations counts under both."""
    query = "SELECT code, count(DISTINCT source_id) FROM staging.quarantine WHERE entity = $1 GROUP BY ALL ORDER BY ALL"
    return dict(con.execute(query, [entity]).fetchall())


def refused_rows(
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, personal: Collection[str], limit: int
) -> list[dict[str, str]]:
    """A sample of refused rows, of every code some, values of the personal columns masked."""
    query = (
        'SELECT source_id, code, "column", "value", strftime(first_seen_at, \'%Y-%m-%d %H:%M\') FROM staging.quarantine'
        " WHERE entity = $1 ORDER BY row_number() OVER (PARTITION BY code ORDER BY source_id), code LIMIT $2"
    )
    return [
        {
            "source_id": mask(source_id) if "@" in source_id else source_id,
            "code": code,
            "column": column,
            "value": mask(value) if column in personal else shortened(value),
            "first_seen": first_seen,
        }
        for source_id, code, column, value, first_seen in con.execute(query, [entity, limit]).fetchall()
    ]


def mask(value: str | None) -> str:
    """A personal value as its first character and its length."""
    if value is None or not value.strip():
        return "(empty)"
    return f"{value[:_SHOWN]}… ({len(value)} characters)"


def shortened(value: str | None) -> str:
    """A value that fits a table cell."""
    if value is None or not value.strip():
        return "(empty)"
    return value if len(value) <= _CELL else f"{value[: _CELL - 1]}…"
