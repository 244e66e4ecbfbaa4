"""Taking a backup while runs go on: each file is consistent in itself, and none knows of less than one before it.

A run holds its warehouse for seconds at a time; the copy is made between two of these, and the run waits for it. SQLite
gives its own snapshot. A journal of a delivery under way is copied before the warehouse: what is in both is taken up
twice, which changes nothing.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw
import duckdb

from lms_crm_assets import interrupt
from lms_crm_assets.backup.manifest import FORMAT, Manifest, entry_of, synced
from lms_crm_assets.backup.places import CONTRACTS, STATE, STORES_AFTER, STORES_BEFORE, Places
from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.progress import Step
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import SETTINGS, held_still
from lms_crm_assets.warehouse.copying import copy_file, copy_with_log
from lms_crm_assets.warehouse.copying_out import copy_out
from lms_crm_assets.warehouse.location import Location
from lms_crm_assets.warehouse.sql import quoted

# The longest single step of a run over millions of rows takes some minutes.
_PATIENCE_SECONDS = 900.0
_POLL_SECONDS = 0.2
_BUSY_SECONDS = 60.0


def back_up(settings: Settings, folder: Path, step: Step, *, in_postgres: bool) -> Manifest:
    """Copy warehouses, operational store and contracts to a new folder; `step` is told of each tenant.

    `in_postgres`: the operational store is there, and not in the backup. `FatalError` when the folder is in use or the
    disk is full, `RetryableError` when a run keeps its warehouse for longer than a quarter of an hour.
    """
    places = Places(settings)
    tenants = places.tenants()
    if not tenants and not places.stores():
        raise FatalError(f"there is nothing to back up in {settings.state_dir.absolute()}: set LMS_CRM_STATE_DIR")
    _begin(folder)
    with _disk_troubles(folder):
        state = folder / STATE
        for store in [] if in_postgres else places.stores(STORES_BEFORE):
            _copy_store(store, state / store.name)
        rows = {}
        for number, tenant in enumerate(tenants):
            step(tenant, number, len(tenants))
            _copy_files(places.journals(tenant), state / "sync" / tenant)
            rows[tenant] = _copy_warehouse(places.warehouse(tenant), state / "warehouse" / f"{tenant}.duckdb")
        _copy_files(places.receipts(), state / "receipts")
        for store in [] if in_postgres else places.stores(STORES_AFTER):
            _copy_store(store, state / store.name)
        _copy_contracts(settings.tenants_dir, folder / CONTRACTS)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        for file in files:
            synced(file)
        manifest = Manifest(
            format=FORMAT,
            taken_at=datetime.now(UTC),
            product=version("lms-crm-assets"),
            duckdb=duckdb.__version__,
            store="postgres" if in_postgres else "sqlite",
            rows=rows,
            entries=tuple(entry_of(folder, file) for file in files),
        )
        manifest.save(folder)
    return manifest


def _begin(folder: Path) -> None:
    try:
        # Learner data, though the most secret of it is sealed: for nobody else to read.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FatalError(f"{folder} is not empty: name a new folder for each backup")
    except OSError as exc:
        raise FatalError(f"{folder} can't be made: {os.strerror(exc.errno or 0)}") from exc


@contextmanager
def _disk_troubles(folder: Path) -> Iterator[None]:
    """The disk's troubles as one line."""
    try:
        yield
    except (OSError, duckdb.IOException, apsw.FullError, apsw.IOError) as exc:
        reason = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else type(exc).__name__
        raise FatalError(
            f"the backup to {folder} broke off ({reason}): remove the folder, and see that it has room"
        ) from exc
    except (apsw.CorruptError, apsw.NotADBError) as exc:
        raise FatalError("a file of the operational store is damaged: see docs/runbook.md, A damaged file") from exc


def _copy_store(source: Path, target: Path) -> None:
    """A snapshot of a SQLite file, which others go on writing meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    with closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)) as con:
        con.set_busy_timeout(int(_BUSY_SECONDS * 1000))
        con.execute("VACUUM INTO ?", (str(target),))


def _copy_files(source: Path, target: Path) -> None:
    for file in sorted(source.glob("*")):
        if file.is_file() and file.suffix != ".back":
            target.mkdir(parents=True, exist_ok=True)
            try:
                copy_file(file, target / file.name)
            except FileNotFoundError:  # taken into the warehouse just now
                (target / file.name).unlink(missing_ok=True)


def _copy_warehouse(source: Location, target: Path) -> int:
    """Copy a warehouse between two steps of its run; gives its rows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        interrupt.check()
        try:
            with held_still(source):
                if not isinstance(source, Path):
                    copy_out(source, target)
                    break
                copy_with_log(source, target)
                break
        except RetryableError:
            if time.monotonic() > give_up_at:
                raise RetryableError(f"the warehouse {source.name} is kept open by a run: back up later") from None
            time.sleep(_POLL_SECONDS)
    return read_through(target, source)


def read_through(file: Path, named: Location) -> int:
    """The rows of a warehouse, each of them read: a damaged block shows here and not when the backup is needed.

    What lies in the log beside the file is taken into it. `FatalError` of a file that can't be read; it names `named`.
    """
    try:
        with closing(duckdb.connect(file, config=dict(SETTINGS))) as con:
            con.execute("SET enable_progress_bar = false; CHECKPOINT")
            tables = con.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT temporary AND NOT internal"
            ).fetchall()
            rows = 0
            for schema, table in tables:
                query = f"SELECT count(*), bit_xor(hash(t)) FROM {quoted(schema)}.{quoted(table)} t"
                rows += int(con.execute(query).fetchall()[0][0])
    except (duckdb.Error, RuntimeError) as exc:
        raise _damaged(named) from exc
    return rows


def _damaged(file: Location) -> FatalError:
    return FatalError(f"the warehouse {file.name} is damaged or of a newer DuckDB: see docs/runbook.md, A damaged file")


def _copy_contracts(source: Path, target: Path) -> None:
    for file in sorted(source.rglob("*.yaml")):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_file(file, copy)
