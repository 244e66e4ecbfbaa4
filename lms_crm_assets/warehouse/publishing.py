"""Making the published copy of a tenant's warehouse: one file that never changes, replaced by a newer one.

Owns the folder `published` of the state folder. There `<tenant>.duckdb` is the path that stays, for people and their tools;
whoever still reads the former file goes on with it. The same file (a link, not a second one) has a name of its state's own
in `<tenant>/`: DuckDB takes two opens of one path in a process for one file, and our own readers open the next copy while
they are at the last.

The bytes are copied, in a hundredth of the time that it takes to copy tables (46 MB in 0.02 s, the million rows in them in
5 s), and where the file system shares blocks (XFS, btrfs) in no time. Of a large warehouse that is still no work for each
run: copies are made at `BYTES_A_SECOND` on average, however many runs there are.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import structlog

from lms_crm_assets.errors import LmsCrmError, RetryableError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.busy import busy
from lms_crm_assets.warehouse.connection import SETTINGS, held_still
from lms_crm_assets.warehouse.copying import copy_with_log, log_of
from lms_crm_assets.warehouse.location import locate
from lms_crm_assets.warehouse.sql import sql_file
from lms_crm_assets.withholding import discreet

_log = structlog.get_logger(__name__)

FOLDER = "published"
BYTES_A_SECOND = 20_000_000
"""A file of 6 GB is copied every five minutes at most, one of 100 MB every five seconds."""

# What is at the warehouse is a step of the other lane, or a receiver's copying.
_PATIENCE_SECONDS = 1.0
_POLL_SECONDS = 0.05
# What a killed process left half made.
_ABANDONED_SECONDS = 600.0


def copy_path(state_dir: Path, tenant: str) -> Path:
    """Where people and their tools find the tenant's copy."""
    return state_dir / FOLDER / f"{tenant}.duckdb"


def publish(settings: Settings, tenant: str, *, at_once: bool = False) -> bool:
    """Have the tenant's copy hold what its warehouse does now; gives whether one was made.

    None is made of an unchanged warehouse, nor, unless `at_once`, of a large one whose copy is young, nor while somebody else
    has the warehouse for longer than a second: the next run makes it. Of a warehouse that is no file there are none. What goes
    wrong is logged and no more: whoever calls has done its work.
    """
    try:
        source, shelf = locate(settings, tenant), Shelf(settings.state_dir / FOLDER, tenant)
        if not isinstance(source, Path):
            shelf.clear()
            return False
        if (stamp := stamp_of(source)) is None or shelf.holds(stamp):
            return False
        if not at_once and not shelf.is_due(source.stat().st_size):
            return False
        _put_patiently(shelf, source)
    except RetryableError:
        return False
    except (LmsCrmError, OSError, duckdb.Error) as exc:
        _log.warning("copy_not_made", error=type(exc).__name__, exc_info=discreet(exc))
        return False
    return True


def _put_patiently(shelf: "Shelf", source: Path) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            shelf.put(source)
        except RetryableError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def stamp_of(source: Path) -> str | None:
    """What tells one state of the warehouse from the next; None when there is none."""
    try:
        found = source.stat()
    except OSError:
        return None
    try:
        ahead = log_of(source).stat().st_mtime_ns
    except OSError:
        ahead = 0
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{ahead:x}"


class Shelf:
    """Where one tenant's copy lies, under both of its names."""

    def __init__(self, folder: Path, tenant: str) -> None:
        self._stable = folder / f"{tenant}.duckdb"
        self._folder = folder / tenant

    def newest(self) -> Path | None:
        """The newest copy, under the name of its state."""
        return max(self._folder.glob("*.duckdb"), key=_made_at, default=None)

    def holds(self, stamp: str) -> bool:
        """Whether both names are there of the copy of that state."""
        newest = self.newest()
        try:
            # Whoever was killed between the two renames left the former copy under the name that stays.
            return newest is not None and newest.stem == stamp and newest.samefile(self._stable)
        except OSError:
            return False

    def is_due(self, size: int) -> bool:
        """Whether a copy of so many bytes may be made again."""
        newest = self.newest()
        age = time.time() - _made_at(newest) / 1e9 if newest is not None else None
        # The clock may have been set back.
        return age is None or age < 0 or age * BYTES_A_SECOND >= size

    def put(self, source: Path) -> Path:
        """Copy the warehouse as it is now, and put it in the former copy's place; gives it under the name of its state.

        `RetryableError` at once while somebody has the warehouse open, or copies it.
        """
        # Learner data: for nobody else to read.
        self._stable.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.mkdir(exist_ok=True, mode=0o700)
        half = self._folder / f"{secrets.token_hex(8)}.half"
        linked = half.with_suffix(".half-link")
        with self._alone():
            try:
                with held_still(source):
                    made = self._folder / f"{stamp_of(source)}.duckdb"
                    copy_with_log(source, half)
                _add_views(half)
                # A tool that opened it to write would keep our own readers out.
                half.chmod(0o400)
                os.link(half, linked)
                half.replace(made)
                linked.replace(self._stable)
            finally:
                for left in (half, linked, log_of(half)):
                    left.unlink(missing_ok=True)
            self._tidy(made)
        return made

    def clear(self) -> None:
        """Take the copy away, once one that is being made is done; whoever has it open goes on with it."""
        if not self._folder.is_dir():
            self._stable.unlink(missing_ok=True)
            return
        with self._alone(waits=True):
            self._stable.unlink(missing_ok=True)
            for file in self._folder.glob("*"):
                file.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, *, waits: bool = False) -> Iterator[None]:
        """Two that copy at once could put the older state in the newer one's place; a half that is taken away DuckDB makes anew."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            except BlockingIOError as exc:
                raise busy(self._stable.name) from exc
            yield
        finally:
            os.close(descriptor)

    def _tidy(self, made: Path) -> None:
        for file in self._folder.iterdir():
            is_abandoned = time.time() - _made_at(file) / 1e9 > _ABANDONED_SECONDS
            if file != made and (file.suffix == ".duckdb" or is_abandoned):
                file.unlink(missing_ok=True)


def _add_views(file: Path) -> None:
    """Plain names for readers; what the log holds comes into the file on the way."""
    with closing(duckdb.connect(file, config=dict(SETTINGS))) as con:
        blocks = sql_file("lms_crm_assets.warehouse", "published.sql").strip().split("\n\n")
        con.execute("BEGIN; " + "\n".join(block for block in blocks if _can_stand(con, block)) + "COMMIT")


def _can_stand(con: duckdb.DuckDBPyConnection, block: str) -> bool:
    """Not where a table is missing that no run has made yet, or a column that one of an older version lacks."""
    view, *_ = con.extract_statements(block)
    try:
        con.execute(f"EXPLAIN {view.query}")
    except (duckdb.CatalogException, duckdb.BinderException):
        return False
    return True


def _made_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # another process replaced it just now
        return 0
