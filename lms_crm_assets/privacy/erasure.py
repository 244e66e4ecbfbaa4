"""Taking one learner's rows out of every table of a warehouse; shared rows, such as courses, stay.

Tables are found by their columns, so that a new one of the known kinds is not forgotten about.
"""

from collections import defaultdict
from collections.abc import Iterator

import duckdb

from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.privacy.person import Person, raw_rows
from lms_crm_assets.warehouse.sql import literal, quoted, table_exists

WITHHELD = "(withheld: it named a learner who was forgotten)"
"""What stands in place of a message about somebody else's record that quoted the learner."""

_STAGED = {entity.staging_table: entity for entity in LmsEntity}
_FEED = "staging.changes"


def erase_rows(con: duckdb.DuckDBPyConnection, person: Person) -> dict[str, int]:
    """Delete the learner's rows; gives their number by table. The caller commits, or takes it back to have counted.

    In the feed of changes their rows become deletes, which hold ids alone, so that its readers learn of them.
    """
    counts: dict[str, int] = {}
    for entity in LmsEntity:
        rowids = [rowid for rowid, _ in raw_rows(con, entity, person)]
        if rowids:
            counts[f"raw_lms.{entity}"] = _deleted(
                con, f"raw_lms.{entity}", "rowid IN (SELECT unnest($1::BIGINT[]))", rowids
            )
    for table, condition in _conditions(con, person):
        if number := _deleted(con, table, condition):
            counts[table] = counts.get(table, 0) + number
    if told := _tell_deleted(con, person):
        counts[_FEED] = told
    for table, number in _withhold_messages(con, person):
        counts[f"{table} (messages)"] = number
    return counts


def _conditions(con: duckdb.DuckDBPyConnection, person: Person) -> Iterator[tuple[str, str]]:
    """Each table that may hold rows of a learner, and which are theirs."""
    by_object = " OR ".join(
        f"(object = {literal(obj)} AND external_id IN ({_literals(person, obj.entity)}))"
        for obj in CrmObject
        if person.keys.get(obj.entity)
    )
    by_entity = " OR ".join(
        f"(entity = {literal(entity)} AND source_id IN ({_literals(person, entity)}))" for entity in person.keys
    )
    for schema, table, columns in _tables(con):
        name = f"{schema}.{quoted(table)}"
        if {"object", "external_id"} <= columns and by_object:
            yield name, by_object
        elif {"entity", "source_id"} <= columns and f"{schema}.{table}" != _FEED:
            if by_entity:
                yield name, by_entity
            if "row" in columns and person.names:
                # A row without an id is known by what it holds.
                names = ", ".join(literal(each) for each in sorted(person.names))
                yield (
                    name,
                    (
                        f"entity = 'learners' AND source_id IS NULL AND (lower(\"row\"->>'email') IN ({names})"
                        f" OR lower(\"row\"->>'username') IN ({names}))"
                    ),
                )
        elif (entity := _one_of(schema, table)) and person.keys.get(entity):
            key = "source_id" if schema == "staging" else "external_id"
            yield name, f"{key} IN ({_literals(person, entity)})"


def _tables(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, set[str]]]:
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    query = (
        "SELECT c.schema_name, c.table_name, c.column_name FROM duckdb_columns() c JOIN duckdb_tables() t"
        " USING (database_name, schema_name, table_name) WHERE c.database_name = current_catalog() AND NOT t.temporary"
    )
    for schema, table, column in con.execute(query).fetchall():
        found[schema, table].add(column)
    return [(schema, table, columns) for (schema, table), columns in sorted(found.items())]


def _one_of(schema: str, table: str) -> LmsEntity | None:
    """Whose rows a table of one entity or object holds."""
    if schema == "staging":
        return _STAGED.get(table)
    name = table.removeprefix("desired_") if schema == "delta" else table
    return CrmObject(name).entity if schema in {"delta", "crm_snapshot"} and name in list(CrmObject) else None


def _tell_deleted(con: duckdb.DuckDBPyConnection, person: Person) -> int:
    conditions = " OR ".join(
        f"(entity = {literal(entity)} AND source_id IN ({_literals(person, entity)}))" for entity in person.keys
    )
    if not conditions or not table_exists(con, "staging", "changes"):
        return 0
    rows = con.execute(
        "UPDATE staging.changes AS known SET op = 'delete', row_hash = NULL, changed_at = now(),"
        " changed_no = moved.changed_no FROM (SELECT rowid AS r, (SELECT max(changed_no) FROM staging.changes)"
        f" + row_number() OVER () AS changed_no FROM staging.changes WHERE op <> 'delete' AND ({conditions})) moved"
        " WHERE known.rowid = moved.r"
    ).fetchall()
    return int(rows[0][0])


def _withhold_messages(con: duckdb.DuckDBPyConnection, person: Person) -> Iterator[tuple[str, int]]:
    """What the CRM said of others' records may quote the learner: an address that is taken, say."""
    words = [word.decode() for word in person.words() if not word.startswith(b'"')]
    for schema, table, columns in _tables(con) if words else ():
        if "message" not in columns:
            continue
        rows = con.execute(
            f"UPDATE {schema}.{quoted(table)} SET message = {literal(WITHHELD)}"
            " WHERE len(list_filter($1::VARCHAR[], lambda word: contains(lower(message), word))) > 0",
            [words],
        ).fetchall()
        if rows[0][0]:
            yield f"{schema}.{table}", int(rows[0][0])


def _deleted(con: duckdb.DuckDBPyConnection, table: str, condition: str, rowids: list[int] | None = None) -> int:
    rows = con.execute(f"DELETE FROM {table} WHERE {condition}", None if rowids is None else [rowids]).fetchall()
    return int(rows[0][0])


def _literals(person: Person, entity: LmsEntity) -> str:
    return ", ".join(literal(key) for key in sorted(person.keys.get(entity, ())))
