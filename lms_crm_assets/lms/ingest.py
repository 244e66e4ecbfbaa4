"""One pull of an LMS into raw_lms: land, weigh, ask for what is absent by its key, load."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import structlog

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.landing import (
    Landed,
    Weighed,
    absent,
    cursor,
    ensure_raw_table,
    land,
    land_more,
    load,
    refuse_short,
    weigh,
)
from lms_crm_assets.lms.protocol import LmsAdapter, Page
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_log = structlog.get_logger(__name__)

OpenWarehouse = Callable[[dict[str, str]], AbstractContextManager[duckdb.DuckDBPyConnection]]
"""A connection to the warehouse with these settings, held only as long as nothing is asked of the network."""

Aside = Callable[[], AbstractContextManager[None]]
"""Lets others have the warehouse while the block runs."""


@dataclass
class Ingested:
    """What a pull gave and what became of it, by entity.

    `weighed` is empty where nothing is concluded from absence; `absent` are the keys that were asked for because a
    complete pull didn't hold them, `unanswered` how many of those the LMS neither gave nor said to be gone, so that they
    stay as they are; `living` is empty when nothing was loaded.
    """

    landed: Landed
    since: datetime | None = None
    weighed: dict[LmsEntity, Weighed] = field(default_factory=dict)
    absent: dict[LmsEntity, list[str]] = field(default_factory=dict)
    unanswered: dict[LmsEntity, int] = field(default_factory=dict)
    living: dict[LmsEntity, int] = field(default_factory=dict)

    @property
    def doubted(self) -> dict[LmsEntity, Weighed]:
        """The entities that lost more rows than is believed; then nothing of the pull was loaded."""
        return {entity: found for entity, found in self.weighed.items() if not found.believable}


def pull_into(
    open_warehouse: OpenWarehouse,
    lms: LmsAdapter,
    folder: Path,
    *,
    entities: Collection[LmsEntity] = tuple(LmsEntity),
    full: bool,
    max_shrink_share: float,
    aside: Aside = nullcontext,
) -> Ingested:
    """Pull the entities in one go and load all of them, or none when one of them lost too many rows.

    `full`: rows that the LMS no longer has become tombstones. Otherwise what changed since the last pull is read, where
    the LMS can tell, and nothing is concluded from absence; where one of the entities was never loaded there is no
    moment to start from, and the pull is a full one. `folder` is empty, and the caller removes it; while only it is written
    to, others may have what is set `aside`.
    """
    served, able = [e for e in entities if e in lms.capabilities.entities], lms.capabilities.supports_since
    since = None
    if not full and able:
        with open_warehouse({}) as con:
            since = cursor(con, [entity for entity in served if entity in able])
        # All cursors move on with it: what was deleted since the others' cursors no later pull would be told of.
        full = since is None
    # Before the first call: a cursor is never later, so that what changes while it is read comes again.
    observed_at = datetime.now(UTC)
    _log.info("pull_began", entities=[*map(str, served)], full=full, since=since and since.isoformat())
    began = time.monotonic()
    with aside():
        landed = land(lms.pull(served, since), served, folder)
    _log.info("pull_ended", seconds=round(time.monotonic() - began, 1), rows=_by_name(landed.rows))
    done = Ingested(landed, since)
    with open_warehouse(landed.settings()) as con:
        for entity in served:
            refuse_short(con, entity, landed)
        if full:
            done.weighed = {e: weigh(con, e, landed, max_shrink_share=max_shrink_share) for e in served}
            done.absent = {e: absent(con, e, landed) for e in served}
            _note_doubts(con, done, observed_at)
        if done.doubted:
            return done
        if not any(done.absent.values()):
            _load(con, done, entities, observed_at=observed_at, complete=full)
            return done
    _log.info("absent_asked_for", keys={str(entity): len(keys) for entity, keys in done.absent.items()})
    with aside():
        for entity, keys in done.absent.items():
            # A row that moved between two pages is not gone: each is asked for by its key, and only what the LMS says is
            # deleted becomes a tombstone.
            land_more(lms.fetch(entity, keys) if keys else (), landed)
    with open_warehouse(landed.settings()) as con:
        for entity in done.absent:
            done.unanswered[entity] = len(absent(con, entity, landed))
        _load(con, done, entities, observed_at=observed_at, complete=full)
    return done


def _by_name(rows: Mapping[LmsEntity, int]) -> dict[str, int]:
    return {str(entity): number for entity, number in rows.items()}


def standing_doubts(con: duckdb.DuckDBPyConnection) -> dict[LmsEntity, tuple[Weighed, datetime]]:
    """What was not believed of the last full pull of an entity, and when: later pulls conclude nothing from absence."""
    rows = con.execute("SELECT entity, rows_before, rows_now, allowed, doubted_at FROM raw_lms.doubted").fetchall()
    return {LmsEntity(entity): (Weighed(before, now, limit), at) for entity, before, now, limit, at in rows}


def _note_doubts(con: duckdb.DuckDBPyConnection, done: Ingested, now: datetime) -> None:
    con.execute("DELETE FROM raw_lms.doubted WHERE list_contains($1, entity)", [[*done.weighed]])
    for entity, found in done.doubted.items():
        con.execute(
            "INSERT INTO raw_lms.doubted VALUES ($1, $2, $3, $4, $5)",
            [entity, found.before, found.now, found.limit, now],
        )


def _load(
    con: duckdb.DuckDBPyConnection,
    done: Ingested,
    entities: Collection[LmsEntity],
    *,
    observed_at: datetime,
    complete: bool,
) -> None:
    for entity in done.landed.rows:
        load(con, entity, done.landed, observed_at=observed_at, complete=complete)
    for entity in entities:
        ensure_raw_table(con, entity)
        done.living[entity] = scalar(con, f"SELECT count(*) FROM raw_lms.{entity} WHERE NOT is_deleted")


_PARENTS = (LmsEntity.LEARNERS, LmsEntity.COURSES)


@dataclass
class Fetched:
    """What came of asking for some keys: rows by entity, and the keys that the LMS doesn't show and that we never had.

    `moved`: a row went, or a learner or course came or had been refused so far: others may come or go with it.
    """

    rows: dict[LmsEntity, int] = field(default_factory=dict)
    unseen: set[tuple[LmsEntity, str]] = field(default_factory=set)
    moved: bool = False


def fetch_into(
    open_warehouse: OpenWarehouse,
    lms: LmsAdapter,
    folder: Path,
    keys: Mapping[LmsEntity, Collection[str]],
    *,
    aside: Aside = nullcontext,
) -> Fetched:
    """Ask the LMS for these rows and load what it says; no cursor moves, and what it has no more becomes a tombstone."""
    wanted = {entity: some for entity, some in keys.items() if some and entity in lms.capabilities.entities}
    known: dict[LmsEntity, set[str]] = {}
    staged: dict[LmsEntity, set[str]] = {}
    with open_warehouse({}) as con:
        for entity, some in wanted.items():
            known[entity] = _known(con, entity, some)
            if entity in _PARENTS:
                # Staged, and in the CRM: a run that failed between the two is made up for.
                obj = "contact" if entity is LmsEntity.LEARNERS else "course"
                ledger = _held(con, some, "sync", "ledger", f"object = '{obj}'", "external_id")
                staged[entity] = ledger & _held(con, some, "staging", entity.staging_table, "true")
    fetched = Fetched()
    observed_at = datetime.now(UTC)
    with aside():
        landed = land(_watched(_shown(lms, wanted, known, fetched), staged, fetched), list(wanted), folder)
    with open_warehouse(landed.settings()) as con:
        for entity in wanted:
            load(con, entity, landed, observed_at=observed_at, complete=False, moves_cursor=False)
    fetched.rows = dict(landed.rows)
    asked = {str(entity): len(some) for entity, some in wanted.items()}
    _log.info("keys_fetched", asked=asked, rows=_by_name(landed.rows), unseen=len(fetched.unseen))
    return fetched


def _known(con: duckdb.DuckDBPyConnection, entity: LmsEntity, keys: Collection[str]) -> set[str]:
    """Those that we have rows of: by the ids of raw_lms, or by the canonical ones, which a report's rows don't have."""
    tables = [("raw_lms", str(entity), "true"), ("staging", entity.staging_table, "true")]
    tables.append(("staging", "quarantine", f"entity = {literal(entity)}"))
    return set().union(*(_held(con, keys, *table) for table in tables))


def _held(
    con: duckdb.DuckDBPyConnection, keys: Collection[str], schema: str, table: str, where: str, key: str = "source_id"
) -> set[str]:
    """Those of the keys that a table has, if there is one."""
    if not table_exists(con, schema, table):
        return set()
    query = f"SELECT {key} FROM {schema}.{table} WHERE {where} AND {key} IN (SELECT unnest($1::VARCHAR[]))"
    return {row[0] for row in con.execute(query, [list(keys)]).fetchall()}


def _watched(pages: Iterator[Page], staged: Mapping[LmsEntity, set[str]], fetched: Fetched) -> Iterator[Page]:
    """The pages, noting what moves."""
    for page in pages:
        held = staged.get(page.entity)
        fetched.moved = fetched.moved or any(
            r.is_deleted or (held is not None and r.source_id not in held) for r in page.records
        )
        yield page


def _shown(
    lms: LmsAdapter,
    wanted: Mapping[LmsEntity, Collection[str]],
    known: Mapping[LmsEntity, set[str]],
    fetched: Fetched,
) -> Iterator[Page]:
    """The pages without the tombstones of rows that we never had: these may be yet to come.

    A key without a tombstone is there, though perhaps in rows under other ids, or it can't be told of.
    """
    for entity, some in wanted.items():
        for page in lms.fetch(entity, some):
            never_had = {r.source_id for r in page.records if r.is_deleted and r.source_id not in known[entity]}
            fetched.unseen |= {(entity, key) for key in never_had.intersection(some)}
            yield Page(entity, [r for r in page.records if not r.is_deleted or r.source_id not in never_had])
