"""The scores of activities, as submissions to assignments (Canvas source, `submissions_api_controller.rb`).

Canvas has a submission for every student and assignment, `unsubmitted` and without a score until there is one; asked
for graded ones, by `graded_since`, `submitted_since` or `workflow_state=graded`, only those with a score come.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from lms_crm_assets.sandbox.canvas.courses import assignment_id, assignments_of, course_of
from lms_crm_assets.sandbox.canvas.enrollments import grade_of, students
from lms_crm_assets.sandbox.canvas.paging import bookmarked
from lms_crm_assets.sandbox.canvas.users import display, learner_id_of, user_json
from lms_crm_assets.sandbox.canvas.wire import Answer, Call, Handler, bad_request, forbidden
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Position

_STATES = {"active", "inactive", "completed"}


def _submissions(call: Call) -> Answer:
    course = course_of(call)
    asked = call.many("student_ids")
    if not call.viewer.privileged and set(asked) - {"all", "self", str(call.viewer.user_id)}:
        raise forbidden()
    if not call.viewer.privileged or not set(asked) - {"self", str(call.viewer.user_id)}:
        # One's own, and neither service user ever submitted anything.
        return Answer(*bookmarked(call, lambda _: iter(())))
    learners = None if "all" in asked else {learner_id_of(call, each) for each in asked}
    since = {name: _moment(call, name) for name in ("graded_since", "submitted_since")}
    wanted = call.one("workflow_state")
    assignments = {int(each) for each in call.many("assignment_ids") if each.isascii() and each.isdigit()}

    def passes(learner_id: str, submission: Row) -> bool:
        return (
            (learners is None or learner_id in learners)
            and (not assignments or submission["assignment_id"] in assignments)
            and wanted in {None, submission["workflow_state"]}
            and all(_is_later(submission["graded_at"], moment) for moment in since.values() if moment is not None)
        )

    graded_only = wanted == "graded" or any(since.values())
    of = _graded if graded_only else _all

    def rows(after: Position) -> Iterator[tuple[Position, Row]]:
        for position, learner, submission in of(call, course, after):
            if passes(learner["id"], submission):
                yield position, submission

    return Answer(*bookmarked(call, rows))


def _graded(call: Call, course: Row, after: Position) -> Iterator[tuple[Position, Row, Row]]:
    """The submissions with a score, by the ids of the scores."""
    for score in call.store.of_course("scores", course["id"], after[1]):
        if assignment_id(course["id"], score["item_id"]) is None or (call.shown and not call.shown(score["id"])):
            continue
        enrollments = call.store.of_pair("enrollments", score["learner_id"], course["id"])
        for _, learner in students(call.store, enrollments, _STATES):
            yield (0, score["id"]), learner, _submission_json(call, course, learner, score["item_id"], score)
            break


def _all(call: Call, course: Row, after: Position) -> Iterator[tuple[Position, Row, Row]]:
    """A submission for every student and assignment; a position is the student before and how many are done since."""
    done, before = after
    items = assignments_of(call.store, course)
    enrollments = call.store.of_course("enrollments", course["id"], before)
    for enrollment, learner in students(call.store, enrollments, _STATES, call.shown):
        scores = {row["item_id"]: row for row in call.store.of_pair("scores", learner["id"], course["id"])}
        for number, item in enumerate(items, 1):
            if number > done:
                yield (number, before), learner, _submission_json(call, course, learner, item, scores.get(item))
        done, before = 0, enrollment["id"]


def _submission_json(call: Call, course: Row, learner: Row, item: str, score: Row | None) -> Row:
    user_number, course_number = integer_id(learner["id"]), integer_id(course["id"])
    assignment = assignment_id(course["id"], item)
    number, text = (None, None) if score is None else grade_of(score)
    grade = text if number is None else str(number)
    graded_at = None if score is None else score["graded_at"]
    url = f"{call.root}/courses/{course_number}/assignments/{assignment}/submissions/{user_number}"
    # 48 bits: whole in JavaScript, and unlikely to meet another.
    unique = hashlib.blake2b(f"{learner['id']} {course['id']} {item}".encode(), digest_size=6).digest()
    found = {
        "id": int.from_bytes(unique),
        "user_id": user_number,
        "assignment_id": assignment,
        "attempt": None if score is None else 1,
        "body": None,
        "url": None,
        "submission_type": None if score is None else "online_quiz",
        "submitted_at": graded_at,
        "graded_at": graded_at,
        "posted_at": graded_at,
        "grader_id": None,
        "grade": grade,
        "score": number,
        "entered_grade": grade,
        "entered_score": number,
        "grade_matches_current_submission": True,
        "excused": False if score is not None else None,
        "late": False,
        "missing": False,
        "late_policy_status": None,
        "points_deducted": None,
        "seconds_late": 0,
        "extra_attempts": None,
        "cached_due_date": None,
        "redo_request": False,
        "workflow_state": "unsubmitted" if score is None else "graded",
        "preview_url": f"{url}?preview=1&version=1",
    }
    include = call.many("include")
    if "user" in include:
        found["user"] = user_json(learner) | {"avatar_url": display(call, learner)["avatar_image_url"]}
    return found


def _moment(call: Call, name: str) -> datetime | None:
    text = call.one(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_request(f"Invalid datetime for {name}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_later(text: str | None, moment: datetime) -> bool:
    return text is not None and datetime.fromisoformat(text) > moment


ROUTES: dict[str, Handler] = {"/api/v1/courses/{course_id}/students/submissions": _submissions}
