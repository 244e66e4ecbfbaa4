"""Pages land as NDJSON files and are weighed; then each is loaded in one short transaction together with its cursor.

Owns the tables `raw_lms.<entity>`: `source_id, payload, is_deleted, observed_at`, the payload as the LMS said it.
"""

import shutil
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import orjson
import structlog

from lms_crm_assets import interrupt
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_log = structlog.get_logger(__name__)

_SHORTEST_BUFFER_BYTES = 65_536
# A credential that lost its sight shows in these first; of what hangs on them the last few rows may go.
_NEVER_FEW = {LmsEntity.LEARNERS, LmsEntity.COURSES}
_FEW = 10
_ROWS_A_GROUP, _ROWS_A_VECTOR = 122_880, 2048
_LOADING_BYTES = 96_000_000
_MOST_LOADING_BYTES = 2_000_000_000

_KEYS = "n: 'BIGINT', source_id: 'VARCHAR', is_deleted: 'BOOLEAN'"
_ROWS = f"{_KEYS}, payload: 'JSON'"


@dataclass
class Landed:
    """A finished pull on disk: rows, newest source timestamp and the rows the LMS says it has, per entity."""

    folder: Path
    rows: dict[LmsEntity, int] = field(default_factory=dict)
    latest: dict[LmsEntity, datetime] = field(default_factory=dict)
    expected: dict[LmsEntity, int] = field(default_factory=dict)
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

    def file(self, entity: LmsEntity) -> Path:
        """The entity's NDJSON file."""
        return self.folder / f"{entity}.ndjson"


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
    """Write all pages to `folder`, one file an entity; holds one page in memory."""
    landed = Landed(folder, dict.fromkeys(entities, 0))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entity in entities:
        landed.file(entity).write_bytes(b"")
    land_more(pages, landed, progress)
    return landed


def land_more(
    pages: Iterable[Page], landed: Landed, progress: Callable[[LmsEntity, int], None] = lambda _entity, _rows: None
) -> None:
    """Write further pages behind those that have landed; of two rows with one key the later one counts."""
    with ExitStack() as open_files:
        if isinstance(pages, Generator):
            open_files.callback(pages.close)
        files = {entity: open_files.enter_context(landed.file(entity).open("ab")) for entity in landed.rows}
        for page in pages:
            n = landed.rows[page.entity]
            lines = [_line(i, record) for i, record in enumerate(page.records, n)]
            written = files[page.entity].write(b"\n".join([*lines, b""]))
            landed.written[page.entity] = landed.written.get(page.entity, 0) + written
            landed.longest[page.entity] = max(landed.longest.get(page.entity, 0), *map(len, lines), 0)
            landed.rows[page.entity] = n + len(page.records)
            if page.total is not None:
                landed.expected[page.entity] = page.total
            if page.latest is not None:
                landed.latest[page.entity] = max(page.latest, landed.latest.get(page.entity, page.latest))
            progress(page.entity, landed.rows[page.entity])
            _log.debug("page", entity=str(page.entity), rows=len(page.records))
            interrupt.check()


def _line(n: int, record: RawRecord) -> bytes:
    """A row as a line. One that is nested too deep for JSON keeps its key alone, and the checks refuse it."""
    source_id, payload, is_deleted = record
    try:
        return orjson.dumps({"n": n, "source_id": source_id, "is_deleted": is_deleted, "payload": payload})
    except orjson.JSONEncodeError:
        return orjson.dumps({"n": n, "source_id": source_id, "is_deleted": is_deleted, "payload": {}})


def ensure_raw_table(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> None:
    """Make the entity's raw table where there is none yet."""
    con.execute(
        f"CREATE TABLE IF NOT EXISTS raw_lms.{entity}"
        " (source_id VARCHAR, payload JSON, is_deleted BOOLEAN, observed_at TIMESTAMPTZ)"
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
    """The temp table of the landed keys, each with the line that counts; made once, and anew when more has landed."""
    name = f"landed_{entity}_{landed.rows[entity]}"
    if not table_exists(con, "main", name):
        # In two steps: grouped while it is parsed, the file takes 90 MB more.
        con.execute(f"CREATE TEMP TABLE landed_line AS FROM {_lines(landed, entity, _KEYS)}")
        con.execute(
            f"CREATE TEMP TABLE {name} AS SELECT source_id, max(n) AS n, arg_max(is_deleted, n) AS is_deleted"
            " FROM landed_line GROUP BY source_id"
        )
        con.execute("DROP TABLE landed_line")
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

    The newest line of a key wins; of a deleted row the payload of before is kept. Rows that didn't land stay as they are:
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
            f" l.is_deleted, $1 AS observed_at FROM {_lines(landed, entity, _ROWS)} l LEFT JOIN before USING (source_id)"
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


def _lines(landed: Landed, entity: LmsEntity, columns: str) -> str:
    """The landed lines as a table of SQL."""
    longest = max(landed.longest.get(entity, 0), _SHORTEST_BUFFER_BYTES)
    return (
        f"read_json({literal(str(landed.file(entity)))}, columns = {{{columns}}}, format = 'newline_delimited',"
        f" maximum_object_size = {longest})"
    )


def cursor(con: duckdb.DuckDBPyConnection, entities: Collection[LmsEntity]) -> datetime | None:
    """Where an incremental pull of the entities has to start: the earliest of their cursors.

    None when one of them was never loaded, so that it has to be pulled whole.
    """
    query = "SELECT min(cursor::TIMESTAMPTZ), count(*) FROM raw_lms.cursors WHERE list_contains($1, stream)"
    found, known = con.execute(query, [[str(entity) for entity in entities]]).fetchall()[0]
    return found if known == len(entities) else None
