"""The operational store: small state that several processes of one machine share, in SQLite.

Owns the file `ops.sqlite` in the state folder: `pace` and `turns` (`pace`), `breakers` (`breaker`), `quotas` (`quota`),
`credentials` (`vault`), `described` (`crm.salesforce.describe`). Through apsw, since the SQLite that Python comes with may lack the fix of a corruption that needs
several connections (facts: reliability).
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from lms_crm_assets.errors import RetryableError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pace (
    name TEXT PRIMARY KEY, told INTEGER, level REAL, level_at REAL, cut_at REAL, not_before REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (name TEXT, at REAL);
CREATE INDEX IF NOT EXISTS turns_by_name ON turns (name, at);
CREATE TABLE IF NOT EXISTS breakers (
    name TEXT PRIMARY KEY, failures INTEGER, opened_at REAL, closed_until REAL, pause REAL, probing_until REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quotas (name TEXT PRIMARY KEY, used INTEGER, allowed INTEGER, told_at REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credentials (
    tenant TEXT, kind TEXT, sealed BLOB, saved_at REAL, PRIMARY KEY (tenant, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS described (
    name TEXT, object TEXT, modified TEXT, body BLOB, PRIMARY KEY (name, object)
);
"""
_BUSY_SECONDS = 30.0

Run = Callable[..., list[tuple[Any, ...]]]
"""Runs SQL with its values, and gives the rows."""

_stores: dict[Path, "OperationalStore"] = {}
_opening = threading.Lock()


class OperationalStore:
    """One process's connection to the store; its methods may be called from several threads.

    `clock` gives seconds since 1970: the processes have no other clock in common that a restart leaves alone.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clock = clock
        self._lock = threading.Lock()
        file = folder / "ops.sqlite"
        # Credentials lie in it, sealed; nobody else needs to read even that.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = apsw.Connection(str(file))
        self._db.set_busy_timeout(int(_BUSY_SECONDS * 1000))
        self._db.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the newest turns with it, which is harmless; `durable` is for what must not be lost.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(_SCHEMA)

    @classmethod
    def at(cls, state_dir: Path) -> "OperationalStore":
        """The process's one connection to the store of a state folder."""
        key = state_dir.resolve()
        with _opening:
            if key not in _stores:
                _stores[key] = cls(key)
            return _stores[key]

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Run]:
        """A transaction that no other process writes beside; gives a function that runs SQL and returns the rows.

        With `durable` it is on the disk when the block ends.
        """
        with self._lock:
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except apsw.BusyError as exc:
                raise RetryableError(f"{self.folder / 'ops.sqlite'} stays locked by another process") from exc
            try:
                yield self._run
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock:
            return self._run(sql, values)

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._db.execute(sql, tuple(values)))

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._db.close()
