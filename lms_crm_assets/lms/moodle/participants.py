"""Who takes part in a course, as core services tell it.

They give neither the status of an enrolment nor its dates, only who is in the course and who of them is not active:
suspended, expired or not begun (facts: Moodle pitfall 7).
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.domain import RawRecord
from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.moodle.client import Client

FUNCTION = "core_enrol_get_enrolled_users"
_ROWS_A_PAGE = 500
_PASSES = 3
# The fewer fields the quicker: 5 s instead of 13 s for 3,000 people (facts: Moodle, cost).
_FIELDS = "id,roles,lastcourseaccess"


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in a course; `last_access` is in epoch seconds, 0 for never."""

    user_id: int
    course_id: int
    active: bool
    roles: list[dict[str, Any]]
    last_access: int

    @property
    def key(self) -> str:
        """The canonical id of an enrollment."""
        return f"{self.user_id}:{self.course_id}"

    @property
    def record(self) -> RawRecord:
        """As it lands: `active` is what the two lists tell, the rest as Moodle says it."""
        return RawRecord(
            self.key,
            {
                "userid": self.user_id,
                "courseid": self.course_id,
                "active": self.active,
                "roles": self.roles,
                "lastcourseaccess": self.last_access,
            },
        )


def participants(client: Client, course_id: int) -> Iterator[list[Participant]]:
    """Everybody in a course, page by page; somebody may come twice.

    Everybody and the inactive are asked for, not the active and the inactive: of these two lists somebody who is
    suspended between the calls would be on neither, and look gone.
    """
    inactive = {int(row["id"]) for rows in _listed(client, course_id, "onlysuspended") for row in rows}
    for rows in _listed(client, course_id, None):
        yield [
            Participant(
                int(row["id"]),
                course_id,
                active=int(row["id"]) not in inactive,
                roles=row.get("roles") or [],
                last_access=int(row.get("lastcourseaccess") or 0),
            )
            for row in rows
        ]


def _listed(client: Client, course_id: int, only: str | None) -> Iterator[list[dict[str, Any]]]:
    for _ in range(_PASSES):
        if (yield from _pages(client, course_id, only)):
            return
    raise RetryableError(
        f"{client.url}: people leave the course with the id {course_id} faster than it is read: nothing was changed, run"
        " again"
    )


def _pages(client: Client, course_id: int, only: str | None) -> Generator[list[dict[str, Any]], None, bool]:
    """Pages by ascending id; gives whether nobody left meanwhile, who would have pulled others out of their page.

    Each page begins with the last row of the page before. A later one there tells that somebody left; an earlier one
    that somebody came in before it, which pushes known people into the page and nobody out of it.
    """
    last, start = 0, 0
    while True:
        rows = client.rows(FUNCTION, _options(course_id, only, start))
        ids = [int(row["id"]) for row in rows]
        if last and (not ids or ids[0] > last):
            return False
        full = len(rows) >= _ROWS_A_PAGE
        if sorted(set(ids)) != ids or (last and full and ids[-1] <= last):
            raise ProtocolError(
                f"{client.url} does not page the people of the course with the id {course_id} by their ids: the paging"
                " never ends"
            )
        yield rows
        if not full:
            return True
        last, start = ids[-1], start + len(rows) - 1


def _options(course_id: int, only: str | None, start: int) -> dict[str, Any]:
    named: dict[str, Any] = {"limitfrom": start, "limitnumber": _ROWS_A_PAGE, "sortby": "id", "userfields": _FIELDS}
    if only is not None:
        named[only] = 1
    asked: dict[str, Any] = {"courseid": course_id}
    for n, (name, value) in enumerate(named.items()):
        asked |= {f"options[{n}][name]": name, f"options[{n}][value]": value}
    return asked
