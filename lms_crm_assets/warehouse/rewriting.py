"""Writing a warehouse anew: what was deleted in it is then nowhere in its files, and they are no larger than they need be.

DuckDB reuses the blocks of deleted rows, but doesn't overwrite them, nor give them back to the disk; a DuckLake keeps them
as its history.
"""

from pathlib import Path

from lms_crm_assets.warehouse.connection import NEW_FILE, held_patiently, taken_alone
from lms_crm_assets.warehouse.generations import rewrite_lake
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.location import Location
from lms_crm_assets.warehouse.sql import literal, quoted, scalar

# Twenty rounds that replace a hundredth of ten million rows each wear off so much; less is not worth the writing.
_WORN_SHARE = 0.2
_WORTH_BYTES = 64 * 1024 * 1024


def rewrite(location: Location) -> None:
    """Copy all tables into a new file, or lake, and put it in the old one's place; nobody else has either open meanwhile.

    Waits for whoever has it open; `RetryableError` after two minutes. In MotherDuck what was deleted stays in the database's
    snapshots, for as long as that is set there to keep them.
    """
    if isinstance(location, Path):
        _rewrite_file(location)
    elif isinstance(location, Lake):
        with held_patiently(location):
            rewrite_lake(location)


def _rewrite_file(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.new")
    _remove(fresh)
    with taken_alone(path) as (con, catalog):
        con.execute(f"CHECKPOINT {catalog}")
        con.execute(f"ATTACH {literal(str(fresh))} AS rewritten {NEW_FILE}")
        con.execute(f"COPY FROM DATABASE {catalog} TO rewritten")
        con.execute("CHECKPOINT rewritten")
        fresh.chmod(path.stat().st_mode)
        # Still attached, and so locked, when it gets its name; the old file is closed before that lock is gone, or its end
        # could take the log of whoever opens the new one.
        fresh.replace(path)
        con.execute(f"DETACH {catalog}")
    _remove(fresh)


def rewrite_if_worn(location: Location, *, worth_bytes: int = _WORTH_BYTES) -> int:
    """Rewrite a large file of which a fifth is free or of deleted rows; gives the bytes that the disk has back.

    As `rewrite` does it; what is smaller than `worth_bytes` stays as it is, and so does what is no file: `upkeep` is for it.
    """
    if not isinstance(location, Path):
        return 0
    before = location.stat().st_size
    if before < worth_bytes or _worn_share(location) < _WORN_SHARE:
        return 0
    rewrite(location)
    return before - location.stat().st_size


def _worn_share(path: Path) -> float:
    """The share of the file that is free, or holds rows that were deleted: row ids go on, whatever was deleted."""
    with taken_alone(path) as (con, catalog):
        con.execute(f"CHECKPOINT {catalog}")
        size = "SELECT total_blocks, used_blocks FROM pragma_database_size() WHERE database_name = $1"
        [(total, used)] = con.execute(size, [catalog]).fetchall()
        tables = con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1", [catalog]
        ).fetchall()
        rows = ever = 0
        for schema, table in tables:
            name = f"{catalog}.{quoted(schema)}.{quoted(table)}"
            rows += scalar(con, f"SELECT count(*) FROM {name}")
            ever += scalar(con, f"SELECT coalesce(max(rowid) + 1, 0) FROM {name}")
    return float(1 - used / max(total, 1) * rows / max(ever, 1))


def _remove(file: Path) -> None:
    for each in (file, file.with_name(f"{file.name}.wal")):
        each.unlink(missing_ok=True)
