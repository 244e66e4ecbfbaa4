"""Taking away what was kept for as long as the contract says.

A warehouse's file keeps its size, for DuckDB reuses the room, until a fifth of a large one is worn: then it is written anew, as
`lms-crm forget` does always. Of a DuckLake the history goes
that is older than a day.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from lms_crm_assets.contract.models import Contract, MoodleSource
from lms_crm_assets.delta.plan import drop_plans
from lms_crm_assets.discovery.crm_schema import drop_days
from lms_crm_assets.discovery.lms_shape import drop_shapes
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.answers import API, purge_answers
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.privacy.files import purge_files, purge_set_aside
from lms_crm_assets.report.history import drop_facts
from lms_crm_assets.settings import Settings
from lms_crm_assets.sync.journal import drop_older
from lms_crm_assets.warehouse.connection import connect, held_still
from lms_crm_assets.warehouse.copying import copy_with_log
from lms_crm_assets.warehouse.copying_out import copy_out
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.location import Location, locate
from lms_crm_assets.warehouse.publishing import publish
from lms_crm_assets.warehouse.rewriting import rewrite_if_worn
from lms_crm_assets.warehouse.sql import scalar, table_exists
from lms_crm_assets.warehouse.upkeep import tidy

# What lies beside the warehouses is of a run; a day later nobody wants it.
_FILES_SECONDS = 86_400.0
_OTHERS_DAYS = 30
_MIB = 1024 * 1024

# In Moodle a deleted rating hides older ones of the same learner, for as long as that one is there.
_STILL_HIDING = (
    " AND NOT coalesce((payload->>'userid') IN (SELECT source_id FROM raw_lms.learners WHERE NOT is_deleted), false)"
    " AND NOT coalesce((payload->>'$.columns[{place}]') IN"
    " (SELECT payload->>'username' FROM raw_lms.learners WHERE NOT is_deleted), false)"
)

_WATCHED = ("delta.plans", "delta.plan_rows", "sync.outcomes", "sync.ledger_history", "staging.invalid_days")
_DISCOVERED = ("discovery.crm_schema", "discovery.lms_shape")


def purge_tenant(settings: Settings, contract: Contract, now: datetime, *, dry_run: bool = False) -> dict[str, int]:
    """Purge one tenant's warehouse, deliveries and files; gives how much of what went, or would go.

    `RetryableError` while a run holds the warehouse for long.
    """
    counts: dict[str, int] = {}
    warehouse = locate(settings, contract.tenant)
    if warehouse.exists():
        with (
            _subject(warehouse, settings.state_dir / "landing" / contract.tenant, dry_run=dry_run) as file,
            connect(file) as con,
        ):
            counts = _purge_rows(con, contract, now)
            if isinstance(file, Lake):
                tidy(con, file)
        if not dry_run and isinstance(warehouse, Path):
            counts["MiB of worn space in the warehouse"] = rewrite_if_worn(warehouse) // _MIB
    oldest = (now - timedelta(days=contract.retention.inbox_days)).timestamp()
    if contract.has_inbox and (inbox := _inbox(settings)) is not None:
        counts["deliveries"] = inbox.purge_of(contract.tenant, oldest, dry_run=dry_run)
    kept_since = now - timedelta(days=contract.retention_days)
    store = OperationalStore.at(settings.state_dir)
    counts["facts of runs"] = drop_facts(store, contract.tenant, kept_since, dry_run=dry_run)
    ages = time.time() - _FILES_SECONDS, kept_since.timestamp()
    for purpose, number in purge_files(settings.state_dir, contract.tenant, *ages, dry_run=dry_run).items():
        counts[f"files of {purpose}"] = number
    if not dry_run:
        publish(settings, contract.tenant, at_once=True)
    return counts


def purge_shared(settings: Settings, contracts: Collection[Contract], *, dry_run: bool = False) -> dict[str, int]:
    """Purge what all tenants share: the connector API's kept answers, deliveries of tenants that are no more, former states."""
    counts = {}
    days = max((contract.retention.inbox_days for contract in contracts), default=_OTHERS_DAYS)
    if not dry_run and (inbox := _inbox(settings)) is not None:
        counts["deliveries"] = inbox.purge(inbox.store.clock() - days * 86_400.0)
    store = OperationalStore.at(settings.state_dir, API)
    counts["kept answers of the API"] = purge_answers(store, dry_run=dry_run)
    days = max((contract.retention_days for contract in contracts), default=_OTHERS_DAYS)
    # Of tenants that are no more.
    oldest = datetime.now(UTC) - timedelta(days=days)
    counts["facts of runs"] = drop_facts(OperationalStore.at(settings.state_dir), None, oldest, dry_run=dry_run)
    counts["states set aside"] = purge_set_aside(settings.state_dir, time.time() - days * 86_400.0, dry_run=dry_run)
    return counts


@contextmanager
def _subject(warehouse: Location, scratch: Path, *, dry_run: bool) -> Iterator[Location]:
    """The warehouse, or a copy in `scratch` on which it is tried what would go; one that is left there goes a day later."""
    if not dry_run:
        yield warehouse
        return
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder) / warehouse.name
        with held_still(warehouse):
            if not isinstance(warehouse, Path):
                copy_out(warehouse, copy)
            else:
                copy_with_log(warehouse, copy)
        yield copy


def _purge_rows(con: duckdb.DuckDBPyConnection, contract: Contract, now: datetime) -> dict[str, int]:
    oldest = now - timedelta(days=contract.retention_days)
    before = {table: _rows(con, table) for table in (*_WATCHED, *_DISCOVERED)}
    drop_older(con, oldest)
    drop_plans(con, oldest)
    drop_days(con, oldest.date())
    drop_shapes(con, oldest.date())
    quarantine_days = timedelta(days=contract.retention.quarantine_days)
    con.execute("DELETE FROM staging.invalid_days WHERE day < $1", [(now - quarantine_days).date()])
    counts = {f"rows of {table}": number - _rows(con, table) for table, number in before.items()}
    deleted_before = now - timedelta(days=contract.retention.deleted_rows_days)
    for entity in LmsEntity:
        if table_exists(con, "raw_lms", entity):
            hiding = ""
            if isinstance(contract.source, MoodleSource) and entity not in {LmsEntity.LEARNERS, LmsEntity.COURSES}:
                hiding = _STILL_HIDING.format(place=3 if entity is LmsEntity.COMPETENCIES else 1)
            gone = con.execute(
                f"DELETE FROM raw_lms.{entity} WHERE is_deleted AND observed_at < $1{hiding}", [deleted_before]
            ).fetchall()
            counts[f"deleted rows of raw_lms.{entity}"] = int(gone[0][0])
    return counts


def _rows(con: duckdb.DuckDBPyConnection, table: str) -> int:
    return scalar(con, f"SELECT count(*) FROM {table}")


def _inbox(settings: Settings) -> Inbox | None:
    """The inbox, where there is a key for it."""
    try:
        return Inbox.at(settings.state_dir)
    except CredentialError:
        return None
