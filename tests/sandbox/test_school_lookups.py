"""Rows of the generated school by course, by learner and by number: as if all rows were filtered."""

import pytest

from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import ENTITIES, Row, Size
from lms_crm_assets.sandbox.school.store import Store

LINKED = ["enrollments", "completions", "scores", "competencies"]


@pytest.fixture
def store() -> Store:
    """A school with moved, deleted and created rows."""
    store = Store(Size(learners=400, courses=5, enrollments=1000))
    numbers = [row["id"] for row in everything(store, "enrollments")]
    moves: list[Row] = [{"course_id": "crs-0000002"}, {"learner_id": "lrn-0000009"}, {"course_id": "crs-gone-0001"}]
    for row_id, fields in zip(numbers[10:13], moves, strict=True):
        store.mutate({"object": "enrollments", "op": "update", "id": row_id, "fields": fields})
    store.mutate({"object": "enrollments", "op": "update", "id": numbers[10], "fields": {"course_id": "crs-0000003"}})
    store.mutate({"object": "enrollments", "op": "delete", "id": numbers[20]})
    for entity in LINKED:
        pair = {"learner_id": "lrn-0000009", "course_id": "crs-0000002"}
        store.mutate({"object": entity, "op": "create", "fields": pair})
        store.mutate({"object": entity, "op": "create", "id": "by hand", "fields": pair})
    return store


def everything(store: Store, entity: str) -> list[Row]:
    return [row for _, row in store.rows(entity)]


@pytest.mark.parametrize("entity", LINKED)
def test_lookups_find_what_a_filter_finds(store: Store, entity: str) -> None:
    rows = everything(store, entity)
    for course in {row["course_id"] for row in rows} - {None} | {"crs-0000099", "nothing"}:
        of_course = [row for row in rows if row["course_id"] == course]
        assert list(store.of_course(entity, course)) == of_course
        for row in of_course[::7]:
            assert list(store.of_course(entity, course, row["id"])) == of_course[of_course.index(row) + 1 :]
    for learner in {row["learner_id"] for row in rows} | {"lrn-0000999", "nothing"}:
        assert list(store.of_learner(entity, learner)) == [row for row in rows if row["learner_id"] == learner]
    for row in rows[:50] + rows[-2:]:
        if row["course_id"] is not None:
            pair = row["learner_id"], row["course_id"]
            found = [other for other in rows if (other["learner_id"], other["course_id"]) == pair]
            assert list(store.of_pair(entity, *pair)) == found


def test_lookups_are_the_same_after_a_restart(store: Store) -> None:
    again = Store.load(store.dump())
    for entity in LINKED:
        assert list(again.of_course(entity, "crs-0000002")) == list(store.of_course(entity, "crs-0000002"))


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_row_has_a_number_that_leads_back_to_it(store: Store, entity: str) -> None:
    ids = [row["id"] for row in everything(store, entity)]
    assert len({integer_id(row_id) for row_id in ids}) == len(ids)
    assert [store.row_id(entity, integer_id(row_id)) for row_id in ids] == ids


def test_numbers_are_those_of_the_ids(store: Store) -> None:
    assert integer_id("lrn-0000012") == 12
    assert (integer_id("scr-0000012-1"), integer_id("scr-0000012-2")) == (23, 24)
    assert integer_id("crs-gone-0003") >= 1_000_000_000
    assert store.row_id("courses", integer_id("crs-gone-0003")) is None
    assert store.row_id("learners", 0) is None
    assert store.row_id("learners", 99_999) is None


def test_a_course_of_a_large_school_is_found_quickly() -> None:
    store = Store(Size(learners=50_000, courses=100, enrollments=200_000))
    rows = list(store.of_course("enrollments", "crs-0000007"))
    assert 1500 < len(rows) < 2500
    assert {row["course_id"] for row in rows} == {"crs-0000007"}
