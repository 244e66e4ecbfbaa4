"""Reading a tenant's warehouse without a run waiting: from its published copy, see `publishing`.

Each run leaves a copy of what it did. Readers of ours ask for the newest state: where the warehouse was written since, by a
run that was killed say, they make the copy themselves.

A warehouse that is no file needs none: whoever reads it holds nobody off, and sees one state of it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import duckdb

from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import SETTINGS
from lms_crm_assets.warehouse.location import Location, Remote, locate
from lms_crm_assets.warehouse.publishing import FOLDER, Shelf, stamp_of

# A copy takes the file from the runs: at most a tenth of the time, and not for every request.
_LEAST_AGE_SECONDS = 1.0
_SHARE = 10
_FIRST_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_MOST_OPEN = 32


@dataclass
class _Tenant:
    """One tenant's copy as this process has it open."""

    copying: threading.Lock = field(default_factory=threading.Lock)
    file: Path | None = None
    con: duckdb.DuckDBPyConnection | None = None
    not_before: float = 0.0
    identity: tuple[int, int] | None = None


class Published:
    """The copies of all tenants' warehouses, which lie where `locate` says; for several threads."""

    def __init__(self, locate: Callable[[str], Location], folder: Path) -> None:
        self._locate = locate
        self._folder = folder
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._lock = threading.Lock()

    def connection(self, tenant: str) -> duckdb.DuckDBPyConnection | None:
        """A connection of the caller's own to the newest copy, to be closed; None while there is no warehouse.

        `RetryableError` when there is no copy yet and a run holds the warehouse.
        """
        source = self._locate(tenant)
        known = self._known(tenant)
        if not isinstance(source, Path):
            return self._direct(source, known)
        shelf = Shelf(self._folder, tenant)
        newest = shelf.newest()
        stamp = stamp_of(source)
        if stamp is not None and (newest is None or newest.stem != stamp):
            newest = self._copied(source, shelf, known, newest)
        if newest is None:
            return None
        with self._lock:
            if known.con is None or known.file != newest:
                try:
                    opened = _opened(newest)
                except duckdb.IOException:
                    # Another process replaced it just now.
                    newest = shelf.newest() or newest
                    opened = _opened(newest)
                known.con, known.file = opened, newest
            return known.con.cursor()

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for known in self._tenants.values():
                if known.con is not None:
                    known.con.close()
            self._tenants.clear()

    def _direct(self, source: Remote, known: _Tenant) -> duckdb.DuckDBPyConnection | None:
        """A connection to the warehouse itself, which sees it as it is now until it is closed."""
        if not source.exists():
            return None
        with self._lock:
            identity = source.identity()
            if known.con is None or known.identity != identity:
                known.con, known.identity = duckdb.connect(config=dict(SETTINGS)), identity
                known.con.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
                source.attach(known.con, read_only=True)
            reader = known.con.cursor()
        reader.execute(f"USE {source.catalog}; BEGIN")
        return reader

    def _known(self, tenant: str) -> _Tenant:
        with self._lock:
            known = self._tenants.setdefault(tenant, _Tenant())
            self._tenants.move_to_end(tenant)
            for other in list(self._tenants)[:-_MOST_OPEN]:
                # Cursors that are in use keep theirs open.
                del self._tenants[other]
            return known

    def _copied(self, source: Path, shelf: Shelf, known: _Tenant, newest: Path | None) -> Path:
        """A copy of the present state; the newest one there is while that can't be had."""
        if newest is not None and (time.monotonic() < known.not_before or not known.copying.acquire(blocking=False)):
            return newest
        if newest is None:
            known.copying.acquire()
        try:
            give_up_at = time.monotonic() + _FIRST_PATIENCE_SECONDS
            while True:
                began = time.monotonic()
                try:
                    return shelf.put(source)
                except RetryableError:
                    if newest is not None:
                        return newest
                    if time.monotonic() > give_up_at:
                        raise
                finally:
                    now = time.monotonic()
                    known.not_before = now + max(_LEAST_AGE_SECONDS, _SHARE * (now - began))
                time.sleep(_POLL_SECONDS)
        finally:
            known.copying.release()


@contextmanager
def reading(settings: Settings, tenant: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The newest copy of a tenant's warehouse, for one command or one call.

    `FatalError` when the tenant was never reconciled, `RetryableError` when there is no copy yet and a run holds the file.
    """
    copies = Published(partial(locate, settings), settings.state_dir / FOLDER)
    try:
        try:
            con = copies.connection(tenant)
        except (duckdb.IOException, OSError) as exc:
            raise RetryableError(f"the copy of {tenant}'s warehouse can't be read now") from exc
        if con is None:
            raise FatalError(
                f"{tenant} was never reconciled: there is no {locate(settings, tenant)}; lms-crm reconcile --tenant {tenant} makes it"
            )
        with closing(con):
            yield con
    finally:
        copies.close()


def _opened(file: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(file, read_only=True, config=dict(SETTINGS))
    con.execute("SET TimeZone = 'UTC'")
    return con
