"""What a run of events may change: the records that its events touch, with the parents that those need.

A run of events leaves alone what else differs: a full run beside it may be delivering just that.
"""

from collections.abc import Collection, Mapping

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.snapshot.capture import parent_column
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_CHILDREN = [LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES]
_PARENT_CONTACT = parent_column(CrmObject.CONTACT)


def make_scope(
    con: duckdb.DuckDBPyConnection,
    spec: ObjectSpec,
    touched: Mapping[LmsEntity, Collection[str]],
    looked_at: Mapping[CrmObject, Collection[str]],
) -> None:
    """Make the temp table `scope`: `external_id`s of the object's records that may be changed.

    `touched`: keys of LMS rows. Their learners and courses are in it too, which may be new or have roll-ups of them, and
    what else hangs on these learners, or on a touched course: of a score its completion, of an enrollment that went what
    went with it.
    `looked_at`: CRM ids of records that the CRM told of, with what hangs on them: one that was deleted there is made anew, and
    its links with it. What others changed in the CRM (`drift` and `conflict` of the temp
    table `different`) is in it where the last reading of changes found it.
    """
    obj = spec.object
    con.execute("CREATE OR REPLACE TEMP TABLE touched (entity VARCHAR, source_id VARCHAR)")
    for entity, keys in touched.items():
        con.execute(f"INSERT INTO touched SELECT {literal(entity)}, unnest($1::VARCHAR[])", [list(keys)])
    con.execute("CREATE OR REPLACE TEMP TABLE looked_at (object VARCHAR, crm_id VARCHAR)")
    for other, ids in looked_at.items():
        con.execute(f"INSERT INTO looked_at SELECT {literal(other)}, unnest($1::VARCHAR[])", [list(ids)])
    con.execute(f"CREATE OR REPLACE TEMP TABLE learners AS {' UNION '.join(_learners(con))}")
    parts = [
        f"SELECT source_id AS external_id FROM touched WHERE entity = {literal(obj.entity)}",
        f"SELECT external_id FROM crm_snapshot.{obj} JOIN looked_at l USING (crm_id) WHERE l.object = {literal(obj)}",
        _written_as(obj),
        _changed_by_others(obj),
    ]
    if obj is CrmObject.CONTACT:
        parts.append("SELECT learner_id FROM learners")
        if _is_staged(con, LmsEntity.COMPLETIONS):
            parts.append(
                f"SELECT learner_id FROM staging.completion WHERE course_id IN ({_touched(LmsEntity.COURSES)})"
            )
    elif obj is CrmObject.COURSE:
        parts += [
            f"SELECT course_id FROM staging.{entity.staging_table} WHERE source_id IN ({_touched(entity)})"
            for entity in _CHILDREN
            if _is_staged(con, entity)
        ]
    else:
        # What hangs on a learner: a row was refused for as long as nobody knew its parent, and goes with it.
        table = f"staging.{obj.entity.staging_table}"
        courses = f"{_touched(LmsEntity.COURSES)} UNION {_written_as(CrmObject.COURSE)}"
        parts.append(f"SELECT source_id FROM {table} WHERE learner_id IN (FROM learners) OR course_id IN ({courses})")
        parts.append(_of_contacts(spec, "learners"))
    con.execute(f"CREATE OR REPLACE TEMP TABLE scope AS FROM ({' UNION '.join(parts)}) WHERE external_id IS NOT NULL")
    con.execute("DROP TABLE touched; DROP TABLE looked_at; DROP TABLE learners")


def _learners(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Queries of the learners that are touched, or whose rows are: as the LMS says it now, and as the CRM has it."""
    found = [
        f"SELECT source_id AS learner_id FROM touched WHERE entity = {literal(LmsEntity.LEARNERS)}",
        _written_as(CrmObject.CONTACT),
    ]
    for entity in _CHILDREN:
        if _is_staged(con, entity):
            table = f"staging.{entity.staging_table}"
            found.append(f"SELECT learner_id FROM {table} WHERE source_id IN ({_touched(entity)})")
    found += [
        f"SELECT c.external_id FROM crm_snapshot.contact c JOIN crm_snapshot.{obj} s"
        f" ON list_contains(string_split(s.{_PARENT_CONTACT}, ';'), c.crm_id)"
        f" WHERE s.external_id IN ({_touched(obj.entity)})"
        for obj in CrmObject
        if obj.entity in _CHILDREN and _has_column(con, obj)
    ]
    return [f"SELECT learner_id FROM ({query}) t(learner_id) WHERE learner_id IS NOT NULL" for query in found]


def _of_contacts(spec: ObjectSpec, learners: str) -> str:
    """The object's records that the CRM links to these learners' contacts."""
    if CrmObject.CONTACT not in spec.parents:
        return "SELECT NULL WHERE false"
    return (
        f"SELECT s.external_id FROM crm_snapshot.{spec.object} s JOIN crm_snapshot.contact c"
        f" ON list_contains(string_split(s.{_PARENT_CONTACT}, ';'), c.crm_id)"
        f" WHERE c.external_id IN (FROM {learners})"
    )


def _written_as(obj: CrmObject) -> str:
    """The keys of the object's records that the CRM told of, as we wrote them: they may be gone there."""
    return f"SELECT g.external_id FROM sync.ledger g SEMI JOIN looked_at USING (object, crm_id) WHERE g.object = {literal(obj)}"


def _touched(entity: LmsEntity) -> str:
    return f"SELECT source_id FROM touched WHERE entity = {literal(entity)}"


def _has_column(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> bool:
    """Whether the object was captured with its links to contacts, and the contacts were."""
    query = (
        "SELECT count(*) FROM duckdb_columns() WHERE schema_name = 'crm_snapshot' AND"
        f" ((table_name = {literal(obj)} AND column_name = {literal(_PARENT_CONTACT)})"
        " OR (table_name = 'contact' AND column_name = 'crm_id'))"
    )
    return int(scalar(con, query)) == 2  # noqa: PLR2004 - both


def _changed_by_others(obj: CrmObject) -> str:
    return (
        f"SELECT d.external_id FROM different d JOIN crm_snapshot.{obj} s USING (external_id)"
        " WHERE d.class IN ('drift', 'conflict') AND s.captured_at ="
        f" (SELECT changes_read_at FROM crm_snapshot.captures WHERE object = {literal(obj)})"
    )


def _is_staged(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> bool:
    return table_exists(con, "staging", entity.staging_table)
