"""The operational store in a SQLite file: for all processes of one machine.

Through apsw, since the SQLite that Python comes with may lack the fix of a corruption that needs several connections
(facts: reliability).
"""

import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from lms_crm_assets import interrupt
from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.ops.database import Run, Schema, build, built

_BUSY_SECONDS = 30.0
_POLL_SECONDS = 0.1


_making = threading.Lock()


def _make(file: Path) -> None:
    """Make the file where there is none. Credentials lie in it, sealed; nobody else needs to read even that.

    One that is there is not opened beside SQLite: to close it again would drop the locks that other connections of this
    process have on it.
    """
    with _making:
        if not file.exists():
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        elif file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        elif not os.access(file, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))


class Sqlite:
    """The file of one schema in `folder`, and one connection to it."""

    clock_ahead_seconds = 0.0

    def __init__(self, folder: Path, schema: Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._file = folder / f"{schema.name}.sqlite"
        _make(self._file)
        self._db = apsw.Connection(str(self._file))
        self._db.set_busy_timeout(int(_BUSY_SECONDS * 1000))
        try:
            self._write_ahead()
            # A power cut may take the newest turns with it, which is harmless; `durable` is for what must not be lost.
            self._db.execute("PRAGMA synchronous = NORMAL")
            if not built(self._run, schema, self._columns, str(self._file)):
                with self.transaction(on=None, durable=True) as run:
                    build(run, schema, self._columns, str(self._file))
        except (apsw.NotADBError, apsw.CorruptError) as exc:
            self.close()
            raise FatalError(f"{self._file} is damaged: see docs/runbook.md, A damaged file") from exc
        except BaseException:
            self.close()
            raise

    def _write_ahead(self) -> None:
        """Have SQLite keep a log; of those that turn a new file to it at once, all but one are refused without a wait."""
        give_up_at = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except apsw.BusyError as exc:
                if time.monotonic() > give_up_at:
                    raise RetryableError(f"{self._file} stays locked by another process") from exc
                interrupt.check()
                time.sleep(_POLL_SECONDS / 10)
            else:
                return

    @contextmanager
    def transaction(self, *, on: str | None, durable: bool) -> Iterator[Run]:
        """One at a time, of all that write this file, whatever they write `on`."""
        del on
        with self._lock:
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._run
                self._db.execute("COMMIT")
            except apsw.BusyError as exc:
                raise RetryableError(f"{self._file} stays locked by another process") from exc
            except (apsw.FullError, apsw.IOError) as exc:
                raise RetryableError(f"{self._file} can't be written ({exc}): is its disk full?") from exc
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    def read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock:
            return self._run(sql, values)

    @contextmanager
    def lock(self, name: str) -> Iterator[Callable[[], bool]]:
        """A lock of a file beside it: each opened file has one of its own, so threads wait for each other as processes do."""
        file = self._folder / "locks" / re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as opened:

            def take() -> bool:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            yield take

    def scrub(self) -> None:
        """Write the file anew without its free pages, and empty its log."""
        give_up_at = time.monotonic() + _BUSY_SECONDS
        with self._lock:
            try:
                self._db.execute("VACUUM")
                while self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                    if time.monotonic() > give_up_at:
                        raise RetryableError(f"{self._file} stays in use by another process: its log can't be emptied")
                    time.sleep(_POLL_SECONDS)
            except apsw.BusyError as exc:
                raise RetryableError(f"{self._file} stays locked by another process") from exc

    def _columns(self, table: str) -> set[str]:
        return {column for (column,) in self._run("SELECT name FROM pragma_table_info(?)", (table,))}

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return list(self._db.execute(sql, tuple(values)))

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._db.close()
