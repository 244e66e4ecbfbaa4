"""Opening a tenant's warehouse: one writer at a time, waited for, and closed whatever happens.

Nobody holds a connection while talking to the network, so waits are short and openings many. To start DuckDB takes 25 ms,
to attach a file to one that runs 2 ms: a process keeps the engine of each file with the settings that it had last, without
the file. One that is no file of this machine's stays attached, and only the right to write it is given back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import duckdb

from lms_crm_assets.errors import FatalError, RetryableError, UnreachableError
from lms_crm_assets.warehouse.busy import busy
from lms_crm_assets.warehouse.location import Location
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
_Taken = TypeVar("_Taken")
# How DuckDB says that a file is none of its own, or not whole any more.
_DAMAGED = ("not a valid DuckDB database", "orrupt", "checksum", "Serialization Error", "newer version of DuckDB")
_MOST_ENGINES = 4


@dataclass
class _Engine:
    """A running DuckDB; `users` counts the connections to the attached file, which are of one thread.

    A warehouse that is no file stays attached, for as long as it is the one that was `attached`; `held` gives back the
    right to write it.
    """

    settings: dict[str, str]
    base: duckdb.DuckDBPyConnection
    users: int = 0
    attached: tuple[int, int] | None = None
    held: Callable[[], None] | None = None


@dataclass
class _File:
    """Threads of one process take turns: while one closes the file another can't open it.

    `made` is the file, as the disk knows it, or the lake whose schemas this process made already.
    """

    turn: threading.RLock = field(default_factory=threading.RLock)
    engine: _Engine | None = None
    made: tuple[int, int] | None = None


_files: dict[Location, _File] = {}
_looking = threading.Lock()


@contextmanager
def connect(location: Location, settings: dict[str, str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the warehouse at `location`, with its schemas made.

    Waits up to two minutes for another process to close it; `RetryableError` after that.
    """
    is_file = isinstance(location, Path)
    scratch = location.with_suffix(".tmp") if isinstance(location, Path) else location.scratch
    scratch.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = _file(location)
    with file.turn:
        engine = _engine(file, {**SETTINGS, "temp_directory": str(scratch), **(settings or {})})
        if not engine.users:
            if is_file and not location.exists():
                file.made = None
            _open(engine, location)
        engine.users += 1
        con = engine.base.cursor()
        try:
            con.execute(f"USE {_catalog(location)}; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            _make_schemas(con, file, location, engine.attached)
            yield con
        except duckdb.OutOfMemoryException as exc:
            limit = engine.base.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
            raise FatalError(
                f"the warehouse {location.name} needs more than {limit} of memory for this; nothing of it was changed"
            ) from exc
        finally:
            con.close()
            engine.users -= 1
            if not engine.users:
                _close(file, engine)


@contextmanager
def held_still(location: Location) -> Iterator[None]:
    """Keep everybody from writing the warehouse at `location` while the block runs.

    `RetryableError` at once while somebody has it open.
    """
    turn = _file(location).turn
    if not turn.acquire(blocking=False):
        raise busy(location.name)
    try:
        if isinstance(location, Path):
            with duckdb.connect(config=dict(SETTINGS)) as con:
                _attach_now(con, location, "(READ_ONLY)")
                yield
        else:
            give_back = location.hold()
            try:
                yield
            finally:
                give_back()
    finally:
        turn.release()


@contextmanager
def held_patiently(location: Location) -> Iterator[None]:
    """The same, waiting for whoever has it open as `connect` does."""
    with ExitStack() as stack:
        _patiently(location, lambda: stack.enter_context(held_still(location)))
        yield


@contextmanager
def taken_alone(path: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """An engine of its own with the warehouse at `path` attached, and that catalog's name, for work on the file itself.

    Waits for whoever has it open as `connect` does; the block may detach it. `FatalError` where this thread has it open.
    """
    file = _file(path)
    with file.turn:
        if file.engine is not None and file.engine.users:
            raise FatalError("a warehouse that is open can't be taken alone")
        with duckdb.connect(config={**SETTINGS, "temp_directory": str(path.with_suffix(".tmp"))}) as con:
            _patiently(path, lambda: _attach_now(con, path))
            yield con, _CATALOG


def _file(location: Location) -> _File:
    """The warehouse's state in this process; engines that nobody used for longest are stopped."""
    known = location.resolve() if isinstance(location, Path) else location
    with _looking:
        file = _files.pop(known, None) or _File()
        _files[known] = file
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
        base = duckdb.connect(":memory:", config=dict(settings))
        # On a slow disk even closing a file takes so long that DuckDB would draw one on the terminal.
        base.execute("SET enable_progress_bar = false")
        engine = file.engine = _Engine(settings, base)
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
            raise busy(path.name) from exc
        if any(mark in str(exc) for mark in _DAMAGED):
            raise FatalError(
                f"the warehouse {path.name} is damaged, or of a newer DuckDB: see docs/runbook.md, A damaged file"
            ) from exc
        raise


def _catalog(location: Location) -> str:
    return _CATALOG if isinstance(location, Path) else location.catalog


def _open(engine: _Engine, location: Location) -> None:
    """Have the engine alone write the warehouse."""
    if isinstance(location, Path):
        file = location
        _patiently(file, lambda: _attach_now(engine.base, file))
        return
    engine.held = _patiently(location, location.hold)
    try:
        if engine.attached != location.identity():
            if engine.attached is not None:
                engine.base.execute(f"DETACH {location.catalog}")
                engine.attached = None
            location.attach(engine.base)
            engine.attached = location.identity()
    except BaseException:
        engine.held()
        raise


def _patiently(location: Location, take: Callable[[], _Taken]) -> _Taken:
    give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            return take()
        except UnreachableError:
            raise
        except RetryableError as exc:
            if time.monotonic() > give_up_at:
                raise RetryableError(
                    f"the warehouse {location.name} stays locked by another process; close what has it open and run again"
                ) from exc
            time.sleep(_LOCK_POLL_SECONDS)


def _make_schemas(
    con: duckdb.DuckDBPyConnection, file: _File, location: Location, attached: tuple[int, int] | None
) -> None:
    text = sql_file("lms_crm_assets.warehouse", "schema.sql")
    if isinstance(location, Path):
        found = location.stat()
        this = (found.st_dev, found.st_ino)
        if file.made != this:
            con.execute(text)
            file.made = this
    elif file.made != attached:
        if not location.is_made(text):
            # In one transaction: each is a round trip or more, and forty of them take seconds.
            with transaction(con):
                con.execute(text)
            location.note_made(text)
        file.made = attached


def _close(file: _File, engine: _Engine) -> None:
    """Close the file, or let others write; an engine that can't close its file is stopped, which does."""
    if engine.held is not None:
        engine.held()
        engine.held = None
        return
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
