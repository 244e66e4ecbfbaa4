"""What was read last about somebody in a course counts, whatever enrolment methods older rows name."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.protocol import Page
from tests.lms.moodle.site import NOW, landed, staged

LEARNERS, COURSES, ENROLLMENTS, *_ = LmsEntity
PARENTS = [
    Page(LEARNERS, [RawRecord("5", {"id": 5, "username": "u5", "email": "a@b.test", "lastname": "L"})]),
    Page(COURSES, [RawRecord("2", {"id": 2, "fullname": "C", "idnumber": "N"})]),
]
GONE = RawRecord("5:2", {"userid": "5", "courseid": "2"}, is_deleted=True)


def row(method: str, status: str, *, alone: bool = False, deleted: bool = False) -> RawRecord:
    cells = ["", "u5", "", "N", method, method, status, "", "", "", "Student", "", "", "", ""]
    payload = {"columns": cells, "alone": True} if alone else {"columns": cells}
    return RawRecord(f"u5:N:{method}", payload, is_deleted=deleted)


@pytest.mark.parametrize(
    ("pulls", "status"),
    [
        # One pull, two methods: the most active one.
        ([[row("A", "Suspended"), row("B", "Active")]], "active"),
        # A fetch reads all methods: what it doesn't give is no more.
        ([[row("A", "Active"), row("B", "Suspended")], [row("B", "Suspended")]], "suspended"),
        (
            [[row("A", "Active"), row("B", "Suspended")], [row("A", "Active", deleted=True), row("B", "Suspended")]],
            "suspended",
        ),
        # An incremental pull reads one row of several.
        ([[row("A", "Active")], [row("B", "Suspended", alone=True)]], "active"),
        ([[row("A", "Suspended")], [row("B", "Active", alone=True)]], "active"),
        ([[row("A", "Active", alone=True)], [row("B", "Suspended", alone=True)]], "active"),
        ([[row("A", "Active", alone=True)], [row("B", "Suspended")]], "suspended"),
        # Gone from the course, by both methods.
        ([[row("A", "Active"), row("B", "Active")], [GONE]], None),
        # And back again.
        ([[row("A", "Active")], [GONE], [row("A", "Suspended", alone=True)]], "suspended"),
    ],
)
def test_the_newest_reading_of_somebody_in_a_course_counts(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, pulls: list[list[RawRecord]], status: str | None
) -> None:
    at: datetime = NOW
    landed(con, tmp_path, PARENTS, at=at)
    for records in pulls:
        landed(con, tmp_path, [Page(ENROLLMENTS, records)], at=at, complete=False)
        at += timedelta(hours=1)

    rows = staged(con, ENROLLMENTS)[ENROLLMENTS]

    assert {key: found["status"] for key, found in rows.items()} == ({"5:2": status} if status else {})
