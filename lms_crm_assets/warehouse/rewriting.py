"""Writing a warehouse anew: what was deleted in it is then nowhere in its files.

DuckDB reuses the blocks of deleted rows, but doesn't overwrite them; a DuckLake keeps them as its history.
"""

from pathlib import Path

from lms_crm_assets.warehouse.connection import NEW_FILE, held_patiently, taken_alone
from lms_crm_assets.warehouse.generations import rewrite_lake
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.location import Location
from lms_crm_assets.warehouse.sql import literal


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


def _remove(file: Path) -> None:
    for each in (file, file.with_name(f"{file.name}.wal")):
        each.unlink(missing_ok=True)
