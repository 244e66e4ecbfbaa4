"""Reading course by course through core services, for sites without reports."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import MissingError
from lms_crm_assets.lms.chunks import chunks
from lms_crm_assets.lms.moodle import completions, courses, grades, participants, ratings
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.courses import Course, Courses, is_front_page, withholds_number
from lms_crm_assets.lms.moodle.gone import confirm_gone, person_is_gone
from lms_crm_assets.lms.moodle.keys import MemberKey, member_key, rating_key
from lms_crm_assets.lms.moodle.participants import Participant
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.lms.streams import merged

_OF_MEMBERS = frozenset({LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES})
# Of so many courses the people are held at a time.
_COURSES_AT_A_TIME = 16
# One call a person: 50 of them are a page of some two seconds.
_PEOPLE_A_PAGE = 50
# Of more people than these the grades of the whole course are read.
_PEOPLE_BY_NAME = 20

People = dict[int, list[Participant]]


class ByCourse:
    """The core services of a site; at most `at_once` calls are under way."""

    functions = (participants.FUNCTION, completions.FUNCTION, grades.FUNCTION, *ratings.FUNCTIONS)

    def __init__(self, client: Client, listed: Courses, at_once: int) -> None:
        self._client, self._courses, self._at_once = client, listed, at_once

    def pull(self, entities: Collection[LmsEntity]) -> Iterator[Page]:
        """Everything of the entities, a few courses at a time."""
        rated = LmsEntity.COMPETENCIES in entities and self._client.has(ratings.FUNCTIONS)
        wanted = _OF_MEMBERS.intersection(entities) - (set() if rated else {LmsEntity.COMPETENCIES})
        for some in chunks(self._courses.all(), _COURSES_AT_A_TIME):
            people: People = defaultdict(list)
            numbers_missing = LmsEntity.COURSES in entities and any(map(withholds_number, some))
            if wanted or numbers_missing:
                ids = [int(course["id"]) for course in some if not is_front_page(course)]
                for page in merged((self._people(course_id, people) for course_id in ids), self._at_once):
                    if LmsEntity.ENROLLMENTS in entities:
                        yield page
                yield from merged(self._details(ids, people, wanted), self._at_once)
            if LmsEntity.COURSES in entities:
                yield from merged((self._course(course, people) for course in some), self._at_once)

    def _people(self, course_id: int, people: People) -> Iterator[Page]:
        """The enrollments of a course; who is active is kept in `people`."""
        found: dict[int, Participant] = {}
        try:
            for some in participants.participants(self._client, course_id):
                found |= {person.user_id: person for person in some if person.active}
                yield Page(LmsEntity.ENROLLMENTS, [person.record for person in some])
        except MissingError as exc:
            # The course is gone since the list was read?
            confirm_gone(self._client, exc, course_id=course_id)
            found = {}
        people[course_id] = list(found.values())

    def _details(self, ids: Collection[int], people: People, wanted: Collection[LmsEntity]) -> Iterator[Iterator[Page]]:
        for course_id in ids:
            if not people[course_id]:
                continue
            if LmsEntity.SCORES in wanted:
                yield self._grades(course_id)
            if LmsEntity.COMPLETIONS in wanted:
                tracked = self._courses.tracks_completion(course_id)
                for some in chunks(people[course_id], _PEOPLE_A_PAGE):
                    yield self._completions(some, tracked=tracked)
            if LmsEntity.COMPETENCIES in wanted and ratings.has_competencies(self._client, course_id):
                for some in chunks(people[course_id], _PEOPLE_A_PAGE):
                    yield self._ratings(course_id, some)

    def _grades(self, course_id: int) -> Iterator[Page]:
        yield Page(LmsEntity.SCORES, list(grades.grade_records(grades.grade_rows(self._client, course_id))))

    def _completions(self, some: Collection[Participant], *, tracked: bool) -> Iterator[Page]:
        found = completions.completion_records(self._client, some, tracked=tracked)
        yield Page(LmsEntity.COMPLETIONS, list(found))

    def _ratings(self, course_id: int, some: Collection[Participant]) -> Iterator[Page]:
        found = ratings.rating_records(self._client, course_id, [person.user_id for person in some])
        yield Page(LmsEntity.COMPETENCIES, list(found))

    def _course(self, course: Course, people: People) -> Iterator[Page]:
        """The course, with its ID number where the list withholds it and somebody's grades name it."""
        course_id = int(course["id"])
        number = None
        if withholds_number(course) and (some := people[course_id]) and self._client.has([grades.FUNCTION]):
            number = self._courses.number_by_grades(course_id, (person.user_id for person in some))
        yield courses.page([course], {str(course_id): number} if number else {})

    def fetch_courses(self, keys: Collection[str]) -> Iterator[Page]:
        """Courses by id."""
        found = self._courses.some({key for key in keys if key.isdecimal()})
        people: People = defaultdict(list)
        for _ in merged(
            (self._people(int(c["id"]), people) for c in found if not is_front_page(c) and withholds_number(c)),
            self._at_once,
        ):
            pass
        yield from merged((self._course(course, people) for course in found), self._at_once)
        yield courses.page((), {}, set(keys).difference(str(c["id"]) for c in found))

    def fetch_members(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """What the keys name, course by course: who is in one, and how, only its list tells."""
        by_course: dict[str, list[MemberKey]] = defaultdict(list)
        for key in sorted(set(keys)):
            if (found := member_key(key)) is not None:
                by_course[found.course_id].append(found)
        others = set(keys).difference(asked.key for group in by_course.values() for asked in group)
        yield Page(entity, [RawRecord(key, None, is_deleted=True) for key in sorted(others)])
        streams = (self._asked(entity, int(course_id), group) for course_id, group in by_course.items())
        yield from merged(streams, self._at_once)

    def _asked(self, entity: LmsEntity, course_id: int, asked: Collection[MemberKey]) -> Iterator[Page]:
        ids = {int(key.user_id) for key in asked}
        people: dict[int, Participant] = {}
        try:
            for some in participants.participants(self._client, course_id):
                people |= {person.user_id: person for person in some if person.user_id in ids}
        except MissingError as exc:
            confirm_gone(self._client, exc, course_id=course_id)
            people = {}
        records, told = self._told(entity, course_id, list(people.values()))
        there = {record.source_id for record in records}
        # A score asked for without its item is any of the person's in the course.
        there |= {":".join(key.split(":")[:2]) for key in there}
        gone = [
            RawRecord(key.key, None, is_deleted=True)
            for key in asked
            if key.key not in there and (int(key.user_id) not in people or int(key.user_id) in told)
        ]
        yield Page(entity, [*records, *gone])

    def _told(
        self, entity: LmsEntity, course_id: int, people: list[Participant]
    ) -> tuple[list[RawRecord], Collection[int]]:
        """The records of people in a course, and of whom they are all that there is.

        Of the others, who are not active or in a role that isn't tracked, Moodle tells nothing: what they had is neither
        known nor gone.
        """
        active = [person for person in people if person.active]
        records: list[RawRecord] = []
        told: set[int] = set()
        match entity:
            case LmsEntity.ENROLLMENTS:
                records = [person.record for person in people]
            case LmsEntity.COMPLETIONS if active:
                tracked = self._courses.tracks_completion(course_id)
                records = list(completions.completion_records(self._client, active, tracked=tracked))
            case LmsEntity.SCORES:
                rows = self._graded(course_id, active)
                told = {int(row["userid"]) for row in rows}
                records = list(grades.grade_records(rows))
            case LmsEntity.COMPETENCIES if active:
                told = {person.user_id for person in active}
                records = list(ratings.rating_records(self._client, course_id, sorted(told)))
        return records, told

    def _graded(self, course_id: int, active: list[Participant]) -> list[dict[str, Any]]:
        if len(active) > _PEOPLE_BY_NAME:
            return grades.grade_rows(self._client, course_id)
        return [row for person in active for row in grades.grade_rows(self._client, course_id, person.user_id)]

    def fetch_ratings(self, keys: Collection[str]) -> Iterator[Page]:
        """Ratings by `userid:courseid:competencyid`, or by learner and competency: these in all courses of the person.

        The courses in which somebody is not active any more are not told: a rating by learner and competency that is in
        none of the others is gone with the account only.
        """
        if not self._client.has(ratings.FUNCTIONS):
            return
        canonical = {key: found for key in set(keys) if (found := rating_key(key))}
        pairs: set[str] = set()
        for user_id in {user_id for user_id, _ in canonical.values()}:
            mine = self._courses_of(user_id)
            pairs.update(f"{user_id}:{course['id']}" for course in mine)
        codes: set[tuple[str, str]] = set()
        asked = set(keys).difference(canonical)
        for page in self.fetch_members(LmsEntity.COMPETENCIES, asked | pairs):
            living = [record for record in page.records if not record.is_deleted]
            codes.update((str(r.payload["userid"]), str(r.payload["competency"]["idnumber"])) for r in living)
            yield Page(page.entity, [r for r in page.records if not r.is_deleted or r.source_id in asked])
        unfound = {key: found for key, found in sorted(canonical.items()) if found not in codes}
        people_gone = {u for u in {user_id for user_id, _ in unfound.values()} if person_is_gone(self._client, u)}
        yield Page(
            LmsEntity.COMPETENCIES,
            [
                RawRecord(key, {"userid": user_id, "code": code}, is_deleted=True)
                for key, (user_id, code) in unfound.items()
                if user_id in people_gone
            ],
        )

    def _courses_of(self, user_id: str) -> list[Course]:
        try:
            return self._client.rows("core_enrol_get_users_courses", {"userid": user_id, "returnusercount": 0})
        except MissingError as exc:
            confirm_gone(self._client, exc, user_id=user_id)
            return []
