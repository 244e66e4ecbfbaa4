"""What a pull of an LMS gave, and what staging makes of it."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.landing import Landed, absent, land, land_more, load
from lms_crm_assets.lms.protocol import LmsAdapter, Page
from lms_crm_assets.staging.build import StagingCounts, build_staging

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ALL = tuple(LmsEntity)
Rows = dict[LmsEntity, dict[str, RawRecord]]


def by_key(pages: Iterable[Page]) -> Rows:
    """The records by entity and key; the last of a key counts."""
    found: Rows = {}
    for page in pages:
        found.setdefault(page.entity, {}).update({record.source_id: record for record in page.records})
    return found


def pulled(adapter: LmsAdapter, entities: Collection[LmsEntity] = ALL, since: datetime | None = None) -> Rows:
    """What a pull gives; closes the adapter."""
    try:
        return by_key(adapter.pull(entities, since))
    finally:
        adapter.close()


def fetched(adapter: LmsAdapter, entity: LmsEntity, *keys: str) -> dict[str, RawRecord]:
    """What a fetch gives."""
    return by_key(adapter.fetch(entity, keys)).get(entity, {})


def load_whole(con: duckdb.DuckDBPyConnection, entity: LmsEntity, landed: Landed, *, at: datetime = NOW) -> None:
    """Load what a full pull gave, of an LMS that says of all else that it is gone."""
    gone = [RawRecord(key, None, is_deleted=True) for key in absent(con, entity, landed)]
    land_more([Page(entity, gone)], landed)
    load(con, entity, landed, observed_at=at, complete=True)


def stage(
    con: duckdb.DuckDBPyConnection, folder: Path, adapter: str, entity: LmsEntity, pages: Iterable[Page]
) -> StagingCounts:
    """Bring an entity's pages through landing and staging, as a full pull does."""
    landed = land((page for page in pages if page.entity is entity), [entity], folder / "landing")
    load_whole(con, entity, landed)
    return build_staging(
        con, rules_for(ChecksPolicy(), entity), adapter=adapter, timezone="UTC", now=NOW, keep_unknown=True
    )


def stage_rows(
    con: duckdb.DuckDBPyConnection, folder: Path, adapter: str, entity: LmsEntity, *rows: tuple[str, Any]
) -> StagingCounts:
    """The same for payloads by their keys."""
    return stage(con, folder, adapter, entity, [Page(entity, [RawRecord(key, payload) for key, payload in rows])])


def quarantined(con: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    """Code and column of all that was refused."""
    return set(con.execute('SELECT code, "column" FROM staging.quarantine').fetchall())
