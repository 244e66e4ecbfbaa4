"""Reading who is in which course, how far, with which grade and competencies, from reports.

Rows of reports name people by username and courses by ID number; the staging SQL resolves them.
"""

import hashlib
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from lms_crm_assets.contract.models import MoodleReports
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.moodle import courses as course_pages
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.courses import Courses, withholds_number
from lms_crm_assets.lms.moodle.keys import member_key, rating_key, username
from lms_crm_assets.lms.moodle.learners import Learners
from lms_crm_assets.lms.moodle.reports import Report, Row, since_filter, text_filter
from lms_crm_assets.lms.protocol import Page

PARTICIPANTS_HEADERS = [
    "ID number",
    "Username",
    "Email address",
    "Course ID number",
    "Plugin",
    "Method",
    "Status",
    "Time created",
    "Time started",
    "Time ended",
    "Role",
    "Completed",
    "Time completed",
    "Student progress",
    "Grade",
]
COMPETENCIES_HEADERS = ["ID number", "ID number", "Name", "Username", "Status", "Proficient", "Rating"]
_USERNAME, _COURSE = PARTICIPANTS_HEADERS.index("Username"), PARTICIPANTS_HEADERS.index("Course ID number")
_METHOD, _GRADE = PARTICIPANTS_HEADERS.index("Method"), PARTICIPANTS_HEADERS.index("Grade")
_ROLE, _CREATED = PARTICIPANTS_HEADERS.index("Role"), PARTICIPANTS_HEADERS.index("Time created")
_MEMBERS = (LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES)
# Two calls a person; a whole report of some thousand rows takes about as long.
_PEOPLE_BY_NAME = 200
_ROWS_LOOKED_AT = 500


class ByReport:
    """The reports of a site."""

    functions = (
        "core_reportbuilder_retrieve_report",
        "core_reportbuilder_set_filters",
        "core_course_get_courses_by_field",
    )

    def __init__(self, client: Client, reports: MoodleReports, learners: Learners, courses: Courses) -> None:
        self._client, self._learners, self._courses = client, learners, courses
        self._participants = Report(
            client, reports.participants, PARTICIPANTS_HEADERS, "Username", "source.reports.participants"
        )
        self._competencies = (
            Report(client, reports.competencies, COMPETENCIES_HEADERS, "Username", "source.reports.competencies")
            if reports.competencies is not None
            else None
        )

    def check(self) -> Iterator[str]:
        """That the reports are there with their columns; tells of courses that can't be told apart."""
        shown = [row for row in self._participants.check(_ROWS_LOOKED_AT) if row[self._participants.person]]
        if self._competencies is not None:
            self._competencies.check()
        if without := sum(not row[_COURSE] for row in shown):
            yield (
                f"of the first {len(shown)} rows of the participants report {without} are of courses without an ID number:"
                " their enrollments, completions and scores can't be told apart and are quarantined; give every course"
                " an ID number"
            )

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """All rows, or those of enrollments created and courses completed at or after `since`; always all ratings."""
        if {LmsEntity.COURSES, *_MEMBERS}.intersection(entities):
            numbers: set[str] = set()
            for rows in self._since(since):
                numbers.update(row[_COURSE] for row in rows)
                yield from _pages(entities, [_participant(row, alone=since is not None) for row in rows])
            if LmsEntity.COURSES in entities:
                yield self._course_page(numbers, complete=since is None)
        if LmsEntity.COMPETENCIES in entities and self._competencies is not None:
            for rows in self._competencies.rows():
                yield Page(LmsEntity.COMPETENCIES, [_rating(row) for row in rows])

    def _since(self, since: datetime | None) -> Iterator[list[Row]]:
        if since is None:
            yield from self._participants.rows()
            return
        epoch = int(since.timestamp())
        for name in ("completion:timecompleted", "enrolment:timecreated"):
            yield from self._participants.rows(since_filter(name, epoch))

    def _course_page(self, numbers: Collection[str], *, complete: bool) -> Page:
        """The list of courses with ID numbers.

        Where the list withholds them and only changed rows were read, the other courses are left out: a course without
        its number would be one that no row belongs to.
        """
        listed, known = self._courses.all(), self._courses.numbered(numbers)
        if not complete:
            listed = [c for c in listed if not withholds_number(c) or str(c["id"]) in known]
        return course_pages.page(listed, known)

    def fetch_courses(self, keys: Collection[str]) -> Iterator[Page]:
        """Courses by id. One whose ID number can't be found out is left as it is, see `_course_page`."""
        ids = {key for key in keys if key.isdecimal()}
        found, numbers = self._courses.some(ids), {}
        for course in filter(withholds_number, found):
            if number := self._number(int(course["id"])):
                numbers[str(course["id"])] = number
        shown = [c for c in found if not withholds_number(c) or str(c["id"]) in numbers]
        yield course_pages.page(shown, numbers, set(keys).difference(str(c["id"]) for c in found))

    def _number(self, course_id: int) -> str | None:
        few = {"limitnumber": 3, "onlyactive": 1, "userfields": "id"}
        options: dict[str, Any] = {"courseid": course_id}
        for n, (name, value) in enumerate(few.items()):
            options |= {f"options[{n}][name]": name, f"options[{n}][value]": value}
        people = self._client.rows("core_enrol_get_enrolled_users", options)
        return self._courses.number_by_grades(course_id, (person["id"] for person in people))

    def fetch_members(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """The rows of the people whom the keys name, in all their courses, and what the keys name but isn't there."""
        canonical = {key: found for key in keys if (found := member_key(key)) is not None}
        names = self._learners.usernames({found.user_id for found in canonical.values()})
        raw = set(keys).difference(canonical)
        there: set[str] = set()
        in_courses: set[tuple[str, str]] = set()
        for rows in self._rows_of(self._participants, {*names.values(), *map(username, raw)}):
            records = [_participant(row) for row in rows]
            for page in _pages([entity], records):
                there.update(record.source_id for record in page.records)
                in_courses.update(
                    (r.payload["columns"][_USERNAME], r.payload["columns"][_COURSE]) for r in page.records
                )
                yield page
        # Which courses the rows without an ID number are of isn't told: any that a key names, so that none is gone.
        doubtful = {person for person, number in in_courses if not number}
        numbers = {number for person, number in in_courses if person in names.values()}
        courses = {number: course_id for course_id, number in self._courses.numbered(numbers).items()}
        ids = {(person, courses.get(number)) for person, number in in_courses}
        gone = [RawRecord(key, None, is_deleted=True) for key in sorted(raw - there) if username(key) not in doubtful]
        gone += [
            RawRecord(key, {"userid": found.user_id, "courseid": found.course_id}, is_deleted=True)
            for key, found in sorted(canonical.items())
            if (person := names.get(found.user_id)) not in doubtful and (person, found.course_id) not in ids
        ]
        yield Page(entity, gone)

    def fetch_ratings(self, keys: Collection[str]) -> Iterator[Page]:
        """As `fetch_members`, for competencies. A key without an ID number is any of the learner's."""
        if self._competencies is None:
            return
        canonical = {key: found for key in keys if (found := rating_key(key)) is not None}
        names = self._learners.usernames({user_id for user_id, _ in canonical.values()})
        raw = set(keys).difference(canonical)
        there: set[str] = set()
        codes: set[tuple[str, str]] = set()
        for rows in self._rows_of(self._competencies, {*names.values(), *map(username, raw)}):
            records = [_rating(row) for row in rows]
            there.update(record.source_id for record in records)
            codes.update((row[3], number) for row in rows for number in (row[1], ""))
            yield Page(LmsEntity.COMPETENCIES, records)
        gone = [RawRecord(key, None, is_deleted=True) for key in sorted(raw - there)]
        gone += [
            RawRecord(key, {"userid": user_id, "code": code}, is_deleted=True)
            for key, (user_id, code) in sorted(canonical.items())
            if (names.get(user_id), code) not in codes
        ]
        yield Page(LmsEntity.COMPETENCIES, gone)

    def _rows_of(self, report: Report, people: set[str]) -> Iterator[list[Row]]:
        """The rows of some people: asked for one by one, or picked from the whole report.

        It is picked for many people, and where the report has no filter for usernames, which shows by other people's
        rows in the answer.
        """
        if len(people) <= _PEOPLE_BY_NAME and (yield from self._one_by_one(report, people)):
            return
        for rows in report.rows():
            yield [row for row in rows if row[report.person] in people]

    def _one_by_one(self, report: Report, people: set[str]) -> Generator[list[Row], None, bool]:
        """The rows of each; gives whether the report has the filter."""
        for person in sorted(people):
            with closing(report.rows(text_filter("user:username", person))) as pages:
                for rows in pages:
                    if any(row[report.person] != person for row in rows):
                        return False
                    yield rows
        return True


def _pages(entities: Collection[LmsEntity], records: list[RawRecord]) -> Iterator[Page]:
    """The same rows for each entity that they tell of; only graded ones are scores."""
    for entity in _MEMBERS:
        if entity in entities:
            graded = (r for r in records if entity is not LmsEntity.SCORES or r.payload["columns"][_GRADE])
            yield Page(entity, list(graded))


def _participant(row: Row, *, alone: bool = False) -> RawRecord:
    """`alone`: rows of the same person and course, by other methods, need not have been read along with it."""
    payload: Mapping[str, Any] = {"columns": row, "alone": True} if alone else {"columns": row}
    # Somebody may be in a course by two methods of one name, and in two roles.
    key = ":".join([row[_USERNAME], row[_COURSE], row[_METHOD], row[_ROLE], row[_CREATED]])
    if not row[_COURSE]:
        # Which course it is isn't told: rows of several courses may differ in nothing but their progress.
        key += ":" + hashlib.sha256("\0".join(row).encode()).hexdigest()[:12]
    return RawRecord(key, payload)


def _rating(row: Row) -> RawRecord:
    return RawRecord(f"{row[3]}:{row[0]}:{row[1]}", {"columns": row})
