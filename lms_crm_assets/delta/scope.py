"""What a run of events may change: the records that its events touch, with the parents that those need.

A run of events leaves alone what else differs: a full run beside it may be delivering just that.
"""

from collections.abc import Collection, Mapping

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.warehouse.sql import literal, table_exists

_CHILDREN = [LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES]
_PARENT_COLUMN = {CrmObject.CONTACT: "learner_id", CrmObject.COURSE: "course_id"}


def make_scope(
    con: duckdb.DuckDBPyConnection,
    spec: ObjectSpec,
    touched: Mapping[LmsEntity, Collection[str]],
    looked_at: Collection[str],
) -> None:
    """Make the temp table `scope`: `external_id`s of the object's records that may be changed.

    `touched`: keys of LMS rows. Their learners and courses are in it too, which may be new or have roll-ups of them, and
    what hangs on a touched learner or course; of a score its completion, of a course the learners whose roll-ups name it.
    `looked_at`: CRM ids of records that the CRM told of. What others changed in the CRM (`drift` and `conflict` of the temp
    table `different`) is in it where the last reading of changes found it.
    """
    obj = spec.object
    con.execute("CREATE OR REPLACE TEMP TABLE touched (entity VARCHAR, source_id VARCHAR)")
    for entity, keys in touched.items():
        con.execute(f"INSERT INTO touched SELECT {literal(entity)}, unnest($1::VARCHAR[])", [list(keys)])
    con.execute("CREATE OR REPLACE TEMP TABLE looked_at AS SELECT unnest($1::VARCHAR[]) AS crm_id", [list(looked_at)])
    parts = [
        f"SELECT source_id AS external_id FROM touched WHERE entity = {literal(obj.entity)}",
        f"SELECT external_id FROM crm_snapshot.{obj} SEMI JOIN looked_at USING (crm_id)",
        f"SELECT g.external_id FROM sync.ledger g SEMI JOIN looked_at USING (crm_id) WHERE g.object = {literal(obj)}",
        _changed_by_others(obj),
    ]
    if (column := _PARENT_COLUMN.get(obj)) is not None:
        parts += [_of_rows(entity, f"c.{column}") for entity in _CHILDREN if _is_staged(con, entity)]
    if obj.entity in _CHILDREN:
        # A child was refused for as long as nobody knew its parent.
        table = f"staging.{obj.entity.staging_table}"
        parts += [
            f"SELECT source_id FROM {table} WHERE {column} IN"
            f" (SELECT source_id FROM touched WHERE entity = {literal(parent.entity)})"
            for parent, column in _PARENT_COLUMN.items()
        ]
    if obj is CrmObject.CONTACT and _is_staged(con, LmsEntity.COMPLETIONS):
        parts.append(
            "SELECT learner_id FROM staging.completion WHERE course_id IN"
            f" (SELECT source_id FROM touched WHERE entity = {literal(LmsEntity.COURSES)})"
        )
    if obj is CrmObject.COMPLETION and _is_staged(con, LmsEntity.SCORES):
        parts.append(
            _of_rows(LmsEntity.SCORES, "o.source_id", "JOIN staging.completion o USING (learner_id, course_id)")
        )
    con.execute(f"CREATE OR REPLACE TEMP TABLE scope AS FROM ({' UNION '.join(parts)}) WHERE external_id IS NOT NULL")
    con.execute("DROP TABLE touched; DROP TABLE looked_at")


def _changed_by_others(obj: CrmObject) -> str:
    return (
        f"SELECT d.external_id FROM different d JOIN crm_snapshot.{obj} s USING (external_id)"
        " WHERE d.class IN ('drift', 'conflict') AND s.captured_at ="
        f" (SELECT changes_read_at FROM crm_snapshot.captures WHERE object = {literal(obj)})"
    )


def _of_rows(entity: LmsEntity, column: str, joined: str = "") -> str:
    return (
        f"SELECT {column} FROM staging.{entity.staging_table} c {joined}"
        f" WHERE c.source_id IN (SELECT source_id FROM touched WHERE entity = {literal(entity)})"
    )


def _is_staged(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> bool:
    return table_exists(con, "staging", entity.staging_table)
