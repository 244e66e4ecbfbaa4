"""A warehouse that is no file as a DuckDB file, and back: for backups, for trying something out, for moving house."""

from pathlib import Path

import duckdb

from lms_crm_assets.errors import FatalError
from lms_crm_assets.warehouse.connection import NEW_FILE, SETTINGS, held_still
from lms_crm_assets.warehouse.generations import fill_lake
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.location import Location
from lms_crm_assets.warehouse.sql import literal


def copy_out(source: Location, target: Path) -> None:
    """Copy all tables into a new file; the caller holds the warehouse still. Learner data, for nobody else to read."""
    if isinstance(source, Path):
        raise FatalError("a warehouse that is a file is copied as one")
    target.unlink(missing_ok=True)
    with duckdb.connect(config={**SETTINGS, "temp_directory": str(source.scratch)}) as con:
        con.execute("SET TimeZone = 'UTC'")
        source.attach(con, read_only=True)
        con.execute(f"ATTACH {literal(str(target))} AS copied {NEW_FILE}")
        target.chmod(0o600)
        con.execute(f"COPY FROM DATABASE {source.catalog} TO copied")
        con.execute("CHECKPOINT copied")


def copy_in(file: Path, target: Location) -> None:
    """Have a warehouse that is no file hold what the file does, and nothing else.

    `RetryableError` at once while somebody has it open.
    """
    if not isinstance(target, Lake):
        raise FatalError(f"lms-crm does not restore to the {target}: docs/warehouse.md says what does")
    with held_still(target):
        fill_lake(target, file)
