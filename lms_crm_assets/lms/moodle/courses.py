"""Moodle's courses, and the ID numbers by which the reports name them.

The list withholds the ID number from accounts that may not edit courses. It can be asked the other way round, which
course a number belongs to, and a participant's grades name the course by it.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import MissingError, RetryableError
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.grades import grade_rows
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.lms.streams import merged

Course = dict[str, Any]

# Of those who were listed a few may have left meanwhile; of a course without a number nobody's grades name one.
_PARTICIPANTS_ASKED = 3


class Courses:
    """The courses of a site."""

    def __init__(self, client: Client, at_once: int) -> None:
        self._client = client
        self._at_once = at_once

    def all(self) -> list[Course]:
        """Every course, as the list gives it."""
        return self._client.rows("core_course_get_courses", {})

    def some(self, ids: Collection[str]) -> list[Course]:
        """Those with these ids that are still there; without ids none."""
        if not ids:
            return []
        wanted = {f"options[ids][{n}]": value for n, value in enumerate(sorted(ids, key=int))}
        try:
            return self._client.rows("core_course_get_courses", wanted)
        except MissingError:
            # One of them is gone, and the answer doesn't tell which.
            return [c for c in self.all() if str(c["id"]) in ids]

    def numbered(self, numbers: Collection[str]) -> dict[str, str]:
        """ID number by course id, for numbers that a report names."""
        asked = sorted(filter(None, numbers))
        streams = (partial(self._number, number)() for number in asked)
        return dict(merged(streams, min(self._at_once, len(asked)))) if asked else {}

    def _number(self, number: str) -> Iterator[tuple[str, str]]:
        asked = {"field": "idnumber", "value": number}
        found = self._client.rows("core_course_get_courses_by_field", asked, member="courses")
        if len(found) != 1:
            raise RetryableError(
                f"{self._client.url} finds {len(found)} courses with the ID number {number!r} that a report names: it was"
                " changed meanwhile, or the account of source.token may not see the course; run again"
            )
        yield str(found[0]["id"]), number

    def tracks_completion(self, course_id: int) -> bool:
        """Whether completion is switched on; assumed where the account is not told."""
        asked = {"field": "id", "value": course_id}
        found = self._client.rows("core_course_get_courses_by_field", asked, member="courses")
        return not found or bool(found[0].get("enablecompletion", 1))

    def number_by_grades(self, course_id: int, user_ids: Iterable[int]) -> str | None:
        """The ID number, as the grades of the first of some participants name it who is still there."""
        for user_id in islice(user_ids, _PARTICIPANTS_ASKED):
            for row in grade_rows(self._client, course_id, user_id):
                if row.get("courseidnumber"):
                    return str(row["courseidnumber"])
        return None


def withholds_number(course: Course) -> bool:
    """Whether the account may not see the course's ID number."""
    return "idnumber" not in course


def is_front_page(course: Course) -> bool:
    """Whether it is the site's front page, which the list holds as a course; everybody is in it, and nobody enrolled."""
    return bool(course.get("format") == "site")


def page(courses: Collection[Course], numbers: dict[str, str], asked: Collection[str] = ()) -> Page:
    """Courses as records with their ID numbers, and as deleted those of `asked` that are not among them."""
    records = [
        RawRecord(str(c["id"]), {**c, "idnumber": numbers.get(str(c["id"]), c.get("idnumber"))}) for c in courses
    ]
    gone = sorted(set(asked).difference(record.source_id for record in records))
    return Page(LmsEntity.COURSES, [*records, *(RawRecord(key, None, is_deleted=True) for key in gone)])
