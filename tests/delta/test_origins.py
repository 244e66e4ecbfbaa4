"""The lineage that is told of columns against the SQL that makes them."""

import pytest
from sqlglot import exp
from sqlglot.lineage import lineage

from lms_crm_assets.contract.canonical import COLUMNS, EXTRA_COLUMN, PARENTS, ROLL_UPS
from lms_crm_assets.delta.origins import key_origin, origins
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.staging import tables
from lms_crm_assets.warehouse.sql import sql_file

SCHEMA = {
    "staging": {
        entity.staging_table: dict.fromkeys(("source_id", *columns, "row_hash"), "VARCHAR")
        for entity, columns in tables.COLUMNS.items()
    }
}


def _made_of(obj: CrmObject, column: str) -> set[tuple[str, str]]:
    """The staged columns from which the object's SQL makes a column, by sqlglot."""
    name = f"{obj}_progress" if column in ROLL_UPS else obj
    root = lineage(column, sql_file("lms_crm_assets.delta", f"sql/{name}.sql"), schema=SCHEMA, dialect="duckdb")
    leaves = [node for node in root.walk() if isinstance(node.source, exp.Table)]
    return {(node.source.name, node.name.rpartition(".")[2].strip('"')) for node in leaves}


@pytest.mark.parametrize("obj", CrmObject)
def test_a_column_comes_from_the_staged_columns_that_its_sql_reads(obj: CrmObject) -> None:
    for column in (*COLUMNS[obj], EXTRA_COLUMN):
        told = {(origin.entity.staging_table, origin.column) for origin in origins(obj, frozenset({column}))}
        assert told == _made_of(obj, column), column


@pytest.mark.parametrize("obj", [obj for obj in CrmObject if PARENTS[obj]])
def test_a_parent_is_named_by_the_column_that_the_sql_takes_for_it(obj: CrmObject) -> None:
    for parent in PARENTS[obj]:
        origin = key_origin(obj, parent)
        assert {(origin.entity.staging_table, origin.column)} == _made_of(obj, parent)


def test_columns_of_one_origin_tell_it_once() -> None:
    both = list(origins(CrmObject.CONTACT, frozenset({"courses_in_progress", "courses_completed"})))
    assert [(origin.entity, origin.column) for origin in both] == [
        (LmsEntity.COMPLETIONS, "course_id"),
        (LmsEntity.COMPLETIONS, "state"),
    ]
