"""Pages land as NDJSON files, then each file is loaded in one short transaction together with its cursor.

Owns the tables `raw_lms.<entity>`: `source_id, payload, is_deleted, observed_at`, the payload as the LMS said it.
"""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import duckdb
import orjson

from lms_crm_assets import interrupt
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import scalar, table_exists

_COLUMNS = "{n: 'BIGINT', source_id: 'VARCHAR', is_deleted: 'BOOLEAN', payload: 'JSON'}"
_LANDED = f"read_json($file, columns = {_COLUMNS}, format = 'newline_delimited', maximum_object_size = 33554432)"


@dataclass
class Landed:
    """A finished pull on disk: rows, newest source timestamp and the rows the LMS says it has, per entity."""

    folder: Path
    rows: dict[LmsEntity, int] = field(default_factory=dict)
    latest: dict[LmsEntity, datetime] = field(default_factory=dict)
    expected: dict[LmsEntity, int] = field(default_factory=dict)

    def file(self, entity: LmsEntity) -> Path:
        """The entity's NDJSON file."""
        return self.folder / f"{entity}.ndjson"

    def advance_together(self) -> None:
        """Give all entities the newest timestamp: one feed of changes brought them all up to it."""
        if self.latest:
            self.latest = dict.fromkeys(self.rows, max(self.latest.values()))


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
    landed = Landed(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[LmsEntity, BinaryIO] = {}
    try:
        for entity in entities:
            files[entity] = landed.file(entity).open("wb")
            landed.rows[entity] = 0
        for page in pages:
            n = landed.rows[page.entity]
            files[page.entity].writelines(
                orjson.dumps(
                    {"n": n + i, "source_id": r.source_id, "is_deleted": r.is_deleted, "payload": r.payload},
                    option=orjson.OPT_APPEND_NEWLINE,
                )
                for i, r in enumerate(page.records)
            )
            landed.rows[page.entity] = n + len(page.records)
            if page.total is not None:
                landed.expected[page.entity] = page.total
            if page.latest is not None:
                landed.latest[page.entity] = max(page.latest, landed.latest.get(page.entity, page.latest))
            progress(page.entity, landed.rows[page.entity])
            interrupt.check()
    finally:
        for file in files.values():
            file.close()
    return landed


def ensure_raw_table(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> None:
    """Make the entity's raw table where there is none yet."""
    con.execute(
        f"CREATE TABLE IF NOT EXISTS raw_lms.{entity}"
        " (source_id VARCHAR, payload JSON, is_deleted BOOLEAN, observed_at TIMESTAMPTZ)"
    )


def load(
    con: duckdb.DuckDBPyConnection,
    entity: LmsEntity,
    landed: Landed,
    *,
    observed_at: datetime,
    complete: bool,
    max_shrink_share: float,
) -> None:
    """Merge a landed entity into raw_lms.

    The newest line of a key wins. After a `complete` pull the rows it no longer holds become tombstones, unless it
    shrank by more than `max_shrink_share`: then the pull is not believed (`FatalError`) and nothing changes. An
    incremental pull only deletes what the LMS says it deleted.
    """
    table = f"raw_lms.{entity}"
    with transaction(con):
        ensure_raw_table(con, entity)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE landed AS SELECT * EXCLUDE (n), $observed_at AS observed_at"
            f" FROM {_LANDED} QUALIFY row_number() OVER (PARTITION BY source_id ORDER BY n DESC) = 1",
            {"file": str(landed.file(entity)), "observed_at": observed_at},
        )
        con.execute(
            f"UPDATE landed SET payload = old.payload FROM {table} old"
            " WHERE landed.source_id = old.source_id AND landed.is_deleted AND landed.payload IS NULL"
        )
        if complete:
            _refuse_short(con, entity, landed.expected.get(entity, 0))
            _refuse_shrunken(con, entity, max_shrink_share)
            con.execute(
                "INSERT INTO landed BY NAME SELECT source_id, payload, true AS is_deleted,"
                " CASE WHEN is_deleted THEN observed_at ELSE $1 END AS observed_at"
                f" FROM {table} old ANTI JOIN landed USING (source_id)",
                [observed_at],
            )
            con.execute(f"CREATE OR REPLACE TABLE {table} AS FROM landed")
        else:
            con.execute(f"DELETE FROM {table} USING landed WHERE {table}.source_id = landed.source_id")
            con.execute(f"INSERT INTO {table} BY NAME FROM landed")
        con.execute("DROP TABLE landed")
        if entity in landed.latest:
            con.execute("DELETE FROM raw_lms.cursors WHERE stream = $1", [entity])
            con.execute(
                "INSERT INTO raw_lms.cursors VALUES ($1, $2, $3)",
                # A row that is stamped in the future must not blind the pulls until then.
                [entity, min(landed.latest[entity], observed_at).isoformat(), observed_at],
            )


def _refuse_short(con: duckdb.DuckDBPyConnection, entity: LmsEntity, expected: int) -> None:
    given = scalar(con, "SELECT count(*) FROM landed")
    if given < expected:
        raise RetryableError(
            f"the LMS says it has {expected} {entity} but gave {given} different ones: nothing was changed; rows moved "
            "between its pages, run again"
        )


def _refuse_shrunken(con: duckdb.DuckDBPyConnection, entity: LmsEntity, max_shrink_share: float) -> None:
    before = scalar(con, f"SELECT count(*) FROM raw_lms.{entity} WHERE NOT is_deleted")
    now = scalar(con, "SELECT count(*) FROM landed WHERE NOT is_deleted")
    if before and now < before * (1 - max_shrink_share):
        raise FatalError(
            f"the LMS gave {now} {entity} where it had {before} before: not believed, nothing was changed. "
            "Check what the credential may see; if so many really are gone, raise checks.max_shrink_share"
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
