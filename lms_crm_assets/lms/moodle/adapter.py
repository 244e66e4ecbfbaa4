"""The adapter: which of the ways to read a Moodle is taken, and what it can tell."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import LmsThrottle, MoodleSource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.moodle.by_course import ByCourse
from lms_crm_assets.lms.moodle.by_report import ByReport
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.courses import Courses
from lms_crm_assets.lms.moodle.learners import USERS_HEADERS, Learners
from lms_crm_assets.lms.moodle.probing import lacking, unknowable
from lms_crm_assets.lms.moodle.reports import Report
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.ops.store import OperationalStore

_BY_PARTICIPANTS = frozenset(
    {LmsEntity.COURSES, LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES}
)  # fmt: skip


class MoodleAdapter:
    """One Moodle site."""

    def __init__(
        self, source: MoodleSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self._source = source
        self._client = Client(source, limit, store, secret_of)
        reports = source.reports
        self._users = (
            Report(self._client, reports.users, USERS_HEADERS, "Username", "source.reports.users")
            if reports is not None and reports.users is not None
            else None
        )
        self._learners = Learners(self._client, self._users)
        courses = Courses(self._client, source.concurrency)
        self._by_course = ByCourse(self._client, courses, source.concurrency)
        self._by_report = ByReport(self._client, reports, self._learners, courses) if reports is not None else None

    @property
    def capabilities(self) -> Capabilities:
        """Only the reports can tell what changed, and nothing tells of deletes."""
        reports = self._source.reports
        if reports is None:
            return Capabilities(entities=frozenset(LmsEntity))
        unrated = {LmsEntity.COMPETENCIES} if reports.competencies is None else set()
        learners = {LmsEntity.LEARNERS} if reports.users is not None else set()
        return Capabilities(
            entities=frozenset(LmsEntity) - unrated, supports_since=_BY_PARTICIPANTS | frozenset(learners)
        )

    def probe(self) -> list[str]:
        """Ask the site who we are, whether we see others than ourselves, and whether the reports are as they have to be."""
        site = self._client.probe()
        by_report = self._by_report is not None
        unnumbered: list[str] = []
        if "core_user_get_users_by_field" in site.functions:
            self._learners.require_others()
        if self._by_report is not None and "core_reportbuilder_retrieve_report" in site.functions:
            unnumbered = list(self._by_report.check())
            if self._users is not None:
                self._users.check()
        rated = LmsEntity.COMPETENCIES in self.capabilities.entities
        said = [*lacking(site.functions, by_report=by_report), *unknowable(by_report=by_report, rated=rated)]
        return [*said, *unnumbered]

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """Everything of the entities, or what the reports say has changed at or after `since` less the overlap.

        Moodle stamps no rows: the cursor is the moment at which the pull began.
        """
        began = datetime.now(UTC)
        wanted = self.capabilities.entities.intersection(entities)
        if since is not None:
            since -= timedelta(seconds=self._source.overlap_seconds)
        if LmsEntity.LEARNERS in wanted:
            yield from self._learners.all() if since is None else self._learners.changed(since)
        if self._by_report is not None:
            yield from self._by_report.pull(wanted, since)
        else:
            yield from self._by_course.pull(wanted)
        for entity in LmsEntity:
            if entity in wanted:
                yield Page(entity, [], latest=began)

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """The records with these keys, raw or canonical, as they are now."""
        if not keys or entity not in self.capabilities.entities:
            return
        reader = self._by_report or self._by_course
        match entity:
            case LmsEntity.LEARNERS:
                yield from self._learners.fetch(keys)
            case LmsEntity.COURSES:
                yield from reader.fetch_courses(keys)
            case LmsEntity.COMPETENCIES:
                yield from reader.fetch_ratings(keys)
            case _:
                yield from reader.fetch_members(entity, keys)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
