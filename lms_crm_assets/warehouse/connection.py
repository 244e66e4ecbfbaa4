"""Opening a tenant's DuckDB file: one writer at a time, waited for, and closed whatever happens.

Nobody holds a connection while talking to the network, so waits are short.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.warehouse.sql import sql_file

LOCK_PATIENCE_SECONDS = 120.0
_LOCK_POLL_SECONDS = 0.1
_SETTINGS: dict[str, str] = {
    # Extensions come from the network, which a production machine need not have.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "false",
    "memory_limit": "320MB",
    "threads": "2",
}

# Threads of one process take turns: while one closes the file another can't open it.
_turns: defaultdict[Path, threading.RLock] = defaultdict(threading.RLock)


@contextmanager
def connect(path: Path, settings: dict[str, str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the warehouse at `path`, with its schemas made.

    Waits up to two minutes for another process to close the file; `RetryableError` after that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _turns[path.resolve()]:
        con = _open(path, {**_SETTINGS, "temp_directory": str(path.with_suffix(".tmp")), **(settings or {})})
        try:
            con.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            con.execute(sql_file("lms_crm_assets.warehouse", "schema.sql"))
            yield con
        except duckdb.OutOfMemoryException as exc:
            limit = con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
            raise FatalError(
                f"the warehouse {path.name} needs more than {limit} of memory for this; nothing of it was changed"
            ) from exc
        finally:
            con.close()


def _open(path: Path, settings: dict[str, str]) -> duckdb.DuckDBPyConnection:
    give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            return duckdb.connect(path, config=dict(settings))
        except duckdb.IOException as exc:
            if "lock" not in str(exc):
                raise
            if time.monotonic() > give_up_at:
                raise RetryableError(
                    f"the warehouse {path.name} stays locked by another process; close what has it open and run again"
                ) from exc
            time.sleep(_LOCK_POLL_SECONDS)


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
