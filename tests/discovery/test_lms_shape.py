"""The shape of what an LMS sends, and how it changed."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from lms_crm_assets.discovery.changes import Effect
from lms_crm_assets.discovery.lms_changes import ShapeChange, compare_shapes, standing_shapes, unread_attributes
from lms_crm_assets.discovery.lms_shape import (
    SAMPLE_ROWS,
    Shape,
    accept_newest_shapes,
    drop_shapes,
    is_read,
    newest_shape,
    sample,
    shape_baseline,
    shape_of,
    store_shape,
)
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.landing import ensure_raw_table
from lms_crm_assets.staging.attributes import read_attributes
from lms_crm_assets.warehouse.connection import connect

NOON, DAY = datetime(2026, 11, 20, 12, tzinfo=UTC), timedelta(days=1)
LEARNERS = LmsEntity.LEARNERS
READ = {"id": None, "name": None, "user": {"email": None}, "tags": None}


def shaped(*records: Any) -> Shape:
    return shape_of(orjson.dumps(record).decode() for record in records)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        ensure_raw_table(found, LEARNERS)
        yield found


def test_a_shape_tells_paths_types_and_how_many_have_them() -> None:
    shape = shaped({"id": 1, "user": {"email": None}, "tags": ["a"]}, {"id": "x", "ok": True, "user": {}}, ["none"])

    assert shape.records == 3
    found = {path: (each.types, each.records) for path, each in shape.attributes.items()}
    assert found == {
        "id": (("number", "text"), 2),
        "ok": (("boolean",), 1),
        "tags": (("list",), 1),
        "user": (("object",), 2),
        "user.email": ((), 1),
    }


def test_a_key_that_is_a_value_is_told_to_nobody() -> None:
    shape = shaped({"ada@example.test": {"seen": 1}, "Ada Lovelace": 2, "by": {"555-1234 ": 1}, "fine": 1})

    assert set(shape.attributes) == {"by", "fine"}


def test_a_document_ends_at_some_depth_and_some_number_of_attributes() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep}

    assert set(shaped(deep).attributes) == {"a", "a.a", "a.a.a", "a.a.a.a"}
    assert len(shaped({f"a{number}": 1 for number in range(2000)}).attributes) == 500


BEFORE = shaped(*({"id": n, "name": "Ada", "user": {"email": "a"}, "free": 1} for n in range(4)), {"id": 5, "tags": []})


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"id": 1, "name": "B", "user": {"email": "b"}, "free": 2, "tags": None}, []),
        ({"id": 1, "name": None, "user": {"email": None}, "free": None, "tags": []}, []),
        ({"id": 1.5, "name": "B", "user": {"email": "b"}, "free": 2, "tags": []}, []),
        ({"id": 1, "user": {"email": "b"}, "free": 2, "tags": []}, [("name", ShapeChange.GONE, Effect.ALERT)]),
        ({"id": 1, "name": "B", "free": 2, "tags": []}, [("user", ShapeChange.GONE, Effect.ALERT)]),
        (
            {"id": 1, "name": "B", "user": {"email": "b"}, "free": 2},
            [("tags", ShapeChange.GONE, Effect.NOTE)],
        ),
        (
            {"id": 1, "name": "B", "user": {"email": "b"}, "tags": []},
            [("free", ShapeChange.GONE, Effect.NOTE)],
        ),
        (
            {"id": "1", "name": "B", "user": {"email": "b"}, "free": "2", "tags": []},
            [("id", ShapeChange.TYPE, Effect.ALERT), ("free", ShapeChange.TYPE, Effect.NOTE)],
        ),
        (
            {"id": 1, "name": "B", "user": {"email": "b"}, "free": 2, "tags": [], "new": {"inner": 1}},
            [("new", ShapeChange.NEW, Effect.NOTE)],
        ),
    ],
)
def test_a_change_has_its_effect(after: dict[str, Any], told: list[tuple[str, ShapeChange, Effect]]) -> None:
    found = compare_shapes(BEFORE, shaped(after), READ, unread="kept in extra")

    assert [(each.attribute, each.change, each.effect) for each in found] == told
    assert all(each.remedy for each in found)


def test_what_becomes_of_a_new_attribute_is_said() -> None:
    [ignored] = compare_shapes(BEFORE, shaped({"new": 1}, *_of_before()), READ, unread="ignored")
    [kept] = compare_shapes(BEFORE, shaped({"new": 1}, *_of_before()), READ, unread="kept in extra")

    assert (ignored.after, "unknown_attributes: keep" in ignored.remedy) == ("number, ignored", True)
    assert (kept.after, kept.remedy) == ("number, kept in extra", "nothing")


def _of_before() -> list[dict[str, Any]]:
    return [{"id": 1, "name": "B", "user": {"email": "b"}, "free": 2, "tags": []}]


@pytest.mark.parametrize(
    ("path", "expected"), [("id", True), ("user", True), ("user.email", True), ("user.age", False), ("tags.x", True), ("free", False)]
)  # fmt: skip
def test_what_the_adapter_reads_is_known_by_path(path: str, expected: bool) -> None:  # noqa: FBT001
    assert is_read(path, READ) is expected


def test_the_newest_rows_are_looked_at_and_of_many_the_same_ones(con: duckdb.DuckDBPyConnection) -> None:
    def land(count: int, payload: str, at: datetime, *, deleted: bool = False) -> None:
        con.execute(
            "INSERT INTO raw_lms.learners BY NAME SELECT $1 || i AS source_id, $1 AS payload, $2 AS is_deleted,"
            " $3 AS observed_at FROM range($4) r(i)",
            [payload, deleted, at, count],
        )

    assert sample(con, LmsEntity.SCORES) == []
    land(SAMPLE_ROWS * 2, '{"old":1}', NOON)
    assert len(sample(con, LEARNERS)) == SAMPLE_ROWS
    assert sorted(sample(con, LEARNERS)) == sorted(sample(con, LEARNERS))
    land(3, '{"new":1}', NOON + DAY)
    land(3, '{"gone":1}', NOON + 2 * DAY, deleted=True)
    land(1, f'{{"large":"{"x" * 70_000}"}}', NOON + 2 * DAY)
    assert {name: each.records for name, each in shape_of(sample(con, LEARNERS)).attributes.items()} == {
        "new": 3,
        "old": SAMPLE_ROWS - 4,
    }


def test_a_change_stands_until_it_is_accepted(con: duckdb.DuckDBPyConnection) -> None:
    whole = {"id": "a", "email": "a@example.test", "status": "active"}
    without = {name: value for name, value in whole.items() if name != "email"}
    store_shape(con, LEARNERS, shape_of([]), NOON - DAY, asked="changes here")
    assert newest_shape(con, LEARNERS) is None
    for number, record in enumerate([whole, without, whole, without, {**without, "more": 1}]):
        store_shape(con, LEARNERS, shaped(record), NOON + number * DAY, asked="changes here")

    found = standing_shapes(con, LEARNERS, "changes", keeps_unknown=True)
    assert [(each.change.attribute, each.change.effect, each.since) for each in found] == [
        ("email", Effect.ALERT, date(2026, 11, 23)),
        ("more", Effect.NOTE, date(2026, 11, 24)),
    ]
    accept_newest_shapes(con, NOON + 5 * DAY)
    assert standing_shapes(con, LEARNERS, "changes", keeps_unknown=True) == []
    drop_shapes(con, date(2027, 1, 1))
    seen = newest_shape(con, LEARNERS)
    assert seen is not None
    assert (seen.at, unread_attributes(seen.shape, read_attributes("changes", LEARNERS))) == (NOON + 4 * DAY, ["more"])

    store_shape(con, LEARNERS, shaped(whole), NOON + 6 * DAY, asked="changes elsewhere")
    other = shape_baseline(con, LEARNERS)
    assert other is not None
    assert (other.asked, other.shape) == ("changes elsewhere", shaped(whole))
