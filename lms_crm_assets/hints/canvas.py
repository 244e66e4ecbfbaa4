"""Canvas Live Events in Canvas's own format (Canvas docs: "Live Events", event format "canvas").

Ids are global, which is 10^13 times the shard plus the local id, or local, both in one event too. The API gives and
takes the local ids of its own shard, which is the root account's, and the global ones of others.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.contract.models import CanvasSource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import UNKEYED, UNKNOWN, UNREADABLE, Finding, Key, decimal_id, lacking, member

_LEARNERS, _COURSES, _ENROLLMENTS, _COMPLETIONS, _SCORES, _COMPETENCIES = LmsEntity
_A_SHARD = 10**13
_JWT = re.compile(rb"\s*[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*\s*")
_STUDENT = "StudentEnrollment"
_TOTAL = "course"
# No user of a Canvas has it.
_NOBODY = "0"


@dataclass(frozen=True)
class _Event:
    source: CanvasSource
    name: str
    metadata: Any
    body: Any

    def id(self, *names: str) -> str | None:
        """An id of the body as the API gives it."""
        return self._local(member(self.body, *names))

    @property
    def course(self) -> str | None:
        """The course in the body, or the one in which it happened."""
        found = self.id("course_id") or self.id("course", "id")
        if found is None and member(self.body, "result_context_type") == "Course":
            found = self.id("result_context_id")
        if found is None and member(self.metadata, "context_type") == "Course":
            found = self._local(member(self.metadata, "context_id"))
        return found

    @property
    def user(self) -> str | None:
        """The learner; never the one in the metadata, who acted."""
        return self.id("user_id") or self.id("student_id") or self.id("user", "id")

    def _local(self, value: Any) -> str | None:
        found = decimal_id(value)
        if found is None or int(found) < _A_SHARD:
            return found
        root = int(decimal_id(member(self.metadata, "root_account_id")) or 0)
        shard, local = divmod(int(found), _A_SHARD)
        return str(local) if local and shard == (root // _A_SHARD or shard) else found


def live_event(source: CanvasSource, event: Any) -> Iterator[Finding]:
    """What one event touches."""
    name = member(event, "metadata", "event_name")
    if not isinstance(name, str):
        yield lacking(UNREADABLE, "canvas")
        return
    if name not in _TOUCHED:
        yield lacking(UNKNOWN, name)
        return
    found = list(_TOUCHED[name](_Event(source, name, member(event, "metadata"), member(event, "body"))))
    yield from found or [lacking(UNKEYED, name)]


def claims(body: bytes) -> bytes | None:
    """The payload of a body that is a JWT, whose signature the receiver has verified; None where it is none."""
    found = _JWT.fullmatch(body)
    if found is None:
        return None
    try:
        return base64.urlsafe_b64decode(found[1] + b"=" * (-len(found[1]) % 4))
    except binascii.Error:
        return None


def _learner(event: _Event) -> Iterator[Finding]:
    if event.user:
        yield Key(_LEARNERS, event.user)


def _course(event: _Event) -> Iterator[Finding]:
    if event.course:
        yield Key(_COURSES, event.course)


def _enrollment(event: _Event) -> Iterator[Finding]:
    user, course, own = event.user, event.course, event.id("enrollment_id")
    if not user or not course or not own:
        return
    yield Key(_ENROLLMENTS, f"{user}:{course}:{own}")
    if member(event.body, "type") in {_STUDENT, None}:
        yield Key(_COMPLETIONS, f"{user}:{course}")
        yield Key(_SCORES, f"{user}:{course}:{_TOTAL}")


def _completion(event: _Event) -> Iterator[Finding]:
    if event.user and event.course:
        yield Key(_COMPLETIONS, f"{event.user}:{event.course}")


def _score(event: _Event) -> Iterator[Finding]:
    if not event.user or not event.course:
        return
    yield Key(_SCORES, f"{event.user}:{event.course}:{_TOTAL}")
    if event.source.activities and (assignment := event.id("assignment_id")):
        yield Key(_SCORES, f"{event.user}:{event.course}:{assignment}")


def _result(event: _Event) -> Iterator[Finding]:
    """Of the learner only a UUID is told. Results are read with all of their course, whoever is asked for."""
    if event.course and (own := event.id("id")):
        yield Key(_COMPETENCIES, f"{event.user or _NOBODY}:{event.course}:{own}")


_TOUCHED: dict[str, Callable[[_Event], Iterator[Finding]]] = {
    "user_created": _learner,
    "user_updated": _learner,
    "user_deleted": _learner,
    "user_account_association_created": _learner,
    "course_created": _course,
    "course_updated": _course,
    "course_deleted": _course,
    "enrollment_created": _enrollment,
    "enrollment_updated": _enrollment,
    # These name the enrollment alone.
    "enrollment_state_created": _enrollment,
    "enrollment_state_updated": _enrollment,
    "course_completed": _completion,
    "course_progress": _completion,
    "grade_change": _score,
    "course_grade_change": _score,
    "grade_override": _score,
    "learning_outcome_result_created": _result,
    "learning_outcome_result_updated": _result,
}
