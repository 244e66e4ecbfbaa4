"""Canvas's rows as canonical ones: words, names, scores, and one row where Canvas has several."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.canvas import records
from lms_crm_assets.warehouse.connection import connect
from tests.lms.pulls import quarantined, stage_rows

LEARNERS, COURSES, ENROLLMENTS = LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS
COMPLETIONS, SCORES, COMPETENCIES = LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES
USER = {"id": 7, "name": "Ada Lovelace", "sortable_name": "Lovelace, Ada", "login_id": "ada", "email": "ada@x.test"}
COURSE = {"id": 3, "name": "Sums", "course_code": "S1", "workflow_state": "available"}


class Staged:
    """A warehouse with one learner and one course of Canvas."""

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.con, self._folder = con, folder
        self.add(LEARNERS, USER)
        self.add(COURSES, COURSE)
        self.add(ENROLLMENTS)

    def add(self, entity: LmsEntity, *payloads: dict[str, Any]) -> None:
        rows = [(f"{payload.get('id', '')}#{n}", payload) for n, payload in enumerate(payloads)]
        if entity in {LEARNERS, COURSES}:
            rows = [(str(payload["id"]), payload) for payload in payloads]
        stage_rows(self.con, self._folder, "canvas", entity, *rows)

    def rows(self, entity: LmsEntity, columns: str) -> list[Any]:
        query = f"SELECT {columns} FROM staging.{entity.staging_table} ORDER BY source_id"
        return [row[0] if len(row) == 1 else row for row in self.con.execute(query).fetchall()]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Staged]:
    with connect(tmp_path / "w.duckdb") as con:
        yield Staged(con, tmp_path)


def enrollment(number: int, state: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "user_id": 7,
        "course_id": 3,
        "type": "StudentEnrollment",
        "enrollment_state": state,
        "created_at": "2026-01-05T00:00:00Z",
        "updated_at": "2026-02-05T00:00:00Z",
        **changes,
    }


def test_each_state_of_an_enrollment_has_one_word(staged: Staged) -> None:
    words = {
        "active": "active",
        "invited": "invited",
        "creation_pending": "invited",
        "inactive": "suspended",
        "completed": "expired",
        "deleted": "withdrawn",
        "rejected": "withdrawn",
    }
    staged.add(COURSES, *({**COURSE, "id": n} for n in range(len(words))))

    staged.add(ENROLLMENTS, *(enrollment(n, state, course_id=n) for n, state in enumerate(words)))

    assert staged.rows(ENROLLMENTS, "source_id, role, status") == [
        (f"7:{n}:student", "student", status) for n, status in enumerate(words.values())
    ]


@pytest.mark.parametrize("state", ["pending_review", "", None, 3])
def test_a_word_that_nobody_knows_is_refused_with_a_code(staged: Staged, state: Any) -> None:
    staged.add(ENROLLMENTS, enrollment(1, state), enrollment(2, "active"))

    assert staged.rows(ENROLLMENTS, "status") == []
    assert quarantined(staged.con) == {("LMS-101" if state in {"", None} else "LMS-105", "status")}


def test_the_most_active_of_several_sections_counts_and_the_key_outlives_a_move(staged: Staged) -> None:
    first, second = enrollment(1, "active", course_section_id=11), enrollment(2, "invited", course_section_id=12)
    teacher = enrollment(3, "active", type="TeacherEnrollment")

    staged.add(ENROLLMENTS, first, second, teacher)
    before = staged.rows(ENROLLMENTS, "source_id, status")
    staged.add(ENROLLMENTS, {**first, "enrollment_state": "deleted"}, {**second, "enrollment_state": "active"}, teacher)

    assert before == [("7:3:student", "active"), ("7:3:teacher", "active")]
    assert staged.rows(ENROLLMENTS, "source_id, status") == before


def test_deleted_enrollments_of_deleted_people_are_nobody_s(staged: Staged) -> None:
    staged.add(ENROLLMENTS, enrollment(1, "deleted", user_id=8), enrollment(2, "active", user_id=9))

    assert staged.rows(ENROLLMENTS, "source_id") == []
    assert quarantined(staged.con) == {("LMS-203", "learner_id")}


def test_times_with_an_offset_are_moments_and_others_are_refused(staged: Staged) -> None:
    staged.add(ENROLLMENTS, enrollment(1, "active", created_at="2026-01-05T01:00:00+01:00"))
    assert staged.rows(ENROLLMENTS, "epoch(enrolled_at)::BIGINT, epoch(source_updated_at)::BIGINT") == [
        (1767571200, 1770249600)
    ]

    staged.add(ENROLLMENTS, enrollment(1, "active", start_at="2026-01-05T01:00:00"))
    assert quarantined(staged.con) == {("LMS-102", "starts_at")}


def test_names_are_those_of_the_user_or_made_of_the_sortable_one(staged: Staged) -> None:
    staged.add(
        LEARNERS,
        {**USER, "id": 1, "email": "1@x.test", "first_name": "Grace", "last_name": "Hopper"},
        {**USER, "id": 2, "email": "2@x.test"},
        {**USER, "id": 3, "email": "3@x.test", "sortable_name": "Plato", "name": "Plato", "sis_user_id": "S3"},
    )

    assert staged.rows(LEARNERS, "given_name, family_name, external_id, status") == [
        ("Grace", "Hopper", None, "active"),
        ("Ada", "Lovelace", None, "active"),
        (None, "Plato", "S3", "active"),
    ]


def test_a_course_has_its_own_dates_or_those_of_its_term(staged: Staged) -> None:
    term = {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-06-30T00:00:00Z", "name": "Spring"}
    staged.add(
        COURSES,
        {**COURSE, "id": 1, "term": term, "end_at": "2026-03-01T00:00:00Z"},
        {**COURSE, "id": 2, "workflow_state": "unpublished"},
        {**COURSE, "id": 3, "workflow_state": "completed"},
    )

    months = "month(starts_at AT TIME ZONE 'UTC'), month(ends_at AT TIME ZONE 'UTC'), visible"
    assert staged.rows(COURSES, months) == [(1, 3, True), (None, None, False), (None, None, True)]


@pytest.mark.parametrize(
    ("progress", "wanted"),
    [
        ({"requirement_count": 4, "requirement_completed_count": 0}, [("not_started", 0, None)]),
        ({"requirement_count": 3, "requirement_completed_count": 1}, [("in_progress", 33.33333, None)]),
        (
            {"requirement_count": 4, "requirement_completed_count": 4, "completed_at": "2026-03-01T00:00:00Z"},
            [("completed", 100, "exact")],
        ),
        ({"requirement_count": 4, "requirement_completed_count": 4}, [("completed", 100, "unknown")]),
        ({"requirement_count": 0, "requirement_completed_count": 0}, []),
        ({"requirement_count": "x", "requirement_completed_count": "y"}, []),
        ({}, []),
    ],
)
def test_progress_is_the_share_of_requirements(staged: Staged, progress: dict[str, Any], wanted: list[Any]) -> None:
    staged.add(COMPLETIONS, {"user_id": "7", "course_id": "3", "progress": progress})

    found = staged.rows(COMPLETIONS, "state, progress_pct::DOUBLE, completed_at_precision")
    assert found == wanted


def course_total(**grades: Any) -> dict[str, Any]:
    return {"user_id": "7", "course_id": "3", "grades": grades}


def test_a_course_s_score_is_the_current_one_unless_a_teacher_set_another(staged: Staged) -> None:
    staged.add(SCORES, course_total(current_score=80.5, final_score=40.0, current_grade="B"))
    score = "source_id, item_type, raw::DOUBLE, max::DOUBLE, pct::DOUBLE, text"
    assert staged.rows(SCORES, score) == [("7:3:course", "course", 80.5, 100, 80.5, "B")]

    staged.add(SCORES, course_total(current_score=80.5, override_score=95.0))
    assert staged.rows(SCORES, score) == [("7:3:course", "course", 95, 100, 95, None)]


def test_extra_credit_is_no_error(staged: Staged) -> None:
    activity = {
        "user_id": 7,
        "course_id": "3",
        "assignment_id": 5,
        "score": 12.0,
        "assignment": {"points_possible": 10},
    }
    staged.add(SCORES, course_total(current_score=104.2), activity, {**activity, "assignment_id": 6, "score": 5.0})

    assert staged.rows(SCORES, "item_id, raw::DOUBLE, max::DOUBLE, pct::DOUBLE") == [
        ("5", 12, None, 120),
        ("6", 5, 10, 50),
        ("course", 104.2, None, 104.2),
    ]
    assert quarantined(staged.con) == set()


def test_only_an_assignment_to_be_passed_tells_whether_it_was(staged: Staged) -> None:
    graded = [("pass_fail", "complete"), ("pass_fail", "incomplete"), ("points", "complete")]
    row = {"user_id": 7, "course_id": "3"}
    rows = [
        {**row, "assignment_id": n, "grade": grade, "assignment": {"grading_type": kind}}
        for n, (kind, grade) in enumerate(graded)
    ]
    staged.add(SCORES, *rows)

    assert staged.rows(SCORES, "passed, text") == [(True, "complete"), (False, "incomplete"), (None, "complete")]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": None, "grade": None},
        {"posted_at": None},
        {"excused": True},
        {"assignment_id": None},
        {"user_id": None},
    ],
)
def test_what_a_learner_may_not_know_yet_is_no_score(changes: dict[str, Any]) -> None:
    submission = {"user_id": 7, "assignment_id": 5, "score": 3, "grade": "3", "posted_at": "2026-03-01T00:00:00Z"}
    assert records.activity_score(submission, "3", {}) is not None

    assert records.activity_score({**submission, **changes}, "3", {}) is None


def result(number: int, score: float, day: int, **outcome: Any) -> dict[str, Any]:
    ratings = [{"description": "Able", "points": 3}, {"description": "On the way", "points": 1}]
    return {
        "id": number,
        "course_id": "3",
        "score": score,
        "submitted_or_assessed_at": f"2026-03-{day:02}T00:00:00Z",
        "links": {"user": "7", "learning_outcome": "4"},
        "outcome": {"title": "Adds", "vendor_guid": "K4", "mastery_points": 3, "ratings": ratings, **outcome},
        "path": ["Arithmetic", "Adds"],
    }


def test_the_latest_result_of_an_outcome_counts_or_the_highest_where_it_says_so(staged: Staged) -> None:
    columns = "source_id, code, name, framework, rating, proficient, day(rated_at AT TIME ZONE 'UTC')"

    staged.add(COMPETENCIES, result(1, 3, 2), result(2, 1, 9), result(3, 0, 5))
    assert staged.rows(COMPETENCIES, columns) == [("7:3:4", "K4", "Adds", "Arithmetic", "On the way", False, 9)]

    staged.add(COMPETENCIES, *(result(n, s, d, calculation_method="highest") for n, s, d in ((1, 3, 2), (2, 1, 9))))
    assert staged.rows(COMPETENCIES, columns) == [("7:3:4", "K4", "Adds", "Arithmetic", "Able", True, 2)]


def test_an_outcome_without_scales_shows_its_score(staged: Staged) -> None:
    row = result(1, 2.5, 2)
    staged.add(COMPETENCIES, {**row, "outcome": {"title": "Adds"}, "mastery": True, "path": []})

    assert staged.rows(COMPETENCIES, "code, framework, rating, proficient") == [("4", None, "2.5", True)]


@pytest.mark.parametrize("entity", [ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES])
def test_rows_of_no_shape_are_refused_and_stop_nothing(staged: Staged, tmp_path: Path, entity: LmsEntity) -> None:
    odd: list[Any] = [None, 3, "x", [], {}, {"user_id": {}, "grades": 3, "progress": [], "links": 1}]
    rows = [(f"(row {n} has no id)", payload) for n, payload in enumerate(odd)]

    counts = stage_rows(staged.con, tmp_path, "canvas", entity, *rows)

    assert (counts.in_lms > 0, counts.valid) == (True, 0)
