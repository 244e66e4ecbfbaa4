"""Who has a state folder's files open: what is replaced under a running process is lost, or worse, half of it."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import duckdb

from lms_crm_assets.backup.places import Places
from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.ops.lanes import Lane, is_taken
from lms_crm_assets.warehouse.connection import held_still
from lms_crm_assets.warehouse.location import Location


def users(places: Places, tenants: Iterable[str], stores: Iterable[Path]) -> Iterator[str]:
    """What is in use, in plain words. A file that is damaged is in nobody's use."""
    for tenant in tenants:
        if any(is_taken(places.locks(tenant), lane) for lane in Lane):
            yield f"a run of {tenant} is under way"
        elif _warehouse_is_open(places.warehouse(tenant)):
            yield f"{tenant}'s warehouse is open"
    for store in stores:
        if _store_is_open(store):
            yield f"a receiver, worker, Dagster or a command has {store.name} open"


def _warehouse_is_open(warehouse: Location) -> bool:
    if not warehouse.exists():
        return False
    try:
        with held_still(warehouse):
            return False
    except RetryableError:
        return True
    except (duckdb.Error, FatalError):
        return False


def _store_is_open(file: Path) -> bool:
    """Each connection in WAL mode shares a lock on the file, without which the mode can be left."""
    try:
        with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)) as con:
            return con.execute("PRAGMA journal_mode = DELETE").fetchall() != [("delete",)]
    except apsw.BusyError:
        return True
    except apsw.Error:
        return False
