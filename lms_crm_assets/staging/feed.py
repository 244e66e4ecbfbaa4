"""The feed of canonical rows: what changed, in an order that holds while rows change.

Each row stands in the feed once, with a number that grows; a row that changes again moves to the end. A consumer that
pages through the numbers therefore ends with the same rows as the tables, whatever changes meanwhile. Owns
`staging.changes` and `staging.feed`.
"""

from datetime import datetime

import duckdb

from lms_crm_assets.domain import LmsEntity

# DuckDB may hash otherwise in another version: then every row is told once more, which says nothing wrong.
_NUMBERED = """
MERGE INTO staging.changes known USING (
    SELECT
        $entity::VARCHAR AS entity, source_id, op, row_hash, $now::TIMESTAMPTZ AS changed_at,
        (SELECT coalesce(max(changed_no), 0) FROM staging.changes) + row_number() OVER () AS changed_no
    FROM (
        SELECT
            coalesce(row.source_id, before.source_id) AS source_id,
            CASE
                WHEN row.source_id IS NOT NULL THEN 'upsert'
                WHEN before.source_id IN (SELECT source_id FROM staging.quarantine WHERE entity = $entity) THEN 'refused'
                ELSE 'delete'
            END AS op,
            row.row_hash, before.op AS op_before, before.row_hash AS row_hash_before
        FROM staging.{table} row
        FULL JOIN (SELECT source_id, op, row_hash FROM staging.changes WHERE entity = $entity) before USING (source_id)
    )
    WHERE row_hash IS DISTINCT FROM row_hash_before OR op IS DISTINCT FROM op_before
) moved
ON known.entity = moved.entity AND known.source_id = moved.source_id
WHEN MATCHED THEN UPDATE SET
    changed_no = moved.changed_no, op = moved.op, row_hash = moved.row_hash, changed_at = moved.changed_at
WHEN NOT MATCHED THEN INSERT (changed_no, entity, source_id, op, row_hash, changed_at)
    VALUES (moved.changed_no, moved.entity, moved.source_id, moved.op, moved.row_hash, moved.changed_at)
"""


def note_changes(con: duckdb.DuckDBPyConnection, entity: LmsEntity, now: datetime) -> None:
    """Number what changed in `staging.<table>` since the feed was told last; within the transaction that made it.

    A row that left the table for the quarantine is told as `refused`, another one as `delete`.
    """
    con.execute("INSERT INTO staging.feed SELECT uuid()::VARCHAR WHERE NOT EXISTS (FROM staging.feed)")
    con.execute(_NUMBERED.format(table=entity.staging_table), {"entity": entity, "now": now})
