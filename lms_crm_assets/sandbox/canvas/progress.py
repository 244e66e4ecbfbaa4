"""How far students are in a course, as completed requirements of its modules: a hundred in every course."""

from collections.abc import Iterator

from lms_crm_assets.sandbox.canvas.courses import course_of
from lms_crm_assets.sandbox.canvas.enrollments import students
from lms_crm_assets.sandbox.canvas.paging import bookmarked
from lms_crm_assets.sandbox.canvas.users import display, learner_id_of
from lms_crm_assets.sandbox.canvas.wire import Answer, Call, CanvasError, Handler
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Position

_REQUIREMENTS = 100
_NO_STUDENT = (
    "no progress available because this course is not module based (has modules and module completion requirements) "
    "or the user is not enrolled as a student in this course"
)


def _progress(call: Call, learner_id: str, course_id: str) -> Row:
    completion = next(call.store.of_pair("completions", learner_id, course_id), None)
    done, completed_at = 0, None
    if completion is not None and completion["state"] == "completed":
        done, completed_at = _REQUIREMENTS, completion["completed_at"]
    elif completion is not None:
        # Less than all of them: a course that isn't completed has one left.
        done = max(0, min(int(completion["progress_pct"] or 0), _REQUIREMENTS - 1))
    following = f"{call.root}/courses/{integer_id(course_id)}/modules/items/{done + 1}"
    return {
        "requirement_count": _REQUIREMENTS,
        "requirement_completed_count": done,
        "next_requirement_url": following if done < _REQUIREMENTS else None,
        "completed_at": completed_at,
    }


def _of_course(call: Call) -> Answer:
    course = course_of(call)
    call.need_privilege()

    def rows(after: Position) -> Iterator[tuple[Position, Row]]:
        enrollments = call.store.of_course("enrollments", course["id"], after[1])
        for enrollment, learner in students(call.store, enrollments, {"active"}, call.shown):
            progress = _progress(call, learner["id"], course["id"])
            yield (0, enrollment["id"]), display(call, learner) | {"progress": progress}

    return Answer(*bookmarked(call, rows))


def _of_user(call: Call) -> Answer:
    course = course_of(call)
    call.need_privilege()
    learner_id = learner_id_of(call, call.path["user_id"])
    known = {"active", "invited", "inactive", "completed", "creation_pending"}
    enrollments = call.store.of_pair("enrollments", learner_id, course["id"])
    if next(students(call.store, enrollments, known), None) is None:
        raise CanvasError(400, {"error": {"message": _NO_STUDENT}})
    return Answer(_progress(call, learner_id, course["id"]))


ROUTES: dict[str, Handler] = {
    "/api/v1/courses/{course_id}/bulk_user_progress": _of_course,
    "/api/v1/courses/{course_id}/users/{user_id}/progress": _of_user,
}
