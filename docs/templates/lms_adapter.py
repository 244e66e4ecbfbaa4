"""A whole LMS adapter to begin with: it reads listings page by page. docs/adding-an-adapter.md says what comes beside it.

The LMS of this template serves `GET /api/v1/{entity}?limit=&cursor=` as `{"items": […], "next": …, "total": …}` and
`GET /api/v1/{entity}/{id}`. A test runs it against the simulated school, which does.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from lms_crm_assets.contract.credentials import Resolve, SecretRef, resolve
from lms_crm_assets.contract.endpoints import Address
from lms_crm_assets.contract.models import LmsThrottle
from lms_crm_assets.contract.sources import LmsSource
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import MissingError, PermissionMissingError, ProtocolError, RetryableError
from lms_crm_assets.lms.entry import FixedEntry
from lms_crm_assets.lms.protocol import Capabilities, LmsAdapter, Page
from lms_crm_assets.lms.rows import Fruitful, by_id
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

# Where each entity is listed; one that the LMS doesn't have is left out.
_PATHS = {
    LmsEntity.LEARNERS: "/api/v1/learners",
    LmsEntity.COURSES: "/api/v1/courses",
    LmsEntity.ENROLLMENTS: "/api/v1/enrollments",
}


class TemplateSource(LmsSource):
    """The `source` of a contract; it belongs into contract/sources.py."""

    adapter: Literal["template"] = Field(description="The LMS of the template.")
    url: Address = Field(description="The address, without /api/v1.")
    token: SecretRef = Field(description="A bearer token.")
    page_size: int = Field(500, ge=1, le=1000, description="Rows a page.")
    concurrency: int = Field(4, ge=1, le=16, description="Calls under way at once.")


class TemplateAdapter:
    """One LMS of that kind."""

    # Nothing is in `supports_since`: each pull reads everything. Nothing is in `has_tombstones`: full pulls find deletes.
    capabilities = Capabilities(entities=frozenset(_PATHS))

    def __init__(
        self, source: TemplateSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self._source = source
        entry = FixedEntry.bearer(source.url, secret_of(source.token), "source.token")
        gate = lms_gate(store, source.url, entry.credential, limit, at_once=source.concurrency)
        self._transport = Transport(source.url, gate, entry, connections=source.concurrency)

    def probe(self) -> list[str]:
        """Ask for the first row of each listing; what may not be read is told."""
        unseen = []
        for entity, path in _PATHS.items():
            try:
                self._transport.probe("GET", path, params={"limit": 1})
            except PermissionMissingError:
                unseen.append(f"the credential may not read {entity}: there are none to be read")
        if len(unseen) == len(_PATHS):
            raise PermissionMissingError(f"{self._source.url} lets the credential read nothing: check source.token")
        return unseen

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """Each listing, whole."""
        del since  # of no entity is told what changed
        for entity, path in _PATHS.items():
            if entity in entities:
                yield from self._listing(entity, path)

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """Rows by their ids, one a call; only a clear answer means that a row is gone."""
        for key in sorted(set(keys)):
            found = self._found(entity, key)
            yield Page(entity, [RawRecord(key, found, is_deleted=found is None)])

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _listing(self, entity: LmsEntity, path: str) -> Iterator[Page]:
        query: dict[str, Any] = {"limit": self._source.page_size}
        seen, paging = 0, Fruitful()
        while True:
            answer = self._transport.get(path, query)
            items = _rows(answer)
            if not paging.page(items):
                raise ProtocolError(f"{self._source.url}{path} gives the same rows again and again")
            yield Page(entity, by_id(items, seen))
            seen += len(items)
            query["cursor"] = answer.get("next")
            if query["cursor"] is None:
                break
        # A listing that is shorter than it says was cut; what is missing would count as gone.
        total = answer.get("total")
        if isinstance(total, int) and seen < total:
            raise RetryableError(f"{self._source.url} gives {seen} {entity} where it says it has {total}; run again")
        yield Page(entity, [], total=seen)

    def _found(self, entity: LmsEntity, key: str) -> Any:
        if entity not in _PATHS:
            return None
        path = f"{_PATHS[entity]}/{quote(key, safe='')}"
        try:
            found = self._transport.get(path)
        except MissingError:
            return None
        # Whatever the address was taken for, another row is no answer about this one.
        if not isinstance(found, dict) or str(found.get("id")) != key:
            raise ProtocolError(f"{self._source.url}{_PATHS[entity]} gives another row than the one that was asked for")
        return found


def _rows(answer: Any) -> list[Any]:
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise ProtocolError("the LMS answers without 'items'")
    return items


def fits(adapter: TemplateAdapter) -> LmsAdapter:
    """Type checkers hold the adapter against the protocol here."""
    return adapter
