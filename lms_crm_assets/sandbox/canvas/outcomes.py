"""Ratings of competencies, as results of learning outcomes (Canvas source, `outcome_results_controller.rb`).

Outcomes belong to the account; a group of them is a framework of competencies. 3 points are mastery, 0 are none.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator

from lms_crm_assets.sandbox.canvas.courses import assignment_id, course_of
from lms_crm_assets.sandbox.canvas.enrollments import students
from lms_crm_assets.sandbox.canvas.paging import bookmarked
from lms_crm_assets.sandbox.canvas.users import check_account, display, learner_id_of, user_json
from lms_crm_assets.sandbox.canvas.wire import ACCOUNT_ID, ACCOUNT_NAME, Answer, Call, Handler, bad_request, forbidden
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.names import FRAMEWORK
from lms_crm_assets.sandbox.school.store import Position

_MASTERY = 3.0
_RATINGS = [{"description": "Competent", "points": _MASTERY}, {"description": "Not yet competent", "points": 0.0}]
_STATES = {"active", "completed", "inactive"}
_CODE = re.compile(r"CMP-([0-9]{4,7})")
_OTHERS_FROM = 1_000_000_000
_ROOT_GROUP, _FRAMEWORK_GROUP = 1, 2


def _outcome_id(competency: Row) -> int:
    """The number in a code like `CMP-0003`; of any other code one from a hash."""
    found = _CODE.fullmatch(str(competency["code"]))
    return int(found[1]) if found else _OTHERS_FROM + zlib.crc32(str(competency["code"]).encode())


def _group_id(framework: str) -> int:
    return _FRAMEWORK_GROUP if framework == FRAMEWORK else _OTHERS_FROM + zlib.crc32(framework.encode())


def _ratings(call: Call, course: Row, ratings: Iterable[Row]) -> Iterator[tuple[Row, Row]]:
    """The ratings that are of an outcome and of a student of the course, each with its learner."""
    wanted = set(call.many("outcome_ids"))
    for rating in ratings:
        enrollments = call.store.of_pair("enrollments", rating["learner_id"], course["id"])
        student = next(students(call.store, enrollments, _STATES), None)
        hidden = call.shown is not None and not call.shown(rating["id"])
        known = rating["competency"] is not None and (not wanted or str(_outcome_id(rating["competency"])) in wanted)
        if student is not None and known and not hidden:
            yield rating, student[1]


def _asked(call: Call) -> set[str] | None:
    """The learners of `user_ids[]`; None: all. One without rights gets its own alone, and it has none."""
    users = call.many("user_ids")
    if call.viewer.privileged:
        return {learner_id_of(call, user) for user in users} or None
    if set(users) - {"self", str(call.viewer.user_id)}:
        raise forbidden()
    return {""}


def _results(call: Call) -> Answer:
    course = course_of(call)
    asked = _asked(call)

    def rows(after: Position) -> Iterator[tuple[Position, tuple[Row, Row]]]:
        ratings = call.store.of_course("competencies", course["id"], after[1])
        for rating, learner in _ratings(call, course, ratings):
            if asked is None or learner["id"] in asked:
                yield (0, rating["id"]), (rating, learner)

    page, links = bookmarked(call, rows)
    body = {"outcome_results": [_result_json(course, *each) for each in page], "meta": {"pagination": links}}
    return Answer(body | _linked(call, course, page), links)


def _result_json(course: Row, rating: Row, learner: Row) -> Row:
    proficient = rating["proficient"]
    alignment = _alignment(course)
    return {
        "id": integer_id(rating["id"]),
        "score": _score(rating),
        "possible": _MASTERY,
        "percent": None if proficient is None else float(proficient),
        "mastery": proficient,
        "hide_points": False,
        "hidden": False,
        "submitted_or_assessed_at": rating["rated_at"],
        "links": {
            "user": str(integer_id(learner["id"])),
            "learning_outcome": str(_outcome_id(rating["competency"])),
            "alignment": alignment,
            "assignment": alignment,
        },
    }


def _score(rating: Row) -> float | None:
    return None if rating["proficient"] is None else _MASTERY * rating["proficient"]


def _alignment(course: Row) -> str:
    return f"assignment_{assignment_id(course['id'], 'activity-1')}"


def _rollups(call: Call) -> Answer:
    course = course_of(call)
    asked = _asked(call)
    if call.one("aggregate") is not None:
        raise bad_request("the sandbox has no aggregate rollups")

    def rows(after: Position) -> Iterator[tuple[Position, tuple[Row, list[tuple[Row, Row]]]]]:
        enrollments = call.store.of_course("enrollments", course["id"], after[1])
        for enrollment, learner in students(call.store, enrollments, _STATES, call.shown):
            if asked is None or learner["id"] in asked:
                ratings = call.store.of_pair("competencies", learner["id"], course["id"])
                yield (0, enrollment["id"]), (learner, list(_ratings(call, course, ratings)))

    page, links = bookmarked(call, rows)
    rollups = [
        {
            "scores": [_rollup_score(rating) for rating, _ in ratings],
            "links": {"user": str(integer_id(learner["id"])), "section": str(integer_id(course["id"]))},
        }
        for learner, ratings in page
    ]
    rated = [each for _, ratings in page for each in ratings]
    body = {"rollups": rollups, "meta": {"pagination": links}}
    return Answer(body | _linked(call, course, rated, [learner for learner, _ in page]), links)


def _rollup_score(rating: Row) -> Row:
    return {
        "score": _score(rating),
        "title": rating["competency"]["name"],
        "submitted_at": rating["rated_at"],
        "count": 1,
        "hide_points": False,
        "links": {"outcome": str(_outcome_id(rating["competency"]))},
    }


def _linked(call: Call, course: Row, rated: list[tuple[Row, Row]], learners: list[Row] | None = None) -> Row:
    """`linked` with what `include[]` asks for: users of the page, outcomes of the course; nothing without it."""
    competencies = _competencies(call, course)
    frameworks = sorted({str(competency["framework"]) for competency in competencies.values()})
    users = {learner["id"]: learner for learner in learners or [learner for _, learner in rated]}
    alignment = {"id": _alignment(course), "name": "Activity 1"}
    makers: dict[str, Callable[[], list[Row]]] = {
        "outcomes": lambda: [_outcome_json(call, course, competency) for competency in competencies.values()],
        "outcomes.alignments": list,
        "outcome_groups": lambda: [_group_json(call, name) for name in frameworks],
        "outcome_paths": lambda: [
            {"id": number, "parts": [{"name": str(competency["framework"])}]}
            for number, competency in competencies.items()
        ],
        "users": lambda: [_user_json(call, learner) for learner in users.values()],
        "courses": lambda: [{"id": str(integer_id(course["id"])), "name": course["title"]}],
        "alignments": lambda: [alignment] if rated else [],
    }
    include = call.many("include")
    for name in include:
        if name not in makers:
            raise bad_request(f"invalid include: {name}")
    linked = {name: makers[name]() for name in include if name != "outcomes.alignments"}
    return {"linked": linked} if linked else {}


def _competencies(call: Call, course: Row) -> dict[int, Row]:
    """The outcomes of a course: the one that all its generated ratings are of, and those of changed ones."""
    changed = {rating["id"]: rating for rating in call.store.changed_of_course("competencies", course["id"])}
    of_course = call.store.of_course("competencies", course["id"])
    generated = next((rating for rating in of_course if rating["id"] not in changed), None)
    ratings = [*changed.values(), *([] if generated is None else [generated])]
    found = (rating["competency"] for rating in ratings if rating["competency"] is not None)
    return {_outcome_id(competency): competency for competency in found}


def _user_json(call: Call, learner: Row) -> Row:
    shown, user = display(call, learner), user_json(learner)
    return {
        "id": str(shown["id"]),
        "name": user["name"],
        "display_name": shown["display_name"],
        "sortable_name": user["sortable_name"],
        "avatar_url": shown["avatar_image_url"],
    }


def _outcome_json(call: Call, course: Row, competency: Row) -> Row:
    number = _outcome_id(competency)
    return {
        "id": number,
        "url": f"{call.root}/api/v1/outcomes/{number}",
        "vendor_guid": competency["code"],
        "context_id": ACCOUNT_ID,
        "context_type": "Account",
        "title": competency["name"],
        "display_name": None,
        "description": "",
        "friendly_description": None,
        "points_possible": _MASTERY,
        "mastery_points": _MASTERY,
        "ratings": _RATINGS,
        "calculation_method": "latest",
        "calculation_int": None,
        "assessed": True,
        "has_updateable_rubrics": False,
        "can_edit": False,
        "can_unlink": False,
        "alignments": [_alignment(course)],
    }


def _group_json(call: Call, framework: str) -> Row:
    number = _group_id(framework)
    parent = {"id": _ROOT_GROUP, "title": ACCOUNT_NAME, "url": _group_url(call, _ROOT_GROUP)}
    return {
        "id": number,
        "title": framework,
        "description": "",
        "vendor_guid": None,
        "context_id": ACCOUNT_ID,
        "context_type": "Account",
        "parent_outcome_group": parent,
        "url": _group_url(call, number),
        "can_edit": False,
    }


def _group_url(call: Call, number: int) -> str:
    return f"{call.root}/api/v1/accounts/{ACCOUNT_ID}/outcome_groups/{number}"


def _groups(call: Call) -> Answer:
    check_account(call)
    child = _group_json(call, FRAMEWORK)
    root = child | {"id": _ROOT_GROUP, "title": ACCOUNT_NAME, "url": _group_url(call, _ROOT_GROUP)}
    root.pop("parent_outcome_group")
    return Answer([root, child])


ROUTES: dict[str, Handler] = {
    "/api/v1/accounts/{account_id}/outcome_groups": _groups,
    "/api/v1/courses/{course_id}/outcome_results": _results,
    "/api/v1/courses/{course_id}/outcome_rollups": _rollups,
}
