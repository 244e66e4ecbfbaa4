"""The feed of canonical rows: whoever pages through it while rows change ends with the same rows."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.staging.feed import note_changes
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import sql_file

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEARNERS, COURSES = LmsEntity.LEARNERS, LmsEntity.COURSES


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return _empty()


def _empty() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.execute(sql_file("lms_crm_assets.warehouse", "schema.sql"))
    for entity in (LEARNERS, COURSES):
        found.execute(f"CREATE TABLE staging.{entity.staging_table} (source_id VARCHAR, row_hash UBIGINT)")
    return found


def _put(
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, rows: dict[str, int], refused: frozenset[str] = frozenset()
) -> None:
    """A build that finds these rows, keys and contents, and refuses those."""
    con.execute(f"DELETE FROM staging.{entity.staging_table}")
    con.execute("DELETE FROM staging.quarantine WHERE entity = $1", [entity])
    for key in refused:
        con.execute("INSERT INTO staging.quarantine (entity, source_id) VALUES ($1, $2), ($1, NULL)", [entity, key])
    for key, content in rows.items():
        con.execute(f"INSERT INTO staging.{entity.staging_table} VALUES ($1, $2)", [key, content])
    note_changes(con, entity, NOW)


def _feed(con: duckdb.DuckDBPyConnection, after: int = 0) -> list[tuple[int, str, str, str]]:
    query = "SELECT changed_no, entity, source_id, op FROM staging.changes WHERE changed_no > $1 ORDER BY 1"
    return con.execute(query, [after]).fetchall()


def test_a_row_that_changes_again_moves_to_the_end(con: duckdb.DuckDBPyConnection) -> None:
    _put(con, LEARNERS, {"a": 1, "b": 1})
    last = _feed(con)[-1][0]
    _put(con, LEARNERS, {"a": 2, "b": 1})
    assert [row[1:] for row in _feed(con, last)] == [("learners", "a", "upsert")]
    assert len(_feed(con)) == 2


def test_a_build_that_finds_the_same_tells_nothing(con: duckdb.DuckDBPyConnection) -> None:
    _put(con, LEARNERS, {"a": 1, "b": 1}, frozenset({"c"}))
    before = _feed(con)
    _put(con, LEARNERS, {"b": 1, "a": 1}, frozenset({"c"}))
    assert _feed(con) == before
    assert {row[2] for row in before} == {"a", "b"}, "a row that was never valid is not in the feed"


def test_gone_and_refused_rows_are_told_apart_and_come_back(con: duckdb.DuckDBPyConnection) -> None:
    _put(con, LEARNERS, {"a": 1, "b": 1})
    _put(con, LEARNERS, {}, frozenset({"b"}))
    assert {row[2]: row[3] for row in _feed(con)} == {"a": "delete", "b": "refused"}
    last = _feed(con)[-1][0]
    _put(con, LEARNERS, {"a": 1})
    assert {row[2]: row[3] for row in _feed(con, last)} == {"a": "upsert", "b": "delete"}


def test_numbers_are_never_used_twice_also_across_entities(con: duckdb.DuckDBPyConnection) -> None:
    seen: list[int] = []
    for content in range(5):
        for entity in (LEARNERS, COURSES):
            before = max(seen, default=0)
            _put(con, entity, {"a": content})
            new = [row[0] for row in _feed(con, before)]
            assert len(new) == 1
            seen += new
    assert seen == sorted(set(seen))


def test_one_identity_for_as_long_as_the_warehouse_lives(tmp_path: Path) -> None:
    found = set()
    for _ in range(2):
        with connect(tmp_path / "w.duckdb") as con:
            con.execute("CREATE TABLE IF NOT EXISTS staging.learner (source_id VARCHAR, row_hash UBIGINT)")
            note_changes(con, LEARNERS, NOW)
            found |= {row[0] for row in con.execute("FROM staging.feed").fetchall()}
    assert len(found) == 1


STATES = st.lists(
    st.tuples(
        st.sampled_from([LEARNERS, COURSES]),
        st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2), max_size=5),
        st.frozensets(st.sampled_from("abcde"), max_size=2),
        st.integers(0, 4),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[duckdb.DuckDBPyConnection]:
    with _empty() as con:
        yield con


@settings(max_examples=40, deadline=None)
@given(STATES, st.integers(1, 3))
def test_a_consumer_that_pages_while_rows_change_ends_with_the_tables_rows(
    shared: duckdb.DuckDBPyConnection,
    builds: list[tuple[LmsEntity, dict[str, int], frozenset[str], int]],
    limit: int,
) -> None:
    con, position = shared, 0
    for table in ("learner", "course", "quarantine", "changes"):
        con.execute(f"DELETE FROM staging.{table}")
    held: dict[tuple[str, str], int] = {}

    def page() -> bool:
        nonlocal position
        rows = _feed(con, position)[:limit]
        for number, entity, key, op in rows:
            position = number
            if op == "upsert":
                table = LmsEntity(entity).staging_table
                [(content,)] = con.execute(
                    f"SELECT row_hash FROM staging.{table} WHERE source_id = $1", [key]
                ).fetchall()
                held[entity, key] = content
            else:
                held.pop((entity, key), None)
        return bool(rows)

    for entity, rows, refused, pages in builds:
        _put(con, entity, {key: content for key, content in rows.items() if key not in refused}, refused)
        for _ in range(pages):
            page()
    while page():
        pass
    there = {
        (entity.value, key): content
        for entity in (LEARNERS, COURSES)
        for key, content in con.execute(f"FROM staging.{entity.staging_table}").fetchall()
    }
    assert held == there
