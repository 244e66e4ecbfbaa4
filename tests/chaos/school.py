"""A school of any size, staged straight into a tenant's warehouse, and what the CRM has to hold for it.

Learner `n` has the enrollment, the completion and the competency `n`; what a row says depends on its number and on the
`edition` that the row is in, so that a later edition of some rows is a change of the LMS.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import quoted

COURSES = 7

_ROWS: dict[LmsEntity, tuple[str, dict[str, str]]] = {
    LmsEntity.LEARNERS: (
        "'L' || n",
        {
            "username": "'user' || n",
            "email": "'learner' || n || '@school.test'",
            "given_name": "'Given ' || n || ' of ' || edition",
            "family_name": "'O''Family, \"' || n || '\"'",
            "organization": "'Org ' || (n % 11)",
            "country": "'GB'",
            "status": "'active'",
        },
    ),
    LmsEntity.COURSES: (
        "'C' || n",
        {"code": "'CODE' || n", "title": "'Course ' || n || ' of ' || edition", "visible": "true"},
    ),
    LmsEntity.ENROLLMENTS: (
        "'E' || n",
        {
            "learner_id": "'L' || n",
            "course_id": f"'C' || (n % {COURSES})",
            "role": "'student'",
            "status": "CASE WHEN edition % 2 = 0 THEN 'active' ELSE 'completed' END",
            "enrolled_at": "TIMESTAMPTZ '2026-01-01 08:00:00+00' + INTERVAL (n % 100) DAY",
        },
    ),
    LmsEntity.COMPLETIONS: (
        "'K' || n",
        {
            "learner_id": "'L' || n",
            "course_id": f"'C' || (n % {COURSES})",
            "state": "'in_progress'",
            "progress_pct": "(n + edition) % 100",
        },
    ),
    LmsEntity.SCORES: ("'S' || n", {}),
    LmsEntity.COMPETENCIES: (
        "'P' || n",
        {
            "learner_id": "'L' || n",
            "course_id": f"'C' || (n % {COURSES})",
            "code": "'SKILL' || (n % 5)",
            "name": "'Skill ' || (n % 5)",
            "rating": "'Level ' || edition",
            "proficient": "edition % 2 = 0",
        },
    ),
}


def stage(
    warehouse: Path,
    learners: int,
    edition: int,
    entities: Iterable[LmsEntity] = LmsEntity,
    *,
    only: str = "true",
    first: int = 0,
) -> None:
    """Stage the school; of a school that is there, the rows with `only` (SQL over `n`) move on to `edition`.

    Its learners are numbered from `first` on.
    """
    with connect(warehouse) as con:
        for entity in entities:
            key, columns = _ROWS[entity]
            number = {LmsEntity.COURSES: COURSES, LmsEntity.SCORES: 0}.get(entity, learners)
            begin = first if number == learners else 0
            numbers = f"range({begin}, {begin + number}) t(n)"
            table = f"staging.{entity.staging_table}"
            names = {name: columns.get(name, "NULL") for name in COLUMNS[entity]}
            values = ", ".join(f"({names[name]})::{kind} AS {quoted(name)}" for name, kind in COLUMNS[entity].items())
            rows = f"SELECT {key} AS source_id, {values} FROM (SELECT n, {edition} AS edition FROM {numbers})"
            hashed = f"SELECT *, hash(*COLUMNS(*)) AS row_hash FROM ({rows})"
            if not _is_there(con, entity):
                con.execute(f"CREATE TABLE {table} AS {hashed}")
                continue
            moved = f"SELECT {key} FROM {numbers} WHERE {only}"
            con.execute(f"DELETE FROM {table} WHERE source_id IN ({moved})")
            con.execute(f"INSERT INTO {table} {hashed} WHERE source_id IN ({moved})")


def staged(warehouse: Path, entities: Iterable[LmsEntity] = tuple(_ROWS)) -> dict[LmsEntity, dict[str, dict[str, Any]]]:
    """Every staged row by its key."""
    with connect(warehouse) as con:
        found = {}
        for entity in entities:
            rows = con.execute(f"FROM staging.{entity.staging_table}")
            names = [column[0] for column in rows.description]
            found[entity] = {row[0]: dict(zip(names, row, strict=True)) for row in rows.fetchall()}
        return found


def _is_there(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> bool:
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'staging' AND table_name = $1"
    return con.execute(query, [entity.staging_table]).fetchone() is not None
