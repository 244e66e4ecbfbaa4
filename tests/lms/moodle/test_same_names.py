"""Rows of the participants report that name a course or a person by nothing, or by what others have too."""

from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.protocol import Page
from tests.lms.moodle.site import Door, landed, pulled, refused, staged
from tests.lms.moodle.test_reports import RETRIEVE, report_of

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, *_ = LmsEntity


def parents(learners: dict[str, str], courses: dict[str, str]) -> list[Page]:
    def learner(key: str, username: str) -> RawRecord:
        return RawRecord(key, {"id": key, "username": username, "email": f"a{key}@b.test", "lastname": "L"})

    known = [learner(*item) for item in learners.items()]
    return [
        Page(LEARNERS, known),
        Page(COURSES, [RawRecord(key, {"id": key, "fullname": "C", "idnumber": n}) for key, n in courses.items()]),
    ]


def row(
    username: str, number: str, *, status: str = "Active", role: str = "Student", created: str = "", completed: str = ""
) -> list[str]:
    method = "Manual enrolments"
    return ["", username, "", number, method, method, status, created, "", "", role, completed, "", "", ""]


def read(
    door: Door, con: duckdb.DuckDBPyConnection, folder: Path, known: list[Page], rows: list[list[str]]
) -> dict[LmsEntity, dict[str, dict[str, object]]]:
    door.answers[RETRIEVE] = report_of(rows)
    door.answers["core_course_get_courses_by_field"] = lambda asked: {
        "courses": [{"id": 2, "idnumber": asked["value"]}]
    }
    landed(con, folder, [*known, *pulled(door, [ENROLLMENTS, COMPLETIONS], reports={"participants": 1})])
    return staged(con, ENROLLMENTS, COMPLETIONS)


def test_courses_without_a_number_are_no_one_course(door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    known = parents({"5": "ada", "6": "bob"}, {"2": "N", "3": "", "4": ""})

    found = read(
        door, con, tmp_path, known, [row("ada", "N"), row("ada", "", completed="Yes"), row("ada", ""), row("bob", "")]
    )

    assert found[ENROLLMENTS].keys() == found[COMPLETIONS].keys() == {"5:2"}
    assert refused(con) == {"LMS-204": 6}


@pytest.mark.parametrize(
    ("learners", "courses"), [({"5": "ada", "6": "ada"}, {"2": "N"}), ({"5": "ada"}, {"2": "N", "3": "N"})]
)
def test_a_name_that_two_have_is_nobody(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path, learners: dict[str, str], courses: dict[str, str]
) -> None:
    found = read(door, con, tmp_path, parents(learners, courses), [row("ada", "N")])

    assert found == {ENROLLMENTS: {}, COMPLETIONS: {}}
    assert sum(refused(con).values()) == 2


MONDAY, TUESDAY = "Monday, 23 November 2026, 10:50 PM", "Tuesday, 24 November 2026, 10:50 PM"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("rows", "status", "role"),
    [
        ([row("ada", "N", created=MONDAY), row("ada", "N", status="Suspended", created=TUESDAY)], "active", "student"),
        ([row("ada", "N", role="Teacher"), row("ada", "N", status="Suspended")], "active", "teacher"),
        ([row("ada", "N", role="Teacher"), row("ada", "N")], "active", "student"),
    ],
)
def test_two_methods_of_one_name_and_two_roles_are_two_rows(
    door: Door,
    con: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    *,
    rows: list[list[str]],
    status: str,
    role: str,
    turned: bool,
) -> None:
    known = parents({"5": "ada"}, {"2": "N"})

    found = read(door, con, tmp_path, known, rows[::-1] if turned else rows)

    assert {(r["status"], r["role"]) for r in found[ENROLLMENTS].values()} == {(status, role)}


def test_a_status_that_is_unknown_is_shown_not_hidden(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    rows = [row("ada", "N"), row("ada", "N", status="Aktiv", created=MONDAY)]

    found = read(door, con, tmp_path, parents({"5": "ada"}, {"2": "N"}), rows)

    assert found[ENROLLMENTS] == {}
    assert refused(con)["LMS-105"] == 1
