"""How far somebody is in a course, as core services tell it: one call for each person in each course.

There is no time of the course's completion, only one of each criterion; the staging SQL derives it (facts: Moodle
pitfall 8).
"""

from collections.abc import Collection, Iterator
from typing import Any

from lms_crm_assets.domain import RawRecord
from lms_crm_assets.errors import MissingError, ProtocolError
from lms_crm_assets.lms.moodle.answers import RefusedError
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.gone import confirm_gone
from lms_crm_assets.lms.moodle.participants import Participant

FUNCTION = "core_completion_get_course_completion_status"
# Not active any more, or in a role whose progress isn't tracked: nothing is known, which is not "not started".
_UNKNOWN = {"usernotenroled", "notenroled"}
_NO_CRITERIA = "nocriteriaset"


def completion_records(client: Client, people: Collection[Participant], *, tracked: bool) -> Iterator[RawRecord]:
    """The completions of people in one course; of those who are not active Moodle tells none.

    `tracked`: completion is switched on in the course. Where it isn't, or where the course has no criteria, nobody can
    complete it, and a row tells no more than whether somebody was there.
    """
    for person in people:
        status: Any = None
        if not person.active:
            continue
        if tracked:
            try:
                status = _status(client, person)
            except MissingError as exc:
                # Deleted since the list was read?
                confirm_gone(client, exc, course_id=person.course_id, user_id=person.user_id)
                continue
            except RefusedError as exc:
                if exc.code in _UNKNOWN:
                    continue
                if exc.code != _NO_CRITERIA:
                    raise
                tracked = False
        yield RawRecord(
            person.key,
            {
                "userid": person.user_id,
                "courseid": person.course_id,
                "lastcourseaccess": person.last_access,
                "completionstatus": status,
            },
        )


def _status(client: Client, person: Participant) -> dict[str, Any]:
    answer = client.call(FUNCTION, {"courseid": person.course_id, "userid": person.user_id})
    status = answer.get("completionstatus") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or not isinstance(status.get("completed"), bool):
        raise ProtocolError(f"{client.url} answers {FUNCTION} without a status: check that it is a Moodle")
    return status
