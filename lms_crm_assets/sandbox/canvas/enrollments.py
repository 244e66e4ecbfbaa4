"""Enrollments of a course and of a user, with their states and grades (Canvas source, `enrollments_api_controller.rb`).

`state[]` filters by the state that is kept for the enrollment; an enrollment whose course is gone still has one and is
shown as `deleted`. Without `state[]` an admin gets of a course all but completed, deleted and rejected ones; of a user
only active and invited ones.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from lms_crm_assets.sandbox.canvas.auth import POOR
from lms_crm_assets.sandbox.canvas.courses import course_of
from lms_crm_assets.sandbox.canvas.paging import bookmarked
from lms_crm_assets.sandbox.canvas.users import learner_id_of, user_json
from lms_crm_assets.sandbox.canvas.wire import ACCOUNT_ID, Answer, Call, Handler
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Position, Shown, Store

STUDENT = "StudentEnrollment"
_STATES = {
    "active": "active",
    "completed": "active",
    "invited": "invited",
    "suspended": "inactive",
    "expired": "completed",
    "withdrawn": "deleted",
}
_TYPES = {"teacher": "TeacherEnrollment", "ta": "TaEnrollment", "designer": "DesignerEnrollment"}
_ROLE_IDS = {STUDENT: 3, "TeacherEnrollment": 4, "TaEnrollment": 5, "DesignerEnrollment": 6}
_OF_COURSE = {"active", "invited", "creation_pending", "inactive"}
_OF_USER = {"active", "invited"}
_SYNTHETIC = {
    "current_and_invited": {"active", "invited"},
    "current_and_future": {"active", "invited", "creation_pending"},
    "current_future_and_restricted": {"active", "invited", "creation_pending", "inactive"},
    "current_and_concluded": {"active", "completed"},
}


def state_of(enrollment: Row, learner: Row) -> str:
    """The state that Canvas keeps for an enrollment; deleting a user deletes its enrollments."""
    if learner["status"] == "deleted":
        return "deleted"
    return _STATES.get(enrollment["status"], "creation_pending")


def type_of(enrollment: Row) -> str:
    """The enrollment's type; a role that Canvas doesn't have is a student's."""
    return _TYPES.get(enrollment["role"], STUDENT)


def students(
    store: Store, enrollments: Iterable[Row], states: set[str], shown: Shown = None
) -> Iterator[tuple[Row, Row]]:
    """Those of the enrollments that are students' and in these states, each with its learner."""
    for enrollment in enrollments:
        learner = store.get("learners", enrollment["learner_id"])
        if (
            learner is not None
            and (shown is None or shown(enrollment["id"]))
            and type_of(enrollment) == STUDENT
            and state_of(enrollment, learner) in states
        ):
            yield enrollment, learner


def _of_course(call: Call) -> Answer:
    course = course_of(call)
    if not call.viewer.privileged:
        return Answer([_own_enrollment(call, course)])
    states = set(call.many("state")) or _OF_COURSE
    if (user := call.one("user_id")) is not None:
        learner_id = learner_id_of(call, user)
        # As of a user: without `state[]` only active and invited ones.
        return _listing(call, "of_learner", learner_id, states if call.many("state") else _OF_USER, course["id"])
    return _listing(call, "of_course", course["id"], states, course["id"])


def _of_user(call: Call) -> Answer:
    if call.path["user_id"] in {"self", str(call.viewer.user_id)}:
        return Answer([])
    learner_id = learner_id_of(call, call.path["user_id"])
    call.need_privilege()
    asked = call.many("state")
    states = {state for name in asked for state in _SYNTHETIC.get(name, {name})} or _OF_USER
    return _listing(call, "of_learner", learner_id, states, None)


def _listing(call: Call, lookup: str, key: str, states: set[str], course_id: str | None) -> Answer:
    types = set(call.many("role") or call.many("type"))
    sis_ids = set(call.many("sis_user_id"))
    of = call.store.of_course if lookup == "of_course" else call.store.of_learner

    def rows(after: Position) -> Iterator[tuple[Position, Row]]:
        for row in of("enrollments", key, after[1]):
            learner = call.store.get("learners", row["learner_id"])
            if (
                learner is not None
                and row["course_id"] is not None
                and (course_id is None or row["course_id"] == course_id)
                and (call.shown is None or call.shown(row["id"]))
                and state_of(row, learner) in states
                and (not types or type_of(row) in types)
                and (not sis_ids or learner["id"] in sis_ids)
            ):
                yield (0, row["id"]), _enrollment_json(call, row, learner)

    return Answer(*bookmarked(call, rows))


def _enrollment_json(call: Call, row: Row, learner: Row) -> Row:
    course_number, user_number, kind = integer_id(row["course_id"]), integer_id(learner["id"]), type_of(row)
    course_exists = call.store.get("courses", row["course_id"]) is not None
    state = state_of(row, learner)
    found = {
        "id": integer_id(row["id"]),
        "user_id": user_number,
        "course_id": course_number,
        "type": kind,
        "created_at": row["enrolled_at"],
        "updated_at": row["updated_at"],
        "associated_user_id": None,
        "start_at": row["starts_at"],
        "end_at": row["ends_at"],
        "course_section_id": course_number,
        "root_account_id": ACCOUNT_ID,
        "limit_privileges_to_course_section": False,
        "enrollment_state": state if course_exists else "deleted",
        "role": kind,
        "role_id": _ROLE_IDS[kind],
        "last_activity_at": None if state == "invited" else row["updated_at"],
        "last_attended_at": None,
        "total_activity_time": 0,
        "sis_import_id": None,
        "sis_account_id": None,
        "sis_course_id": row["course_id"] if course_exists else None,
        "course_integration_id": None,
        "sis_section_id": None,
        "section_integration_id": None,
        "sis_user_id": None if learner["status"] == "deleted" else learner["id"],
        "html_url": f"{call.root}/courses/{course_number}/users/{user_number}",
        "user": user_json(learner, email="email" in call.many("include")),
    }
    return found | {"grades": _grades(call, row, course_number, user_number)} if kind == STUDENT else found


def _grades(call: Call, row: Row, course_number: int, user_number: int) -> Row:
    scores = call.store.of_pair("scores", row["learner_id"], row["course_id"])
    total = next((score for score in scores if score["item_type"] == "course"), None)
    number, text = (None, None) if total is None else grade_of(total)
    scores_and_grades = {
        f"{prefix}{when}_{what}": value
        for prefix in ("", "unposted_")
        for when in ("current", "final")
        for what, value in (("score", number), ("grade", text))
    }
    return {"html_url": f"{call.root}/courses/{course_number}/grades/{user_number}"} | scores_and_grades


def grade_of(score: Row) -> tuple[float | None, str | None]:
    """A score in percent, or, when it is no number, as the text of a grade."""
    raw: Any = score["raw"]
    if isinstance(raw, str):
        return None, raw
    return (None if raw is None else round(raw / (score["max"] or 100) * 100, 2)), None


def _own_enrollment(call: Call, course: Row) -> Row:
    """What one sees who may see no others: itself, a student limited to its own section."""
    number = integer_id(course["id"])
    return {
        "id": POOR.user_id + number,
        "user_id": POOR.user_id,
        "course_id": number,
        "type": STUDENT,
        "created_at": course["updated_at"],
        "updated_at": course["updated_at"],
        "associated_user_id": None,
        "start_at": None,
        "end_at": None,
        "course_section_id": number,
        "root_account_id": ACCOUNT_ID,
        "limit_privileges_to_course_section": True,
        "enrollment_state": "active",
        "role": STUDENT,
        "role_id": _ROLE_IDS[STUDENT],
        "last_activity_at": None,
        "last_attended_at": None,
        "total_activity_time": 0,
        "grades": {"html_url": f"{call.root}/courses/{number}/grades/{POOR.user_id}"},
        "html_url": f"{call.root}/courses/{number}/users/{POOR.user_id}",
        "user": {"id": POOR.user_id, "name": POOR.name, "short_name": POOR.name},
    }


ROUTES: dict[str, Handler] = {
    "/api/v1/courses/{course_id}/enrollments": _of_course,
    "/api/v1/users/{user_id}/enrollments": _of_user,
}
