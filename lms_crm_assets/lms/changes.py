"""The changes contract: any LMS or middleware that serves `/api/v1/{entity}` and `/api/v1/changes`.

Listings hold live rows only; the change feed holds upserts and deletes in the order of `updated_at`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.models import ChangesSource
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.transport import Transport

_ROOT = "/api/v1"


class ChangesAdapter:
    """One LMS behind the changes contract."""

    capabilities = Capabilities(supports_since=True, has_tombstones=True)

    def __init__(self, source: ChangesSource) -> None:
        self._source = source
        token = resolve(source.token).get_secret_value()
        self._transport = Transport(source.url, headers={"Authorization": f"Bearer {token}"})

    def probe(self) -> None:
        """Ask the service what it is."""
        about = self._transport.probe("GET", _ROOT)
        if not isinstance(about, dict) or "entities" not in about:
            raise ProtocolError(f"{self._source.url} answers, but not as the changes contract asks: check source.url")

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """The listings of the entities, or the change feed from `since` less the configured overlap."""
        if since is not None:
            yield from self._changes(entities, since - timedelta(seconds=self._source.overlap_seconds))
            return
        for entity in LmsEntity:
            if entity in entities:
                yield from self._listing(entity)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _listing(self, entity: LmsEntity) -> Iterator[Page]:
        seen = 0
        for answer in self._pages(f"{_ROOT}/{entity}", {}):
            items = answer["items"]
            seen += len(items)
            yield Page(entity, [RawRecord(str(item["id"]), item) for item in items], _latest(items))
            if answer["next"] is None and seen < answer["total"]:
                raise RetryableError(f"{self._source.url}{_ROOT}/{entity} ended at {seen} of {answer['total']} rows")

    def _changes(self, entities: Collection[LmsEntity], since: datetime) -> Iterator[Page]:
        stamp = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for answer in self._pages(f"{_ROOT}/changes", {"since": stamp}):
            by_entity: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
            for change in answer["changes"]:
                by_entity[change["entity"]].append(change)
            for entity in LmsEntity:
                changes = by_entity.get(entity, [])
                if entity in entities and changes:
                    records = [RawRecord(str(c["id"]), c["data"], is_deleted=c["op"] == "delete") for c in changes]
                    yield Page(entity, records, _latest(changes))

    def _pages(self, path: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        query = {**parameters, "limit": self._source.page_size}
        cursors: set[str] = set()
        while True:
            answer = self._transport.get(path, query)
            yield answer
            cursor = answer["next"]
            if cursor is None:
                return
            if cursor in cursors:
                raise ProtocolError(f"{self._source.url}{path} repeats the cursor {cursor!r}: the paging never ends")
            cursors.add(cursor)
            query["cursor"] = cursor


def _latest(rows: Collection[Mapping[str, Any]]) -> datetime | None:
    # Texts of one format in UTC sort as the moments do; one parse a page is enough.
    stamps = [row["updated_at"] for row in rows if row.get("updated_at")]
    return datetime.fromisoformat(max(stamps)) if stamps else None
