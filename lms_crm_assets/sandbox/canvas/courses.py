"""Courses, and their assignments: the five activities that a school's courses have."""

import re
from typing import Any

from lms_crm_assets.sandbox.canvas.paging import numbered
from lms_crm_assets.sandbox.canvas.users import check_account
from lms_crm_assets.sandbox.canvas.wire import ACCOUNT_ID, Answer, Call, Handler, not_found
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Store

_ACTIVITY = re.compile(r"activity-([1-9][0-9]?)")
_ACTIVITIES = 5
_DEFAULT_TERM = {"id": 1, "name": "Default Term", "start_at": None, "end_at": None, "created_at": None}


def course_of(call: Call) -> Row:
    """The course of the path, by its number or `sis_course_id:…`; 404 when it isn't there."""
    text: str = call.path["course_id"]
    if text.startswith("sis_course_id:"):
        course_id: str | None = text.removeprefix("sis_course_id:")
    else:
        course_id = call.store.row_id("courses", int(text)) if text.isascii() and text.isdigit() else None
    course = call.store.get("courses", course_id)
    if course is None:
        raise not_found()
    return course


def assignment_id(course_id: str, item_id: Any) -> int | None:
    """The assignment of an activity, `activity-1` to `activity-99`; none for any other item."""
    found = _ACTIVITY.fullmatch(str(item_id))
    return integer_id(course_id) * 100 + int(found[1]) if found else None


def assignments_of(store: Store, course: Row) -> list[str]:
    """The activities of a course: the five, and those that only changed scores name."""
    named = {row["item_id"] for row in store.changed_of_course("scores", course["id"])}
    own = {f"activity-{number}" for number in range(1, _ACTIVITIES + 1)}
    known = [item for item in own | named if assignment_id(course["id"], item) is not None]
    return sorted(known, key=lambda item: assignment_id(course["id"], item) or 0)


def _course_json(call: Call, course: Row) -> Row:
    number = integer_id(course["id"])
    found = {
        "id": number,
        "name": course["title"],
        "account_id": ACCOUNT_ID,
        "uuid": f"sandbox{number}",
        "start_at": course["starts_at"],
        "end_at": course["ends_at"],
        "created_at": course["updated_at"],
        "course_code": course["code"],
        "default_view": "modules",
        "root_account_id": ACCOUNT_ID,
        "enrollment_term_id": _DEFAULT_TERM["id"],
        "grading_standard_id": None,
        "is_public": False,
        "license": "private",
        "public_syllabus": False,
        "storage_quota_mb": 500,
        "apply_assignment_group_weights": False,
        "calendar": {"ics": f"{call.root}/feeds/calendars/course_{number}.ics"},
        "time_zone": "Etc/UTC",
        "blueprint": False,
        "template": False,
        "sis_course_id": course["id"],
        "sis_import_id": None,
        "integration_id": None,
        "hide_final_grades": False,
        "restrict_enrollments_to_course_dates": False,
        "workflow_state": _state(course),
    }
    return found | {"term": _DEFAULT_TERM} if "term" in call.many("include") else found


def _state(course: Row) -> str:
    return "available" if course["visible"] else "unpublished"


def _courses(call: Call) -> Answer:
    check_account(call)
    states = call.many("state")
    term = (call.one("search_term") or "").lower()
    found = [
        course
        for _, course in call.store.rows("courses")
        if (call.shown is None or call.shown(course["id"]))
        and (not states or "all" in states or _state(course) in _meant(states))
        and any(term in (text or "").lower() for text in (course["title"], course["code"]))
    ]
    page, links = numbered(call, found)
    return Answer([_course_json(call, course) for course in page], links)


def _meant(states: list[str]) -> set[str]:
    """The states as courses show them; inside Canvas an unpublished one is `created` or `claimed`."""
    return {"unpublished" if state in {"created", "claimed"} else state for state in states}


def _course(call: Call) -> Answer:
    return Answer(_course_json(call, course_of(call)))


def _assignments(call: Call) -> Answer:
    course = course_of(call)
    page, links = numbered(call, assignments_of(call.store, course))
    return Answer([_assignment_json(call, course, item) for item in page], links)


def _assignment(call: Call) -> Answer:
    course = course_of(call)
    for item in assignments_of(call.store, course):
        if str(assignment_id(course["id"], item)) == call.path["assignment_id"]:
            return Answer(_assignment_json(call, course, item))
    raise not_found()


def _assignment_json(call: Call, course: Row, item: str) -> Row:
    number, course_number = assignment_id(course["id"], item), integer_id(course["id"])
    return {
        "id": number,
        "name": item.replace("-", " ").capitalize(),
        "description": None,
        "course_id": course_number,
        "assignment_group_id": course_number,
        "position": int(item.removeprefix("activity-")),
        "points_possible": 100.0,
        "grading_type": "points",
        "submission_types": ["online_quiz"],
        "due_at": None,
        "unlock_at": None,
        "lock_at": None,
        "published": True,
        "workflow_state": "published",
        "omit_from_final_grade": False,
        "created_at": course["updated_at"],
        "updated_at": course["updated_at"],
        "html_url": f"{call.root}/courses/{course_number}/assignments/{number}",
    }


ROUTES: dict[str, Handler] = {
    "/api/v1/accounts/{account_id}/courses": _courses,
    "/api/v1/courses/{course_id}": _course,
    "/api/v1/courses/{course_id}/assignments": _assignments,
    "/api/v1/courses/{course_id}/assignments/{assignment_id}": _assignment,
}
