"""Pages land as NDJSON files and are weighed; then each is loaded in one short transaction together with its cursor.

Owns the tables `raw_lms.<entity>`: `source_id, payload, is_deleted, observed_at`, the payload as the LMS said it.
"""

import shutil
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import structlog

from lms_crm_assets import interrupt
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.lms.lines import RowFiles, keys_in, rows_in
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import scalar, stores_zstd, table_exists

_log = structlog.get_logger(__name__)

# A credential that lost its sight shows in these first; of what hangs on them the last few rows may go.
_NEVER_FEW = {LmsEntity.LEARNERS, LmsEntity.COURSES}
_FEW = 10
_ROWS_A_GROUP, _ROWS_A_VECTOR = 122_880, 2048
_LOADING_BYTES = 96_000_000
_MOST_LOADING_BYTES = 2_000_000_000


@dataclass
class Landed:
    """A finished pull on disk: rows, newest source timestamp and the rows the LMS says it has, per entity."""

    folder: Path
    rows: dict[LmsEntity, int] = field(default_factory=dict)
    latest: dict[LmsEntity, datetime] = field(default_factory=dict)
    expected: dict[LmsEntity, int] = field(default_factory=dict)
    parts: dict[LmsEntity, int] = field(default_factory=dict)
    """The number of files."""
    written: dict[LmsEntity, int] = field(default_factory=dict)
    """Bytes of all lines."""
    longest: dict[LmsEntity, int] = field(default_factory=dict)
    """Bytes of the longest line: the reader's buffers are made for it."""

    def settings(self) -> dict[str, str]:
        """How DuckDB loads this pull in little memory; one thread is as quick, since it is the writing that takes time.

        It works on a vector of rows at a time, several copies of it, and holds a group of rows until that is full: wide
        rows need more.
        """
        widths = {entity: self.written.get(entity, 0) / rows for entity, rows in self.rows.items() if rows}
        group = max((width * min(self.rows[e], _ROWS_A_GROUP) for e, width in widths.items()), default=0.0)
        vector = max((width * min(self.rows[e], _ROWS_A_VECTOR) for e, width in widths.items()), default=0.0)
        buffers = 8 * max(self.longest.values(), default=0)
        needed = int(max(_LOADING_BYTES, 2 * group) + 8 * vector + buffers)
        return {"memory_limit": f"{min(needed, _MOST_LOADING_BYTES)}B", "threads": "1"}

    def files(self, entity: LmsEntity) -> RowFiles:
        """The entity's files, opened to write behind what they hold."""
        return RowFiles(
            self.folder / entity, self.parts.get(entity, 0), self.written.get(entity, 0), self.longest.get(entity, 0)
        )

    def keys_in(self, entity: LmsEntity) -> str:
        """The entity's keys as a table of SQL: `n, source_id, is_deleted`."""
        return keys_in(self.folder / entity, self.parts[entity], self.longest[entity])

    def rows_in(self, entity: LmsEntity) -> str:
        """The entity's rows as a table of SQL: its keys, and `payload`."""
        return rows_in(self.folder / entity, self.parts[entity], self.longest[entity])


@dataclass(frozen=True)
class Weighed:
    """How many living rows an entity had, how many a complete pull gave, and the largest share that may be missing.

    Up to `floor` missing rows the share doesn't count.
    """

    before: int
    now: int
    limit: float
    floor: int = 0

    @property
    def share(self) -> float:
        """The share of the rows that is missing; 0 where there are as many as before, or more."""
        return max(0, self.before - self.now) / self.before if self.before else 0.0

    @property
    def believable(self) -> bool:
        """Whether the LMS may be asked for what is missing, and believed."""
        return self.share <= self.limit or self.before - self.now <= self.floor


@contextmanager
def landing_folder(parent: Path) -> Iterator[Path]:
    """A folder for one pull, removed afterwards whatever happens: it holds learner data.

    What a killed pull left there is removed first; there is one pull at a time that lands there.
    """
    shutil.rmtree(parent, ignore_errors=True)
    folder = parent / "pull"
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def land(
    pages: Iterable[Page],
    entities: Collection[LmsEntity],
    folder: Path,
    progress: Callable[[LmsEntity, int], None] = lambda _entity, _rows: None,
) -> Landed:
    """Write all pages to `folder`, in files of each entity; holds one page in memory."""
    landed = Landed(folder, dict.fromkeys(entities, 0))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entity in entities:
        for left in folder.glob(f"{entity}.*.ndjson"):
            left.unlink()
    land_more(pages, landed, progress)
    return landed


def land_more(
    pages: Iterable[Page], landed: Landed, progress: Callable[[LmsEntity, int], None] = lambda _entity, _rows: None
) -> None:
    """Write further pages behind those that have landed; of two rows with one key the later one counts."""
    with ExitStack() as open_files:
        if isinstance(pages, Generator):
            open_files.callback(pages.close)
        files = {entity: open_files.enter_context(landed.files(entity)) for entity in landed.rows}
        open_files.callback(_note_files, landed, files)
        for page in pages:
            entity = page.entity
            files[entity].write(page.records, landed.rows[entity])
            landed.rows[entity] += len(page.records)
            if page.total is not None:
                landed.expected[entity] = page.total
            if page.latest is not None:
                landed.latest[entity] = max(page.latest, landed.latest.get(entity, page.latest))
            progress(entity, landed.rows[entity])
            _log.debug("page", entity=str(entity), rows=len(page.records))
            interrupt.check()


def _note_files(landed: Landed, files: Mapping[LmsEntity, RowFiles]) -> None:
    for entity, found in files.items():
        landed.parts[entity], landed.written[entity], landed.longest[entity] = found.parts, found.written, found.longest


def ensure_raw_table(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> None:
    """Make the entity's raw table where there is none yet."""
    # Of payloads, which are much alike, zstd makes a third of what DuckDB would choose itself, in half the time.
    packed = " USING COMPRESSION zstd" if stores_zstd(con) else ""
    con.execute(
        f"CREATE TABLE IF NOT EXISTS raw_lms.{entity}"
        f" (source_id VARCHAR, payload JSON{packed}, is_deleted BOOLEAN, observed_at TIMESTAMPTZ)"
    )


def refuse_short(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed) -> None:
    """`RetryableError` when fewer different rows landed than the LMS says it has."""
    if (expected := landed.expected.get(entity, 0)) == 0:
        return
    given = scalar(con, f"SELECT count(*) FROM {_keys(con, entity, landed)}")
    if given < expected:
        raise RetryableError(
            f"the LMS says it has {expected} {entity} but gave {given} different ones: nothing was changed; rows moved "
            "between its pages, run again"
        )


def weigh(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed, *, max_shrink_share: float) -> Weighed:
    """Compare a complete pull with what raw_lms holds, and change nothing."""
    now = scalar(con, f"SELECT count(*) FROM {_keys(con, entity, landed)} WHERE NOT is_deleted")
    known = table_exists(con, "raw_lms", entity)
    before = scalar(con, f"SELECT count(*) FROM raw_lms.{entity} WHERE NOT is_deleted") if known else 0
    floor = 0 if entity in _NEVER_FEW else _FEW
    return Weighed(before, now, max_shrink_share, floor)


def absent(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed) -> list[str]:
    """The keys of living rows that a complete pull doesn't hold, and that are gone if the LMS has them no more."""
    if not table_exists(con, "raw_lms", entity):
        return []
    keys = _keys(con, entity, landed)
    query = f"SELECT source_id FROM raw_lms.{entity} ANTI JOIN {keys} USING (source_id) WHERE NOT is_deleted ORDER BY 1"
    return [str(row[0]) for row in con.execute(query).fetchall()]


def _keys(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed) -> str:
    """The temp table of the landed keys, each with the number of the row that counts; made once, and anew when more has landed."""
    name = f"landed_{entity}_{landed.rows[entity]}"
    if not table_exists(con, "main", name):
        # Of the last row of a key the number and the flag, in one number: it groups quicker than two.
        con.execute(
            f"CREATE TEMP TABLE {name} AS SELECT source_id, last // 2 AS n, last % 2 = 1 AS is_deleted FROM"
            f" (SELECT source_id, max(2 * n + is_deleted::BIGINT) AS last FROM {landed.keys_in(entity)} GROUP BY source_id)"
        )
    return name


def load(
    con: duckdb.DuckDBPyConnection,
    entity: LmsEntity,
    landed: Landed,
    *,
    observed_at: datetime,
    complete: bool,
    moves_cursor: bool = True,
) -> None:
    """Merge a landed entity into raw_lms, with its cursor unless it is of single rows.

    The newest row of a key wins; of a deleted row the payload of before is kept. Rows that didn't land stay as they are:
    absence is no delete. So do rows that were observed since `observed_at`, when the pull began: those a run of events has
    asked for meanwhile. After a `complete` pull most rows are new, and the table is better written anew.
    """
    table = f"raw_lms.{entity}"
    # Only keys are collected: payloads stream from the file into the table, however many they are.
    keys = _keys(con, entity, landed)
    with transaction(con):
        ensure_raw_table(con, entity)
        con.execute(
            f"DELETE FROM {keys} USING {table} WHERE {table}.source_id = {keys}.source_id AND {table}.observed_at > $1",
            [observed_at],
        )
        some = scalar(con, f"SELECT count(*) FROM {keys}") < landed.rows[entity]
        counts = f"n IN (SELECT n FROM {keys})" if some else "true"
        con.execute(
            "CREATE OR REPLACE TEMP TABLE before AS SELECT source_id, payload"
            f" FROM {table} SEMI JOIN (FROM {keys} WHERE is_deleted) USING (source_id)"
        )
        if complete:
            con.execute(f"CREATE OR REPLACE TEMP TABLE others AS FROM {table} ANTI JOIN {keys} USING (source_id)")
            con.execute(f"DROP TABLE {table}")
            ensure_raw_table(con, entity)
            con.execute(f"INSERT INTO {table} BY NAME FROM others; DROP TABLE others")
        else:
            con.execute(f"DELETE FROM {table} USING {keys} WHERE {table}.source_id = {keys}.source_id")
        con.execute(
            f"INSERT INTO {table} BY NAME SELECT l.source_id, coalesce(l.payload, before.payload) AS payload,"
            f" l.is_deleted, $1 AS observed_at FROM {landed.rows_in(entity)} l LEFT JOIN before USING (source_id)"
            f" WHERE {counts}",
            [observed_at],
        )
        con.execute(f"DROP TABLE {keys}; DROP TABLE before")
        if moves_cursor:
            _save_cursor(con, entity, landed, observed_at)


def _save_cursor(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed, observed_at: datetime) -> None:
    """In the transaction of the rows that it stands for.

    Without a stamp it stays; where there is none yet it is the moment before the pull.
    """
    known = scalar(con, "SELECT count(*) FROM raw_lms.cursors WHERE stream = $1", [entity])
    if known and entity not in landed.latest:
        return
    con.execute("DELETE FROM raw_lms.cursors WHERE stream = $1", [entity])
    con.execute(
        "INSERT INTO raw_lms.cursors VALUES ($1, $2, $3)",
        # A row that is stamped in the future must not blind the pulls until then.
        [entity, min(landed.latest.get(entity, observed_at), observed_at).isoformat(), observed_at],
    )


def cursor(con: duckdb.DuckDBPyConnection, entities: Collection[LmsEntity]) -> datetime | None:
    """Where an incremental pull of the entities has to start: the earliest of their cursors.

    None when one of them was never loaded, so that it has to be pulled whole.
    """
    query = "SELECT min(cursor::TIMESTAMPTZ), count(*) FROM raw_lms.cursors WHERE list_contains($1, stream)"
    found, known = con.execute(query, [[str(entity) for entity in entities]]).fetchall()[0]
    return found if known == len(entities) else None
