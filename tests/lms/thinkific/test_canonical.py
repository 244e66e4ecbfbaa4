"""Thinkific's rows as canonical ones: an enrollment tells both the enrollment and the completion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.warehouse.connection import connect
from tests.lms.pulls import quarantined, stage_rows

LEARNERS, COURSES = LmsEntity.LEARNERS, LmsEntity.COURSES
ENROLLMENTS, COMPLETIONS = LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS
USER = {"id": 7, "email": "ada@x.test", "first_name": "Ada", "last_name": "Lovelace", "company": "Engines"}


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with one learner and one course of Thinkific."""
    with connect(tmp_path / "w.duckdb") as found:
        stage_rows(found, tmp_path, "thinkific", LEARNERS, ("7", USER))
        stage_rows(
            found, tmp_path, "thinkific", COURSES, ("3", {"id": 3, "name": "Sums", "slug": "sums", "product_id": 4})
        )
        stage_rows(found, tmp_path, "thinkific", ENROLLMENTS)
        yield found


def enrollment(number: int = 1, **changes: Any) -> tuple[str, dict[str, Any]]:
    row = {
        "id": number,
        "user_id": 7,
        "course_id": 3,
        "activated_at": "2026-01-05T00:00:00.000Z",
        "started_at": None,
        "completed": False,
        "percentage_completed": "0.0",
        "completed_at": None,
        "expired": False,
        "expiry_date": None,
        "updated_at": "2026-02-05T00:00:00.000Z",
        "is_free_trial": False,
    }
    return str(number), {**row, **changes}


def rows(con: duckdb.DuckDBPyConnection, table: str, columns: str) -> list[Any]:
    return con.execute(f"SELECT {columns} FROM staging.{table} ORDER BY source_id").fetchall()


def test_users_and_courses(con: duckdb.DuckDBPyConnection) -> None:
    learner = "source_id, username, email, given_name, family_name, organization, status, source_updated_at"
    assert rows(con, "learner", learner) == [
        ("7", "ada@x.test", "ada@x.test", "Ada", "Lovelace", "Engines", "active", None)
    ]
    assert rows(con, "course", "source_id, code, title, visible, extra") == [
        ("3", "sums", "Sums", None, '{"product_id":4}')
    ]


def test_every_enrollment_has_one_word(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage_rows(
        con,
        tmp_path,
        "thinkific",
        ENROLLMENTS,
        enrollment(1),
        enrollment(2, completed=True, percentage_completed="1.0"),
        enrollment(3, activated_at=None),
        enrollment(4, activated_at="2027-01-01T00:00:00Z"),
        enrollment(5, expired=True, completed=True),
        enrollment(6, expired="perhaps"),
    )

    assert rows(con, "enrollment", "source_id, status") == [
        ("1", "active"),
        ("2", "active"),
        ("3", "invited"),
        ("4", "invited"),
        ("5", "expired"),
    ]
    assert quarantined(con) == {("LMS-105", "status")}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ("not_started", 0, None)),
        ({"started_at": "2026-01-06T00:00:00Z"}, ("in_progress", 0, None)),
        ({"percentage_completed": "0.125"}, ("in_progress", 12.5, None)),
        ({"percentage_completed": 0.5}, ("in_progress", 50, None)),
        (
            {"percentage_completed": "1.0", "completed": True, "completed_at": "2026-01-07T00:00:00Z"},
            ("completed", 100, "exact"),
        ),
        ({"percentage_completed": "1.0", "completed": True}, ("completed", 100, "unknown")),
        ({"percentage_completed": "1.0", "completed_at": "2026-01-07T00:00:00Z"}, ("in_progress", 100, None)),
    ],
)
def test_progress_is_a_share_of_one(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, changes: dict[str, Any], wanted: tuple[Any, ...]
) -> None:
    stage_rows(con, tmp_path, "thinkific", COMPLETIONS, enrollment(**changes))

    assert rows(con, "completion", "source_id, state, progress_pct::DOUBLE, completed_at_precision") == [
        ("7:3", *wanted)
    ]


def test_who_enrolled_twice_has_one_completion_the_furthest(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    both = enrollment(1, percentage_completed="0.8"), enrollment(2, percentage_completed="0.3")
    stage_rows(con, tmp_path, "thinkific", COMPLETIONS, *both)
    assert rows(con, "completion", "source_id, progress_pct::DOUBLE") == [("7:3", 80)]

    again = enrollment(2, percentage_completed="0.3", completed=True)
    stage_rows(con, tmp_path, "thinkific", COMPLETIONS, both[0], again)
    assert rows(con, "completion", "source_id, state") == [("7:3", "completed")]


def test_what_cannot_be_read_is_refused_with_a_code(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage_rows(
        con,
        tmp_path,
        "thinkific",
        ENROLLMENTS,
        enrollment(1, activated_at="2026-01-05"),
        enrollment(2, user_id=8),
        ("(row 3 has no id)", None),
        ("(row 4 has no id)", {"id": {}}),
    )
    assert rows(con, "enrollment", "source_id") == []
    assert {("LMS-102", "enrolled_at"), ("LMS-203", "learner_id"), ("LMS-101", "source_id")} <= quarantined(con)

    stage_rows(con, tmp_path, "thinkific", COMPLETIONS, enrollment(1, percentage_completed="half"))
    assert ("LMS-102", "progress_pct") in quarantined(con)


@pytest.mark.parametrize("entity", [LmsEntity.SCORES, LmsEntity.COMPETENCIES])
def test_there_are_no_scores_and_competencies(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, entity: LmsEntity
) -> None:
    assert stage_rows(con, tmp_path, "thinkific", entity).in_lms == 0
