"""What a lake needs now and then: a file has nothing like it."""

import duckdb

from lms_crm_assets.warehouse.lake import Lake

# A reader, or a backup, that began before may be at it still.
_KEPT_HISTORY = "1 day"


def tidy(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Drop a lake's history that nobody reads any more, and bring small files together; `con` is open on it.

    Deleted rows are gone from a file once a twentieth of it is deleted; those of a learner who is forgotten go at once, see
    `rewriting`.
    """
    name = lake.catalog
    con.execute(f"CALL ducklake_expire_snapshots('{name}', older_than => now() - INTERVAL '{_KEPT_HISTORY}')")
    con.execute(f"CALL ducklake_rewrite_data_files('{name}', delete_threshold => 0.05)")
    con.execute(f"CALL ducklake_merge_adjacent_files('{name}')")
    con.execute(f"CALL ducklake_cleanup_old_files('{name}', older_than => now() - INTERVAL '{_KEPT_HISTORY}')")
    con.execute(f"CALL ducklake_delete_orphaned_files('{name}', older_than => now() - INTERVAL '{_KEPT_HISTORY}')")
