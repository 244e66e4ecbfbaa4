"""A tenant's warehouse for pulls without Dagster, by the function that the asset calls."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.ingest import Ingested, pull_into
from lms_crm_assets.lms.landing import landing_folder
from lms_crm_assets.lms.protocol import LmsAdapter
from lms_crm_assets.staging.build import build_staging
from lms_crm_assets.warehouse.connection import connect
from tests.lms.pulls import NOW

Living = dict[LmsEntity, dict[str, Any]]


@dataclass(frozen=True)
class Warehouse:
    """The file and the landing folder in `folder`; the pulls are of these entities."""

    folder: Path
    entities: Collection[LmsEntity] = tuple(LmsEntity)

    @property
    def file(self) -> Path:
        """The DuckDB file."""
        return self.folder / "w.duckdb"

    def pull(self, adapter: LmsAdapter, *, full: bool = True, max_shrink_share: float = 0.5) -> Ingested:
        """Pull and load."""
        with landing_folder(self.folder / "landing") as landing:
            return pull_into(
                partial(connect, self.file),
                adapter,
                landing,
                entities=self.entities,
                full=full,
                max_shrink_share=max_shrink_share,
            )

    def held(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every raw row and every cursor."""
        with connect(self.file) as con:
            tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'raw_lms'").fetchall()
            return {name: con.execute(f"FROM raw_lms.{name} ORDER BY ALL").fetchall() for (name,) in sorted(tables)}

    def living(self, con: duckdb.DuckDBPyConnection | None = None) -> Living:
        """The payloads of the living rows."""
        return self._rows("NOT is_deleted", con)

    def tombstones(self) -> Living:
        """The payloads of the others."""
        return self._rows("is_deleted", None)

    def twice(self, con: duckdb.DuckDBPyConnection) -> set[str]:
        """The keys that stand there more than once, living or not."""
        return {
            f"{entity} {key}"
            for entity in self.entities
            for (key,) in con.execute(
                f"SELECT source_id FROM raw_lms.{entity} GROUP BY ALL HAVING count(*) > 1"
            ).fetchall()
        }

    def _rows(self, which: str, con: duckdb.DuckDBPyConnection | None) -> Living:
        if con is None:
            with connect(self.file) as opened:
                return self._rows(which, opened)
        found: Living = {}
        for entity in self.entities:
            rows = con.execute(f"SELECT source_id, payload FROM raw_lms.{entity} WHERE {which}").fetchall()
            found[entity] = {key: json.loads(payload) if payload else None for key, payload in rows}
        return found

    def staged(self, adapter: str) -> dict[str, set[Any]]:
        """The e-mails of the valid learners, the titles of the valid courses, and the pairs of the enrollments."""
        with connect(self.file) as con:
            for entity in LmsEntity:
                build_staging(
                    con, rules_for(ChecksPolicy(), entity), adapter=adapter, timezone="Europe/London", now=NOW
                )
            pairs = con.execute(
                "SELECT lower(l.email), c.title FROM staging.enrollment e JOIN staging.learner l ON l.source_id = e.learner_id"
                " JOIN staging.course c ON c.source_id = e.course_id"
            ).fetchall()
            return {
                "learner": {row[0] for row in con.execute("SELECT lower(email) FROM staging.learner").fetchall()},
                "course": {row[0] for row in con.execute("SELECT title FROM staging.course").fetchall()},
                "enrollment": set(pairs),
            }
