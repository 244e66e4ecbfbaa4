"""Events of Moodle's local_webhooks plugin, one a delivery, and what Moodle's events touch in whichever form they come.

`userid` is who acted, `relateduserid` the learner; ids come as numbers or texts at random (facts: Moodle, webhooks).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.contract.models import MoodleSource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import UNKEYED, UNKNOWN, UNREADABLE, Finding, Key, Lead, decimal_id, lacking, member

_LEARNERS, _COURSES, _ENROLLMENTS, _COMPLETIONS, _SCORES, _COMPETENCIES = LmsEntity

CORE = "\\core\\event\\"
OF_USERS = frozenset({"user_created", "user_updated", "user_deleted"})
OF_COURSES = frozenset({"course_created", "course_updated", "course_deleted", "course_restored"})
_OF_ROLES = frozenset({"role_assigned", "role_unassigned"})
# One participants row tells all three; and who comes or goes has or loses all three.
_MEMBER = (_ENROLLMENTS, _COMPLETIONS, _SCORES)
OF_MEMBERS = {
    "user_enrolment_created": _MEMBER,
    "user_enrolment_updated": _MEMBER,
    "user_enrolment_deleted": _MEMBER,
    **dict.fromkeys(_OF_ROLES, _MEMBER),
    "course_completed": (_COMPLETIONS,),
    "course_module_completion_updated": (_COMPLETIONS,),
    "user_graded": (_SCORES,),
    "grade_deleted": (_SCORES,),
}
_OF_COMPETENCIES = "competency_"
_READ = "r"
_TOTAL = "course"


@dataclass(frozen=True)
class Told:
    """What an event tells: its name without Moodle's prefix, and the ids and names in it, empty where there is none."""

    name: str
    user: str | Lead | None = None
    course: str | None = None
    competency: str | None = None


def plugin_event(source: MoodleSource, event: Any) -> Iterator[Finding]:
    """What one event of local_webhooks touches."""
    full = member(event, "eventname")
    if not isinstance(full, str):
        yield lacking(UNREADABLE, "moodle")
        return
    name = full.removeprefix(CORE)
    user, course = decimal_id(member(event, "relateduserid")), decimal_id(member(event, "courseid"))
    own = decimal_id(member(event, "objectid"))
    if name in OF_USERS:
        user = own or user
    elif name in OF_COURSES:
        course = own or course
    elif name in _OF_ROLES and course is None:
        return  # a role in the whole site or in a category makes nobody a participant
    elif member(event, "crud") == _READ:
        return
    yield from of_event(source, Told(name, user, course, decimal_id(member(event, "other", "competencyid"))))


def of_event(source: MoodleSource, told: Told) -> Iterator[Finding]:
    """The rows that an event is about."""
    name, user, course = told.name, told.user, told.course
    if name in OF_USERS and user:
        yield _of(user, _LEARNERS, "")
    elif name in OF_COURSES and course:
        yield Key(_COURSES, course)
    elif name in OF_MEMBERS and user and course:
        for entity in OF_MEMBERS[name]:
            yield _of(user, entity, course)
    elif name.startswith(_OF_COMPETENCIES) and isinstance(user, str) and told.competency:
        yield from _rating(source, user, course, told.competency)
    elif name in OF_USERS or name in OF_COURSES or name in OF_MEMBERS or name.startswith(_OF_COMPETENCIES):
        yield lacking(UNKEYED, name)
    else:
        yield lacking(UNKNOWN, name)


def _of(user: str | Lead, entity: LmsEntity, course: str) -> Finding:
    """A row of somebody, in a course unless it is empty.

    With a course's total all of somebody's grades in it come, and when none is left it is what they go with.
    """
    rest = f":{course}:{_TOTAL}" if entity is _SCORES else f":{course}" if course else ""
    return Lead(entity, user.by, user.value, rest, user.event) if isinstance(user, Lead) else Key(entity, user + rest)


def _rating(source: MoodleSource, user: str, course: str | None, competency: str) -> Iterator[Finding]:
    """A rating's key. Without a course, and in a report, which tells none, all of the learner's come for it.

    A report names competencies by their ID numbers, which no event tells: it is any of the learner's.
    """
    if source.reports is None:
        yield Key(_COMPETENCIES, f"{user}:{course}:{competency}" if course else f"{user}:{competency}")
    elif source.reports.competencies is not None:
        yield Key(_COMPETENCIES, f"{user}:")
