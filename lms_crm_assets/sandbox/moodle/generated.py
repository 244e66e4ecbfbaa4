"""A school's rows as the tables of `Site`, made from the rows that were recorded.

- Ids: `lrn-0000001` is user 5 and `crs-0000001` course 2, after the accounts and the front page of every site; their
  ID numbers are `EMP00001` and `CRS-<code>`.
- A learner without an address has an empty one, which web services leave out. A deleted learner is deleted the way
  Moodle does it, the school's tombstones too, and has neither enrolments nor ratings.
- Enrolments: active and completed ones are `Active`, suspended ones `Suspended`, expired ones `Not current`. Moodle has
  no invited, withdrawn or unpaid enrolment and none without a course, so those are none.
- The course score is the `Grade`, HTML where the school's is; an activity score is the grade of one of five assignments
  that each course has.
- The competencies have the school's codes; a course teaches the one of its number.
"""

import gc
from collections.abc import Iterator
from functools import cache
from sys import intern

from lms_crm_assets.sandbox.moodle.recorded import (
    PARTICIPANTS,
    enrolment_key,
    mangled,
    rating_key,
    recorded_courses,
    recorded_users,
    recording,
    report_columns,
)
from lms_crm_assets.sandbox.moodle.tables import Contents, Row
from lms_crm_assets.sandbox.school.generator import School
from lms_crm_assets.sandbox.school.layout import PREFIXES, Size, epoch
from lms_crm_assets.sandbox.school.names import FRAMEWORK

_FIRST_USER, _FIRST_COURSE = 5, 2
_STATUSES = {"active": "Active", "completed": "Active", "suspended": "Suspended", "expired": "Not current"}
_COMPLETED = {"completed": "Yes", "in_progress": "No", "not_started": ""}
_ROLES = {"student": "Student", "teacher": "Teacher"}


def school_contents(size: Size) -> Contents:
    """The tables of a school of that size: 600 MB and half a minute for half a million enrollments."""
    # The collector would walk the growing tables again and again, for a third of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _contents(School(size))
    finally:
        if collects:
            gc.enable()


def _contents(school: School) -> Contents:
    users, courses = _users(school), _courses(school)
    enrolments: dict[str, Row] = {}
    ratings: dict[str, Row] = {}
    activities: dict[str, Row] = {}
    for number, enrolment in _enrolments(school, users):
        key = enrolment_key(enrolment)
        enrolment["Grade"], activity = _grades(school, number)
        enrolments[key] = enrolment
        if activity is not None:
            activities[key] = activity
        for row_id in school.ids("competencies", number):
            rating = _rating(school.last("competencies", row_id, number), enrolment["userid"])
            ratings[rating_key(rating)] = rating
    competencies = _competencies(courses)
    framework = recording("competency_frameworks")[0]
    return Contents(
        users=users,
        courses=courses,
        enrolments=enrolments,
        ratings=ratings,
        activities=activities,
        frameworks=[{**framework, "shortname": FRAMEWORK, "competenciescount": len(competencies)}],
        competencies=competencies,
        until=school.end,
    )


def _id(entity: str, number: int) -> str:
    return f"{PREFIXES[entity]}-{number + 1:07d}"


def _users(school: School) -> dict[int, Row]:
    recorded = recorded_users()
    users = {user_id: recorded[user_id] for user_id in range(1, _FIRST_USER)}
    for number in range(school.numbers("learners")):
        row = school.last("learners", _id("learners", number), number)
        tombstone = school.is_tombstone("learners", number)
        deleted = tombstone or row["status"] == "deleted"
        user = {
            **recorded[_FIRST_USER],
            "id": _FIRST_USER + number,
            "username": row["username"],
            "firstname": row["given_name"],
            "lastname": row["family_name"],
            "fullname": f"{row['given_name']} {row['family_name']}",
            "email": row["email"] or "",
            "institution": row["organization"],
            "country": row["country"],
            "idnumber": f"EMP{number + 1:05d}",
            "suspended": row["status"] == "suspended",
            "timecreated": school.start,
            "timemodified": school.updated("learners", number),
            "deleted": deleted,
        }
        if tombstone:
            user |= mangled(user, user["timemodified"])
        if deleted:
            del user["idnumber"]
        users[user["id"]] = user
    return users


def _courses(school: School) -> dict[int, Row]:
    recorded = recorded_courses()
    courses = {1: recorded[1]}
    count = school.numbers("courses")
    for number in range(count):
        row = school.last("courses", _id("courses", number), number)
        courses[_FIRST_COURSE + number] = {
            **recorded[_FIRST_COURSE],
            "id": _FIRST_COURSE + number,
            "shortname": row["code"],
            "fullname": row["title"],
            "displayname": row["title"],
            "idnumber": f"CRS-{row['code']}",
            "startdate": _seconds(row["starts_at"]),
            "enddate": _seconds(row["ends_at"]),
            "visible": int(row["visible"]),
            # The newest course comes first.
            "sortorder": 20_000 + count - number,
            "timemodified": school.updated("courses", number),
            "imageid": 208 + 3 * (_FIRST_COURSE + number),
        }
    return courses


def _competencies(courses: dict[int, Row]) -> list[Row]:
    template = recording("competency_list")[0]
    return [
        {
            **template,
            "id": course_id - 1,
            "idnumber": f"CMP-{course_id - 1:04d}",
            "shortname": course["fullname"],
            "description": f"<p>{course['fullname']}</p>",
            "sortorder": course_id - _FIRST_COURSE,
        }
        for course_id, course in courses.items()
        if course_id >= _FIRST_COURSE
    ]


def _enrolments(school: School, users: dict[int, Row]) -> Iterator[tuple[int, Row]]:
    """The enrolments that Moodle has, each with its number in the school."""
    manual = "Manual enrolments"
    blank = dict.fromkeys(report_columns(PARTICIPANTS), "") | {"Plugin": manual, "Method": manual}
    for number in range(school.numbers("enrollments")):
        row = school.row("enrollments", _id("enrollments", number), number)
        if row is None or row["status"] not in _STATUSES or row["course_id"].startswith("crs-gone-"):
            continue
        user_id = _FIRST_USER + int(row["learner_id"][4:]) - 1
        if users[user_id]["deleted"]:
            continue
        completion = school.last("completions", _id("completions", number), number)
        yield (
            number,
            {
                **blank,
                "Status": _STATUSES[row["status"]],
                "Time created": _seconds(row["enrolled_at"]),
                "Time started": _seconds(row["starts_at"]),
                "Time ended": _seconds(row["ends_at"]),
                "Role": _ROLES[row["role"]],
                "Completed": _COMPLETED[completion["state"]],
                "Time completed": _seconds(completion["completed_at"]),
                "Student progress": intern(f"{completion['progress_pct']}.0%"),
                "userid": user_id,
                "courseid": _FIRST_COURSE + int(row["course_id"][4:]) - 1,
            },
        )


def _grades(school: School, number: int) -> tuple[str, Row | None]:
    """The course grade as it is shown, and the activity's."""
    grade, activity = "", None
    for row_id in school.ids("scores", number):
        row = school.last("scores", row_id, number)
        if row["item_type"] == "course":
            grade = row["raw"] if isinstance(row["raw"], str) else intern(f"{row['raw']:.2f}")
        else:
            item = int(row["item_id"].rpartition("-")[2])
            activity = {"item": item, "raw": row["raw"], "graded": _seconds(row["graded_at"])}
    return grade, activity


def _rating(row: Row, user_id: int) -> Row:
    return {
        "framework_idnumber": recording("competency_frameworks")[0]["idnumber"],
        "competency_idnumber": intern(row["competency"]["code"]),
        "name": intern(row["competency"]["name"]),
        "status": "Idle",
        "proficient": "Yes" if row["proficient"] else "No",
        "rating": row["rating"],
        "userid": user_id,
    }


def _seconds(time: str | None) -> int:
    """Epoch seconds of a time in UTC to the second, 0 for none."""
    return _midnight(time[:10]) + _second_of_day(time[11:19]) if time else 0


@cache
def _midnight(day: str) -> int:
    return epoch(f"{day}T00:00:00Z")


@cache
def _second_of_day(clock: str) -> int:
    hour, minute, second = map(int, clock.split(":"))
    return (hour * 60 + minute) * 60 + second
