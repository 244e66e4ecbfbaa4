"""Moodle's functions for completion, grades and competencies."""

import re
from functools import cache
from typing import Any

from lms_crm_assets.sandbox.moodle.functions import Call, function, is_active, percent
from lms_crm_assets.sandbox.moodle.recorded import enrolment_key, grade_number, recording
from lms_crm_assets.sandbox.moodle.rest import Default, MoodleError, moodle_exception
from lms_crm_assets.sandbox.moodle.site import Site
from lms_crm_assets.sandbox.moodle.tables import Row

_ASSIGNMENTS = 5


def _active_user(call: Call, user_id: int) -> Row:
    """`core_user::require_active_user`: an account that exists and isn't deleted; a suspended one passes."""
    if user_id not in call.site.users:
        raise MoodleError("dml_missing_record_exception", "invaliduser", "Invalid user")
    if call.site.users[user_id]["deleted"]:
        raise moodle_exception("userdeleted", "This user account has been deleted")
    return call.site.users[user_id]


@function("core_completion_get_course_completion_status", courseid=int, userid=int)
def get_course_completion_status(call: Call, courseid: int, userid: int) -> Row:
    """Recorded for users 5 and 6 of course 2; for the others derived from the participants report.

    Two criteria, as recorded: a page read (second to be met) and an assignment graded (first). Moodle gives no
    completion time of the course.
    """
    call.course(courseid)
    _active_user(call, userid)
    enrolment = call.site.enrolments.get(f"{userid}:{courseid}")
    if enrolment is None or not is_active(enrolment):
        raise moodle_exception("usernotenroled", "User is not enrolled in this course")
    recorded = recording("completion_status_complete")["completionstatus"]["completions"]
    met = {0.0: 0, 100.0: 2}.get(float(percent(enrolment)), 1)
    when = _criteria_met(call.site, enrolment)
    completions = []
    for criterion, needed in zip(recorded, (2, 1), strict=True):
        done = met >= needed
        details = dict(criterion["details"])
        # Course 2 holds the modules 2 and 3, the next course 4 and 5.
        module = 2 * (courseid - 2) + (2 if needed == 2 else 3)  # noqa: PLR2004 - module ids
        details["criteria"] = re.sub(r"id=\d+", f"id={module}", details["criteria"])
        state = {"status": "Yes" if done else "No", "complete": done, "timecompleted": when if done else None}
        completions.append({**criterion, **state, "details": details})
    status = {"completed": enrolment["Completed"] == "Yes", "aggregation": 1, "completions": completions}
    return {"completionstatus": status, "warnings": []}


def _criteria_met(site: Site, enrolment: Row) -> int:
    """When the criteria were met: of the recorded site when it was seeded, not its `Time completed`."""
    if site.school is not None:
        return int(enrolment["Time completed"] or enrolment["Time created"])
    seeded = {"5:2": 1795474229, "6:2": 1795474234}
    return seeded.get(enrolment_key(enrolment)) or int(enrolment["Time created"])


@function("gradereport_user_get_grade_items", courseid=int, userid=Default(int, 0), groupid=Default(int, 0))
def get_grade_items(call: Call, courseid: int, userid: int, **_: Any) -> Row:
    """Recorded for course 2; for the others one item, the course total of the participants report.

    Active enrolments only, in the order of the last names. A grade of course 2 that was changed loses its assignment.
    A school's courses have five assignments each.
    """
    course = call.course(courseid)
    if userid:
        _active_user(call, userid)
    one = call.site.enrolments.get(f"{userid}:{courseid}")
    rows = ([one] if one else []) if userid else call.site.enrolments.where("courseid", courseid)
    people = [(call.site.users[row["userid"]], row) for row in rows if is_active(row) and call.lists(row["userid"])]
    people.sort(key=lambda pair: (pair[0]["lastname"], pair[0]["firstname"], pair[0]["id"]))
    grades = [
        {
            "courseid": courseid,
            "courseidnumber": course["idnumber"],
            "userid": user["id"],
            "userfullname": user["fullname"],
            "useridnumber": user.get("idnumber", ""),
            "maxdepth": 2,
            "gradeitems": _grade_items(call.site, row),
        }
        for user, row in people
    ]
    return {"usergrades": grades, "warnings": []}


def _grade_items(site: Site, enrolment: Row) -> list[Row]:
    course_id, shown = enrolment["courseid"], enrolment["Grade"]
    recorded = _recorded_items()
    if site.school is None and course_id == 2:  # noqa: PLR2004 - recorded
        items = recorded.get(enrolment["userid"], [])
        if items and items[-1]["gradeformatted"] == (shown or "-"):
            return items
    assignment, total = next(iter(recorded.values()))
    graded = enrolment["Time completed"] or enrolment["Time created"]
    ids = {"id": 2 * course_id - 3, "iteminstance": course_id - 1}
    course_total = {**total, **ids, **_graded(shown, graded)}
    if site.school is None:
        return [course_total]
    activity = site.activities.get(enrolment_key(enrolment), {})
    items = []
    for number in range(1, _ASSIGNMENTS + 1):
        own = activity if activity.get("item") == number else {}
        instance = _ASSIGNMENTS * (course_id - 2) + number
        # Beyond the ids of the course totals.
        ids = {"id": 1_000_000 + instance, "iteminstance": instance, "cmid": 1_000_000 + instance}
        given = _graded(f"{own['raw']:.2f}" if own else "", own.get("graded", 0))
        items.append({**assignment, **ids, "itemname": f"Activity {number}", "gradedatesubmitted": None, **given})
    return [*items, course_total]


def _graded(shown: str, when: int) -> Row:
    """What a grade item says of the grade; `shown` is empty for none."""
    number = grade_number(shown) if shown else None
    return {
        "graderaw": number,
        "gradedategraded": when if shown else None,
        "gradeformatted": shown or "-",
        "percentageformatted": f"{number:.2f} %" if shown else "-",
        "feedbackformat": 2 if shown else 0,
    }


@cache
def _recorded_items() -> dict[int, list[Row]]:
    """The recorded grade items of course 2 by user: its assignment and the total."""
    return {row["userid"]: row["gradeitems"] for row in recording("grade_items_all_users")["usergrades"]}


@function(
    "core_competency_list_competency_frameworks",
    sort=Default(str, "shortname"),
    order=Default(str, ""),
    skip=Default(int, 0),
    limit=Default(int, 0),
    context={"contextid": Default(int, 0), "contextlevel": Default(str, ""), "instanceid": Default(int, 0)},
    includes=Default(str, "children"),
    onlyvisible=Default(int, 0),
    query=Default(str, ""),
)
def list_competency_frameworks(call: Call, query: str, skip: int, limit: int, **_: Any) -> list[Row]:
    """One framework."""
    call.require_capability("View competency framework")
    rows = [row for row in call.site.frameworks if query in row["shortname"] or query in row["idnumber"]]
    return _page(rows, skip, limit)


@function(
    "core_competency_list_competencies",
    filters=[{"column": str, "value": str}],
    sort=Default(str, ""),
    order=Default(str, ""),
    skip=Default(int, 0),
    limit=Default(int, 0),
)
def list_competencies(
    call: Call, *, filters: list[dict[str, str]], sort: str, order: str, skip: int, limit: int
) -> list[Row]:
    """The competencies, filtered by equality, sorted and paged."""
    call.require_capability("View competency framework")
    rows = [
        row for row in call.site.competencies if all(str(row.get(item["column"])) == item["value"] for item in filters)
    ]
    rows.sort(key=lambda row: row[sort] if sort in row else row["id"], reverse=order.upper() == "DESC")
    return _page(rows, skip, limit)


def _page(rows: list[Row], skip: int, limit: int) -> list[Row]:
    return rows[skip : skip + limit if limit else None]


@function("core_competency_list_course_competencies", id=int)
def list_course_competencies(call: Call, **parameters: int) -> list[Row]:
    """Recorded for course 2; for the others derived from whom report 3 rates: course n has CE-(n-1) and CE-n.

    A school's course teaches the one competency of its number.
    """
    course_id = parameters["id"]
    call.course(course_id)
    recorded = recording("course_competencies")
    school = call.site.school is not None
    if course_id == 2 and not school:  # noqa: PLR2004 - the recorded course
        return list(recorded)
    taught = {course_id - 1} if school else {course_id - 1, course_id}
    linked = [row for row in call.site.competencies if row["id"] in taught]
    link = recorded[0]["coursecompetency"]
    return [
        {
            "competency": row,
            "coursecompetency": {**link, "courseid": course_id, "competencyid": row["id"], "sortorder": position}
            | {"id": 2 * course_id - 3 + position},
        }
        for position, row in enumerate(sorted(linked, key=lambda row: int(row["id"])))
    ]
