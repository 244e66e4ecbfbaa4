"""Pages land as NDJSON files and are weighed; then each is loaded in one short transaction together with its cursor.

Owns the tables `raw_lms.<entity>`: `source_id, payload, is_deleted, observed_at`, the payload as the LMS said it.
"""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import orjson

from lms_crm_assets import interrupt
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_SHORTEST_BUFFER_BYTES = 65_536
_LOADING_BYTES = 96_000_000

_KEYS = "n: 'BIGINT', source_id: 'VARCHAR', is_deleted: 'BOOLEAN'"
_ROWS = f"{_KEYS}, payload: 'JSON'"


@dataclass
class Landed:
    """A finished pull on disk: rows, newest source timestamp and the rows the LMS says it has, per entity."""

    folder: Path
    rows: dict[LmsEntity, int] = field(default_factory=dict)
    latest: dict[LmsEntity, datetime] = field(default_factory=dict)
    expected: dict[LmsEntity, int] = field(default_factory=dict)
    longest: dict[LmsEntity, int] = field(default_factory=dict)
    """Bytes of the longest line: the reader's buffers are made for it."""

    def settings(self) -> dict[str, str]:
        """How DuckDB loads this pull in little memory; one thread is as quick, since it is the writing that takes time."""
        buffers = 4 * max(self.longest.values(), default=0)
        return {"memory_limit": f"{_LOADING_BYTES + buffers}B", "threads": "1"}

    def file(self, entity: LmsEntity) -> Path:
        """The entity's NDJSON file."""
        return self.folder / f"{entity}.ndjson"


@dataclass(frozen=True)
class Weighed:
    """How many living rows an entity had, how many a complete pull gave, and the largest share that may be missing."""

    before: int
    now: int
    limit: float

    @property
    def share(self) -> float:
        """The share of the rows that is missing; 0 where there are as many as before, or more."""
        return max(0, self.before - self.now) / self.before if self.before else 0.0

    @property
    def believable(self) -> bool:
        """Whether what is missing may be taken for gone."""
        return self.share <= self.limit


@contextmanager
def landing_folder(parent: Path) -> Iterator[Path]:
    """A folder for one pull, removed afterwards whatever happens: it holds learner data.

    What a killed pull left there is removed first; there is one pull of a tenant at a time.
    """
    shutil.rmtree(parent, ignore_errors=True)
    folder = parent / "pull"
    folder.mkdir(parents=True)
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
    folder.mkdir(parents=True, exist_ok=True)
    for entity in entities:
        landed.file(entity).write_bytes(b"")
    land_more(pages, landed, progress)
    return landed


def land_more(
    pages: Iterable[Page], landed: Landed, progress: Callable[[LmsEntity, int], None] = lambda _entity, _rows: None
) -> None:
    """Write further pages behind those that have landed; of two rows with one key the later one counts."""
    with ExitStack() as open_files:
        files = {entity: open_files.enter_context(landed.file(entity).open("ab")) for entity in landed.rows}
        for page in pages:
            n = landed.rows[page.entity]
            lines = [_line(i, record) for i, record in enumerate(page.records, n)]
            files[page.entity].write(b"\n".join([*lines, b""]))
            landed.longest[page.entity] = max(landed.longest.get(page.entity, 0), *map(len, lines), 0)
            landed.rows[page.entity] = n + len(page.records)
            if page.total is not None:
                landed.expected[page.entity] = page.total
            if page.latest is not None:
                landed.latest[page.entity] = max(page.latest, landed.latest.get(page.entity, page.latest))
            progress(page.entity, landed.rows[page.entity])
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


def weigh(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed, *, max_shrink_share: float) -> Weighed:
    """Compare a complete pull with what raw_lms holds, and change nothing.

    `RetryableError` when the LMS gave fewer rows than it says it has.
    """
    keys = _keys(con, entity, landed)
    given, now = con.execute(f"SELECT count(*), count(*) FILTER (NOT is_deleted) FROM {keys}").fetchall()[0]
    _refuse_short(entity, given, landed.expected.get(entity, 0))
    known = table_exists(con, "raw_lms", entity)
    before = scalar(con, f"SELECT count(*) FROM raw_lms.{entity} WHERE NOT is_deleted") if known else 0
    return Weighed(before, now, max_shrink_share)


def absent(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed) -> list[str]:
    """The keys of living rows that a complete pull doesn't hold, and that are gone if the LMS has them no more."""
    if not table_exists(con, "raw_lms", entity):
        return []
    keys = _keys(con, entity, landed)
    query = f"SELECT source_id FROM raw_lms.{entity} ANTI JOIN {keys} USING (source_id) WHERE NOT is_deleted ORDER BY 1"
    return [str(row[0]) for row in con.execute(query).fetchall()]


def _keys(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed) -> str:
    """The temp table of the landed keys, each with the line that counts; made once a connection."""
    name = f"landed_{entity}"
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
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed, *, observed_at: datetime, complete: bool
) -> None:
    """Merge a landed entity into raw_lms.

    The newest line of a key wins. After a `complete` pull, which has to be weighed first, the rows it no longer holds
    become tombstones. An incremental pull only deletes what the LMS says it deleted.
    """
    table = f"raw_lms.{entity}"
    # Only keys are collected: payloads stream from the file into the table, however many they are.
    keys = _keys(con, entity, landed)
    doubled = scalar(con, f"SELECT count(*) FROM {keys}") < landed.rows[entity]
    counts = f"n IN (SELECT n FROM {keys})" if doubled else "true"
    with transaction(con):
        ensure_raw_table(con, entity)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE before AS SELECT source_id, payload"
            f" FROM {table} SEMI JOIN (FROM {keys} WHERE is_deleted) USING (source_id)"
        )
        if complete:
            con.execute(
                "CREATE OR REPLACE TEMP TABLE gone AS SELECT source_id, payload, true AS is_deleted,"
                f" CASE WHEN is_deleted THEN observed_at ELSE $1 END AS observed_at FROM {table} ANTI JOIN {keys}"
                " USING (source_id)",
                [observed_at],
            )
            con.execute(f"DROP TABLE {table}")
            ensure_raw_table(con, entity)
            con.execute(f"INSERT INTO {table} BY NAME FROM gone; DROP TABLE gone")
        else:
            con.execute(f"DELETE FROM {table} USING {keys} WHERE {table}.source_id = {keys}.source_id")
        con.execute(
            f"INSERT INTO {table} BY NAME SELECT l.source_id, coalesce(l.payload, before.payload) AS payload,"
            f" l.is_deleted, $1 AS observed_at FROM {_lines(landed, entity, _ROWS)} l LEFT JOIN before USING (source_id)"
            f" WHERE {counts}",
            [observed_at],
        )
        con.execute(f"DROP TABLE {keys}; DROP TABLE before")
        _save_cursor(con, entity, landed, observed_at)


def _save_cursor(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed, observed_at: datetime) -> None:
    """In the transaction of the rows that it stands for."""
    if entity in landed.latest:
        con.execute("DELETE FROM raw_lms.cursors WHERE stream = $1", [entity])
        con.execute(
            "INSERT INTO raw_lms.cursors VALUES ($1, $2, $3)",
            # A row that is stamped in the future must not blind the pulls until then.
            [entity, min(landed.latest[entity], observed_at).isoformat(), observed_at],
        )


def _lines(landed: Landed, entity: LmsEntity, columns: str) -> str:
    """The landed lines as a table of SQL."""
    longest = max(landed.longest.get(entity, 0), _SHORTEST_BUFFER_BYTES)
    return (
        f"read_json({literal(str(landed.file(entity)))}, columns = {{{columns}}}, format = 'newline_delimited',"
        f" maximum_object_size = {longest})"
    )


def _refuse_short(entity: LmsEntity, given: int, expected: int) -> None:
    if given < expected:
        raise RetryableError(
            f"the LMS says it has {expected} {entity} but gave {given} different ones: nothing was changed; rows moved "
            "between its pages, run again"
        )


def cursor(con: duckdb.DuckDBPyConnection, entities: Collection[LmsEntity]) -> datetime | None:
    """Where an incremental pull of the entities has to start: the earliest of their cursors.

    None when one of them was never loaded, so that it has to be pulled whole.
    """
    if not all(table_exists(con, "raw_lms", entity) for entity in entities):
        return None
    query = "SELECT min(cursor::TIMESTAMPTZ) FROM raw_lms.cursors WHERE list_contains($1, stream)"
    found: datetime | None = con.execute(query, [[str(entity) for entity in entities]]).fetchall()[0][0]
    return found
