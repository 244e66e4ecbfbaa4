"""The adapter of Canvas: people and courses of an account, then course after course, several at a time.

Canvas tells of no entity what changed since a moment: enrollments have no filter by time, and `graded_since` of
submissions leaves out grades that are taken back or shown later. So every pull reads everything.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import CanvasSource, LmsThrottle
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import (
    CredentialError,
    MissingError,
    PermissionMissingError,
    ProtocolError,
    WrongAddressError,
)
from lms_crm_assets.lms.canvas import records
from lms_crm_assets.lms.canvas.api import CanvasApi, needing
from lms_crm_assets.lms.canvas.course import OF_COURSES, CourseReader
from lms_crm_assets.lms.chunks import chunks
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.streams import merged
from lms_crm_assets.ops.store import OperationalStore

_KEYS_A_STREAM = 20
# Up to so many people of a course are asked for one by one; more are read with the whole course.
_PEOPLE_ONE_BY_ONE = 10
_PATHS = {LmsEntity.LEARNERS: "users", LmsEntity.COURSES: "courses"}


class CanvasAdapter:
    """One account of a Canvas."""

    capabilities = Capabilities(entities=frozenset(LmsEntity))

    def __init__(
        self, source: CanvasSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self._source = source
        self._account = f"/accounts/{source.account}"
        self._api = CanvasApi(source, limit, store, secret_of)
        self._own: str | None = None

    def probe(self) -> list[str]:
        """Ask who we are, for the account, and for the first rows of all that is read."""
        self._api.probe("/users/self")
        try:
            with needing(f"may not see the account {self._source.account}"):
                self._api.one(self._account)
        except MissingError as exc:
            raise WrongAddressError(f"{self._source.url} has no such account: check source.account") from exc
        self._sees_others()
        with needing("may not list the account's courses"):
            courses = self._api.some(f"{self._account}/courses", 1)
        course = records.text_id(courses[0]) if courses else None
        return self._unmailed() + ([] if course is None else self._unseen(course))

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """Everything of the entities; `since` is of no use here."""
        del since
        self._sees_others()
        if LmsEntity.LEARNERS in entities:
            # Canvas docs: `id` is the order to retrieve many pages in.
            query = {"include[]": ["email"], "sort": "id", "order": "asc"}
            with needing("may not list the account's users"):
                for found in self._by_id("users", query):
                    yield Page(LmsEntity.LEARNERS, found)
        wanted = OF_COURSES.intersection(entities)
        if not wanted and LmsEntity.COURSES not in entities:
            return
        courses: list[str] = []
        with needing("may not list the account's courses"):
            for found in self._by_id("courses", {"include[]": ["term"]}):
                courses += filter(None, (records.text_id(record.payload) for record in found))
                if LmsEntity.COURSES in entities:
                    yield Page(LmsEntity.COURSES, found)
        if wanted:
            readers = (CourseReader(self._api, course, wanted, self._source.activities) for course in courses)
            yield from merged((reader.pages() for reader in readers), self._source.concurrency)

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """Learners and courses by their ids; of all else what their courses hold of their learners."""
        own = self._sees_others()
        asked = sorted(set(keys))
        if entity in _PATHS:
            streams: Iterator[Iterator[Page]] = (self._each(entity, some) for some in chunks(asked, _KEYS_A_STREAM))
        else:
            by_course: dict[str, set[str]] = defaultdict(set)
            for key in asked:
                found = records.Key.read(key)
                by_course[found.course if found else ""].add(key)
            streams = (self._of_course(entity, course, some, own) for course, some in by_course.items())
        yield from merged(streams, self._source.concurrency)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def _by_id(self, what: str, query: dict[str, Any]) -> Iterator[list[RawRecord]]:
        row = 0
        for items in self._api.listing(f"{self._account}/{what}", query):
            yield records.by_id(items, row)
            row += len(items)

    def _each(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        for key in keys:
            found = self._found(f"/{_PATHS[entity]}/{key}") if key.isdecimal() else None
            yield Page(entity, [RawRecord(key, found, is_deleted=found is None)])

    def _found(self, path: str) -> Any:
        query = {"include[]": "term" if path.startswith("/courses") else "email"}
        try:
            found = self._api.one(path, query)
        except MissingError:
            return None
        return None if found.get("workflow_state") == "deleted" else records.by_itself(found)

    def _of_course(self, entity: LmsEntity, course: str, keys: set[str], own: str) -> Iterator[Page]:
        missing = set(keys)
        if course:
            people = {key.partition(":")[0] for key in keys}
            # Asked for its own enrollments, Canvas refuses to be asked for deleted ones.
            few = len(people) <= _PEOPLE_ONE_BY_ONE and own not in people
            users = people if few else None
            reader = CourseReader(self._api, course, {entity}, self._source.activities, users, doubted=people)
            for page in reader.pages():
                missing -= {record.source_id for record in page.records}
                yield page
            if entity is LmsEntity.COMPLETIONS:
                missing = {key for key in missing if key.partition(":")[0] not in reader.unknown}
        yield Page(entity, [RawRecord(key, None, is_deleted=True) for key in sorted(missing)])

    def _sees_others(self) -> str:
        """Our own id, when the account shows anybody else: else all would look as if it were gone."""
        if self._own is None:
            own = records.text_id(self._api.one("/users/self"))
            if own is None:
                raise ProtocolError(f"{self._source.url} answers, but not as a Canvas does: check source.url")
            with needing("may not list the account's users"):
                users = self._api.some(f"{self._account}/users", 2)
            if {records.text_id(user) for user in users} <= {own}:
                raise PermissionMissingError(
                    f"the Canvas token sees nobody but itself in the account {self._source.account}: it has to be an"
                    " account admin's, see docs/canvas.md"
                )
            self._own = own
        return self._own

    def _unmailed(self) -> list[str]:
        users = self._api.glance(f"{self._account}/users", {"include[]": "email"})
        if any(isinstance(user, dict) and "email" in user for user in users):
            return []
        return ["the token may not see e-mail addresses, so that every learner will be refused; see docs/canvas.md"]

    def _unseen(self, course: str) -> list[str]:
        """What may not be read of a course, a sentence each."""
        asked: dict[LmsEntity, tuple[str, dict[str, Any] | None]] = {
            LmsEntity.ENROLLMENTS: (f"/courses/{course}/enrollments", None),
            LmsEntity.COMPLETIONS: (f"/courses/{course}/bulk_user_progress", None),
            LmsEntity.SCORES: (f"/courses/{course}/students/submissions", {"student_ids[]": "all"}),
            LmsEntity.COMPETENCIES: (f"/courses/{course}/outcome_results", None),
        }
        return [
            f"the token may not see the {entity} of course {course}: Canvas refuses {path}, see docs/canvas.md"
            for entity, (path, query) in asked.items()
            if not self._may(path, query)
        ]

    def _may(self, path: str, query: dict[str, Any] | None) -> bool:
        try:
            self._api.glance(path, query)
        except (PermissionMissingError, CredentialError):
            return False
        except ProtocolError:
            return True  # it may ask, and there is nothing to tell: a course without requirements
        return True
