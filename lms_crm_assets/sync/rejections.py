"""Records that the CRM refuses: how often they were sent, and when they become dead letters.

A refused record is sent again by each run. After `delivery.max_attempts` refusals of the same values it is a dead
letter: it is not sent any more until its values change or a person replays it, and every run says that it is there. Owns
`sync.rejections`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb

from lms_crm_assets.domain import CrmObject
from lms_crm_assets.warehouse.sql import literal, scalar

Letters = Mapping[str, tuple[str, str | None]]
"""The payload and the CRM's code of each dead letter, by external id."""

DEAD_LETTER = "DEAD_LETTER"
"""The code of the outcome of a dead letter in each run that skips it."""


@dataclass(frozen=True)
class Rejection:
    """A record that the CRM refused the last time it was sent; `message` is the CRM's text, which may quote the data."""

    object: str
    external_id: str
    operation: str
    code: str | None
    message: str | None
    attempts: int
    is_dead: bool
    first_rejected_at: datetime
    last_rejected_at: datetime


def dead_letters(con: duckdb.DuckDBPyConnection, obj: CrmObject, operation: str, max_attempts: int) -> Letters:
    """The dead letters among an object's records of one operation."""
    rows = con.execute(
        "SELECT external_id, payload, code FROM sync.rejections"
        " WHERE object = $1 AND operation = $2 AND attempts >= $3",
        [obj, operation, max_attempts],
    ).fetchall()
    return {external_id: (payload, code) for external_id, payload, code in rows}


def standing_refusals(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> int:
    """How many of an object's records the CRM refused when they were last sent."""
    query = "SELECT count(DISTINCT external_id) FROM sync.rejections WHERE object = $1"
    return int(scalar(con, query, [obj]))


def dead_records(con: duckdb.DuckDBPyConnection, obj: CrmObject, max_attempts: int) -> int:
    """How many of an object's records are dead letters."""
    query = "SELECT count(DISTINCT external_id) FROM sync.rejections WHERE object = $1 AND attempts >= $2"
    return int(scalar(con, query, [obj, max_attempts]))


def note_rejections(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> None:
    """Count what the lines of the table `folded` say of refused records, and forget those that were taken.

    The table has the journal's columns, see `journal`.
    """
    # Of a warehouse that was made before there was that column.
    con.execute("ALTER TABLE sync.rejections ADD COLUMN IF NOT EXISTS noted_at TIMESTAMPTZ")
    keys = f"r.object = {literal(obj)} AND r.external_id = f.external_id AND r.operation = f.operation"
    con.execute(
        "CREATE OR REPLACE TEMP TABLE refused AS SELECT f.*, coalesce(r.attempts, 0) AS before, r.first_rejected_at"
        " FROM (FROM folded WHERE status = 'rejected' QUALIFY row_number() OVER"
        " (PARTITION BY external_id, operation ORDER BY synced_at DESC) = 1) f"
        f" LEFT JOIN sync.rejections r ON {keys} AND r.payload = f.payload"
    )
    con.execute(f"DELETE FROM sync.rejections r USING folded f WHERE {keys} AND f.status IN ('succeeded', 'rejected')")
    con.execute(
        f"INSERT INTO sync.rejections BY NAME SELECT {literal(obj)} AS object, external_id, operation, code, message,"
        " payload, before + 1 AS attempts, coalesce(first_rejected_at, synced_at) AS first_rejected_at,"
        " synced_at AS last_rejected_at, now() AS noted_at FROM refused"
    )
    con.execute("DROP TABLE refused")


def rejections(
    con: duckdb.DuckDBPyConnection,
    max_attempts: int,
    *,
    obj: CrmObject | None = None,
    external_id: str | None = None,
    code: str | None = None,
    only_dead: bool = False,
) -> Iterator[Rejection]:
    """The records that the CRM refused when they were last sent, the newest first."""
    chosen, values = _chosen(max_attempts, obj, external_id, code, only_dead=only_dead)
    rows = con.execute(
        "SELECT object, external_id, operation, code, message, attempts, attempts >= $max, first_rejected_at,"
        f" last_rejected_at FROM sync.rejections WHERE {chosen} ORDER BY last_rejected_at DESC, object, external_id",
        values,
    )
    while row := rows.fetchone():
        yield Rejection(*row)


def replay(
    con: duckdb.DuckDBPyConnection,
    max_attempts: int,
    *,
    obj: CrmObject | None = None,
    external_id: str | None = None,
    code: str | None = None,
) -> int:
    """Let the next run send dead letters again, as if they had never been refused; gives their number."""
    chosen, values = _chosen(max_attempts, obj, external_id, code, only_dead=True)
    return len(con.execute(f"UPDATE sync.rejections SET attempts = 0 WHERE {chosen} RETURNING 1", values).fetchall())


def _chosen(
    max_attempts: int, obj: CrmObject | None, external_id: str | None, code: str | None, *, only_dead: bool
) -> tuple[str, dict[str, object]]:
    chosen = (
        "($object IS NULL OR object = $object) AND ($key IS NULL OR external_id = $key)"
        " AND ($code IS NULL OR code = $code) AND (NOT $dead OR attempts >= $max)"
    )
    return chosen, {"object": obj, "key": external_id, "code": code, "dead": only_dead, "max": max_attempts}
