"""The adapter: which collections an entity is read from, and what its rows need of others. See docs/oneroster.md."""

from collections.abc import Collection as Keys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import LmsThrottle, OneRosterSource
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import PermissionMissingError
from lms_crm_assets.lms.entry import OAuthClient, OAuthEntry
from lms_crm_assets.lms.oneroster.collection import GRADEBOOK, ROSTERING, Collection
from lms_crm_assets.lms.oneroster.held import Held
from lms_crm_assets.lms.oneroster.offsets import Listing
from lms_crm_assets.lms.oneroster.probe import probe
from lms_crm_assets.lms.oneroster.records import page_of
from lms_crm_assets.lms.oneroster.results import results_since
from lms_crm_assets.lms.prefetch import ordered
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

_SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/{}.readonly"
_ROSTER = frozenset({LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS})
_OF_RESULTS = frozenset({LmsEntity.SCORES, LmsEntity.COMPETENCIES})
_KEYS_A_PAGE = 100


class OneRosterAdapter:
    """One provider of OneRoster 1.2. It soft-deletes, so what changed since a moment has the deletes in it."""

    def __init__(
        self, source: OneRosterSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self._source = source
        entities = _ROSTER | (_OF_RESULTS if source.gradebook else frozenset())
        self._capabilities = Capabilities(entities=entities, supports_since=entities, has_tombstones=entities)
        keys = "source.client_id and source.client_secret"
        client = OAuthClient(
            source.token_url, secret_of(source.client_id), secret_of(source.client_secret), keys, "source.token_url"
        )
        entry = OAuthEntry.client_credentials(client, _scopes(gradebook=source.gradebook))
        gate = lms_gate(store, source.url, entry.credential, limit, at_once=source.concurrency)
        self._transport = Transport(source.url, gate, entry, connections=source.concurrency)
        self._users = self._collection(f"{ROSTERING}/users", "users", "user")
        self._orgs = self._collection(f"{ROSTERING}/orgs", "orgs", "org")
        self._classes = self._collection(f"{ROSTERING}/classes", "classes", "class")
        self._courses = self._collection(f"{ROSTERING}/courses", "courses", "course")
        self._enrollments = self._collection(f"{ROSTERING}/enrollments", "enrollments", "enrollment")
        self._line_items = self._collection(f"{GRADEBOOK}/lineItems", "lineItems", "lineItem")
        self._results = self._collection(f"{GRADEBOOK}/results", "results", "result")

    @property
    def capabilities(self) -> Capabilities:
        """Completions are unknown to the standard; scores and ratings are read if the contract says so."""
        return self._capabilities

    def probe(self) -> list[str]:
        """A token, and one row of every collection that is read."""
        gradebook = [self._line_items, self._results] if self._source.gradebook else []
        return probe(self._users, [self._orgs, self._classes, self._courses, self._enrollments, *gradebook])

    def pull(self, entities: Keys[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """The collections of the entities, or what changed in them from `since` less the configured overlap.

        `PermissionMissingError` when a whole reading finds no user at all.
        """
        if since is not None:
            since -= timedelta(seconds=self._source.overlap_seconds)
        wanted = self._capabilities.entities.intersection(entities)
        if LmsEntity.LEARNERS in wanted:
            yield from self._learners(since)
        for entity in (LmsEntity.COURSES, LmsEntity.ENROLLMENTS):
            if entity in wanted:
                yield from self._listed([entity], self._held(entity), since)
        if of_results := sorted(wanted & _OF_RESULTS):
            items = self._items()
            if since is None:
                yield from self._listed(of_results, items, None)
            else:
                rows = results_since(partial(self._rows, self._results), self._results_at, items, since)
                yield from _pages(of_results, rows, items, whole=False)

    def fetch(self, entity: LmsEntity, keys: Keys[str]) -> Iterator[Page]:
        """Rows one by one, by their sourcedIds; the key of ratings is their result's.

        Nothing is said of rows that aren't found where the provider gives none by its key.
        """
        if entity not in self._capabilities.entities:
            return
        own, held, asked = self._own(entity), self._held(entity), sorted(set(keys))
        by_key = False
        for start in range(0, len(asked), _KEYS_A_PAGE):
            some = asked[start : start + _KEYS_A_PAGE]
            found = list(ordered((partial(own.one, key) for key in some), self._source.concurrency))
            rows: Sequence[Any] = [row for row in found if row is not None]
            by_key = by_key or bool(rows) or own.is_given_by_key()
            missing = [key for key, row in zip(some, found, strict=True) if row is None] if by_key else []
            gone = [RawRecord(key, None, is_deleted=True) for key in missing]
            page = page_of(entity, held.added_to(rows) if held else rows, whole=False)
            yield replace(page, records=[*page.records, *gone])

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _learners(self, since: datetime | None) -> Iterator[Page]:
        seen, whole = 0, since is None
        for page in self._listed([LmsEntity.LEARNERS], self._held(LmsEntity.LEARNERS), since):
            seen += len(page.records)
            yield page
        if whole and not seen:
            raise PermissionMissingError(
                f"{self._users.where}: the client sees nobody; let it read the users of the schools that are to be synced"
            )

    def _listed(self, entities: Sequence[LmsEntity], held: Held | None, since: datetime | None) -> Iterator[Page]:
        """The rows of a collection as each of the entities, to them added what is `held` of others.

        When one of those others changed, all rows may mean something else than before.
        """
        if held is not None and (since is None or held.changed(since)):
            held.read()
            since = None
        listing = self._listing(self._own(entities[0]), since)
        yield from _pages(entities, listing.rows(), held, whole=since is None)
        for entity in entities if since is None else ():
            if entity is not LmsEntity.COMPETENCIES:  # of the results only some are ratings
                yield Page(entity, [], total=listing.least)

    def _own(self, entity: LmsEntity) -> Collection:
        """The collection whose rows are the entity's."""
        match entity:
            case LmsEntity.LEARNERS:
                return self._users
            case LmsEntity.COURSES:
                return self._classes
            case LmsEntity.ENROLLMENTS:
                return self._enrollments
            case _:
                return self._results

    def _held(self, entity: LmsEntity) -> Held | None:
        """What the entity's rows need of others: the organization's name, the course's title, the score's range."""
        match entity:
            case LmsEntity.LEARNERS:
                return self._hold(self._orgs, "primaryOrg", "name")
            case LmsEntity.COURSES:
                return self._hold(self._courses, "course", "title", "courseCode")
            case LmsEntity.ENROLLMENTS:
                return None
            case _:
                return self._items()

    def _items(self) -> Held:
        return self._hold(
            self._line_items, "lineItem", "title", "class", "category", "resultValueMin", "resultValueMax"
        )

    def _hold(self, collection: Collection, reference: str, *members: str) -> Held:
        rows, at_once = partial(self._rows, collection), self._source.concurrency
        return Held(rows, collection.one, collection.is_offered, reference, members, at_once)

    def _collection(self, path: str, plural: str, singular: str) -> Collection:
        return Collection(self._transport, self._source.url, path, plural, singular)

    def _listing(self, collection: Collection, since: datetime | None) -> Listing:
        return collection.listing(since, page_size=self._source.page_size, at_once=self._source.concurrency)

    def _rows(self, collection: Collection, since: datetime | None) -> Iterator[Sequence[Any]]:
        return self._listing(collection, since).rows()

    def _results_at(self, path: str) -> Iterator[Sequence[Any]]:
        return self._rows(self._collection(f"{GRADEBOOK}{path}", "results", "result"), None)


def _pages(
    entities: Sequence[LmsEntity], rows: Iterable[Sequence[Any]], held: Held | None, *, whole: bool
) -> Iterator[Page]:
    """Rows as each of the entities, with what they need of others."""
    before = 0
    for some in rows:
        completed = held.added_to(some) if held else some
        for entity in entities:
            yield page_of(entity, completed, before, whole=whole)
        before += len(some)


def _scopes(*, gradebook: bool) -> str:
    """Both the core and the whole of a service: providers differ in which of them they know."""
    names = ["roster-core", "roster", *(["gradebook-core", "gradebook"] if gradebook else [])]
    return " ".join(_SCOPE.format(name) for name in names)
