"""Opening a tenant's DuckDB file: one writer at a time, waited for, and closed whatever happens.

Nobody holds a connection while talking to the network, so waits are short and openings many. To start DuckDB takes 25 ms,
to attach a file to one that runs 2 ms: a process keeps the engine of each file with the settings that it had last, without
the file.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.warehouse.sql import literal, sql_file

LOCK_PATIENCE_SECONDS = 120.0
_LOCK_POLL_SECONDS = 0.1
SETTINGS: dict[str, str] = {
    # Extensions come from the network, which a production machine need not have.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "false",
    "memory_limit": "320MB",
    "threads": "2",
}

NEW_FILE = "(STORAGE_VERSION 'v1.2.0')"
"""How a file is attached that isn't there yet: so that it may hold what zstd has packed. DuckDB 1.2 and later read it."""

_CATALOG = "warehouse"
# How DuckDB says that a file is none of its own, or not whole any more.
_DAMAGED = ("not a valid DuckDB database", "orrupt", "checksum", "Serialization Error", "newer version of DuckDB")
_MOST_ENGINES = 4


@dataclass
class _Engine:
    """A running DuckDB; `users` counts the connections to the attached file, which are of one thread."""

    settings: dict[str, str]
    base: duckdb.DuckDBPyConnection
    users: int = 0


@dataclass
class _File:
    """Threads of one process take turns: while one closes the file another can't open it.

    `made` is the file, as the disk knows it, whose schemas this process made already.
    """

    turn: threading.RLock = field(default_factory=threading.RLock)
    engine: _Engine | None = None
    made: tuple[int, int] | None = None


_files: dict[Path, _File] = {}
_looking = threading.Lock()


@contextmanager
def connect(path: Path, settings: dict[str, str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the warehouse at `path`, with its schemas made.

    Waits up to two minutes for another process to close the file; `RetryableError` after that.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = _file(path.resolve())
    with file.turn:
        engine = _engine(file, {**SETTINGS, "temp_directory": str(path.with_suffix(".tmp")), **(settings or {})})
        if not engine.users:
            if not path.exists():
                file.made = None
            _attach(engine.base, path)
        engine.users += 1
        con = engine.base.cursor()
        try:
            con.execute(f"USE {_CATALOG}; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            _make_schemas(con, file, path)
            yield con
        except duckdb.OutOfMemoryException as exc:
            limit = engine.base.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
            raise FatalError(
                f"the warehouse {path.name} needs more than {limit} of memory for this; nothing of it was changed"
            ) from exc
        finally:
            con.close()
            engine.users -= 1
            if not engine.users:
                _detach(file, engine)


@contextmanager
def held_still(path: Path) -> Iterator[None]:
    """Keep everybody from writing the warehouse at `path` while the block runs.

    `RetryableError` at once while somebody has it open.
    """
    turn = _file(path.resolve()).turn
    if not turn.acquire(blocking=False):
        raise _busy(path)
    try:
        with duckdb.connect(config=dict(SETTINGS)) as con:
            _attach_now(con, path, "(READ_ONLY)")
            yield
    finally:
        turn.release()


@contextmanager
def taken_alone(path: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """An engine of its own with the warehouse at `path` attached, and that catalog's name, for work on the file itself.

    Waits for whoever has it open as `connect` does; the block may detach it. `FatalError` where this thread has it open.
    """
    file = _file(path.resolve())
    with file.turn:
        if file.engine is not None and file.engine.users:
            raise FatalError("a warehouse that is open can't be taken alone")
        with duckdb.connect(config={**SETTINGS, "temp_directory": str(path.with_suffix(".tmp"))}) as con:
            _attach(con, path)
            yield con, _CATALOG


def _file(path: Path) -> _File:
    """The file's state in this process; engines that nobody used for longest are stopped."""
    with _looking:
        file = _files.pop(path, None) or _File()
        _files[path] = file
        for other in list(_files.values())[:-_MOST_ENGINES]:
            if other.turn.acquire(blocking=False):
                try:
                    if other.engine is not None and not other.engine.users:
                        other.engine.base.close()
                        other.engine = None
                finally:
                    other.turn.release()
        return file


def _engine(file: _File, settings: dict[str, str]) -> _Engine:
    """The file's engine; a new one where other settings are asked for."""
    engine = file.engine
    if engine is not None and engine.settings != settings:
        if engine.users:
            raise FatalError("a warehouse that is open can't be opened with other settings")
        engine.base.close()
        engine = None
    if engine is None:
        engine = file.engine = _Engine(settings, duckdb.connect(":memory:", config=dict(settings)))
    return engine


def _attach_now(con: duckdb.DuckDBPyConnection, path: Path, how: str = "") -> None:
    """`RetryableError` while another process has the file open, `FatalError` of one that is damaged."""
    if not how and not path.exists():
        how = NEW_FILE
    try:
        con.execute(f"ATTACH {literal(str(path))} AS {_CATALOG} {how}")
    except duckdb.Error as exc:
        # "block" of a damaged file holds the word too.
        if "set lock on file" in str(exc):
            raise _busy(path) from exc
        if any(mark in str(exc) for mark in _DAMAGED):
            raise FatalError(
                f"the warehouse {path.name} is damaged, or of a newer DuckDB: see docs/runbook.md, A damaged file"
            ) from exc
        raise


def _busy(path: Path) -> RetryableError:
    return RetryableError(f"the warehouse {path.name} is open in a run", retry_after_seconds=5.0)


def _attach(base: duckdb.DuckDBPyConnection, path: Path) -> None:
    give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            _attach_now(base, path)
        except RetryableError as exc:
            if time.monotonic() > give_up_at:
                raise RetryableError(
                    f"the warehouse {path.name} stays locked by another process; close what has it open and run again"
                ) from exc
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return


def _make_schemas(con: duckdb.DuckDBPyConnection, file: _File, path: Path) -> None:
    found = path.stat()
    this = (found.st_dev, found.st_ino)
    if file.made != this:
        con.execute(sql_file("lms_crm_assets.warehouse", "schema.sql"))
        file.made = this


def _detach(file: _File, engine: _Engine) -> None:
    """Close the file; an engine that can't do so is stopped, which closes it too."""
    try:
        engine.base.execute(f"DETACH {_CATALOG}")
    except duckdb.Error:
        engine.base.close()
        file.engine = None


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of it or nothing of it."""
    con.execute("BEGIN")
    try:
        yield
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")
