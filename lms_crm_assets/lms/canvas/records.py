"""Raw records of Canvas's rows. Keys name learner and course, so that a row can be fetched by its key alone.

Learners and courses have their ids. All others: `user:course` for a completion, with the assignment's id or `course`
behind it for a score, with its own id behind it for an enrollment and a result of an outcome.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lms_crm_assets.domain import RawRecord

STUDENT = "StudentEnrollment"
OF_COURSE = "course"
_LEFT = {"deleted", "rejected"}
# A word that isn't known comes first, as in the SQL.
_ACTIVITY = {"active": 0, "invited": 1, "creation_pending": 1, "inactive": 2, "completed": 3}

# Told of a user alone and not in listings: it would come and go.
_OF_USER_ALONE = {"avatar_url", "avatar_state", "locale", "effective_locale", "permissions"}
# Kept with the learners and the scores; a submission's work is nobody's business here.
_OF_OTHERS = {"user", "grades"}
_WORK = {
    "attachments",
    "body",
    "preview_url",
    "submission_comments",
    "submission_history",
    "submission_html_comments",
    "turnitin_data",
    "url",
    "user",
    "versioned_attachments",
}
_OF_ASSIGNMENT = ("id", "name", "points_possible", "grading_type")
_OF_OUTCOME = ("id", "title", "vendor_guid", "mastery_points", "points_possible", "calculation_method", "ratings")


class Key(NamedTuple):
    """What a key names; `item` is empty for a completion."""

    user: str
    course: str
    item: str

    @classmethod
    def read(cls, key: str) -> "Key | None":
        """The parts of a key; None for a key that no row of Canvas can have."""
        user, _, rest = key.partition(":")
        course, _, item = rest.partition(":")
        return cls(user, course, item) if user.isdecimal() and course.isdecimal() else None


def text_id(item: Any, name: str = "id") -> str | None:
    """An id of Canvas, a number or its text; None where there is none."""
    found = item.get(name) if isinstance(item, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    return str(found) or None


def by_id(items: Iterable[Any], first: int) -> list[RawRecord]:
    """Users or courses; one without an id gets a key of its own, so that it is refused with a code and not lost."""
    return [RawRecord(text_id(item) or f"(row {n} has no id)", by_itself(item)) for n, item in enumerate(items, first)]


def by_itself(item: Any) -> Any:
    """A user or a course as it is kept, however it was asked for."""
    return _without(item, _OF_USER_ALONE)


def enrollment(item: Any, course: str, row: int) -> RawRecord:
    """An enrollment without the learner's person and grades."""
    user, own = text_id(item, "user_id"), text_id(item)
    key = f"{user}:{course}:{own}" if user and own else f"(course {course} row {row} has no id)"
    return RawRecord(key, _without(item, _OF_OTHERS))


def student(item: Any) -> str | None:
    """The learner of an enrollment that counts for progress and grades."""
    if not isinstance(item, dict) or item.get("type") != STUDENT or item.get("enrollment_state") in _LEFT:
        return None
    return text_id(item, "user_id")


def activity_rank(item: Mapping[str, Any]) -> tuple[int, str, int]:
    """How much an enrollment counts beside others of the same student: the order of staging/canvas/enrollment.sql."""
    state, changed, own = item.get("enrollment_state"), item.get("updated_at"), text_id(item) or ""
    return (
        -_ACTIVITY.get(state, -1) if isinstance(state, str) else 1,
        changed if isinstance(changed, str) else "",
        int(own) if own.isdecimal() else -1,
    )


def completion(user: str, course: str, progress: Any) -> RawRecord:
    """The progress of a learner in a course."""
    return RawRecord(f"{user}:{course}", {"user_id": user, "course_id": course, "progress": progress})


def course_score(user: str, course: str, grades: Mapping[str, Any]) -> RawRecord:
    """The grades of an enrollment."""
    return RawRecord(f"{user}:{course}:{OF_COURSE}", {"user_id": user, "course_id": course, "grades": grades})


def activity_score(item: Any, course: str, assignment: Any) -> RawRecord | None:
    """A submission that has a grade which its learner may know; None for any other."""
    user, of = text_id(item, "user_id"), text_id(item, "assignment_id")
    if not user or not of or item.get("excused") is True:
        return None
    if item.get("score") is None and item.get("grade") is None:
        return None
    if "posted_at" in item and item["posted_at"] is None:
        return None
    added = {"course_id": course, "assignment": _only(assignment, _OF_ASSIGNMENT)}
    return RawRecord(f"{user}:{course}:{of}", {**_without(item, _WORK), **added})


def outcome_result(item: Any, course: str, outcome: Any, path: Any, row: int) -> RawRecord:
    """A result of a learner in an outcome, with what the outcome is."""
    links = item.get("links") if isinstance(item, dict) else None
    user, own = text_id(links, "user"), text_id(item)
    if not user or not own:
        return RawRecord(f"(course {course} result {row} has no id)", item)
    added = {"course_id": course, "outcome": _only(outcome, _OF_OUTCOME), "path": _names(path)}
    return RawRecord(f"{user}:{course}:{own}", {**item, **added})


def _names(path: Any) -> list[Any]:
    """The titles of an outcome's groups from the outermost on, as `outcome_paths` gives them."""
    parts = path.get("parts") if isinstance(path, dict) else None
    return [part.get("name") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _only(item: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: item.get(name) for name in names} if isinstance(item, dict) else {}


def _without(item: Any, names: set[str]) -> Any:
    return {name: value for name, value in item.items() if name not in names} if isinstance(item, dict) else item
