"""The changes contract: any LMS or middleware that serves `/api/v1/{entity}` and `/api/v1/changes`.

Listings hold live rows only; the change feed holds upserts and deletes in the order of `updated_at`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.models import ChangesSource, LmsThrottle
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import ProtocolError
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

_ROOT = "/api/v1"
_PASSES = 3

T = TypeVar("T")


class ChangesAdapter:
    """One LMS behind the changes contract."""

    capabilities = Capabilities(supports_since=True, has_tombstones=True)

    def __init__(self, source: ChangesSource, limit: LmsThrottle, store: OperationalStore) -> None:
        self._source = source
        token = resolve(source.token).get_secret_value()
        self._transport = Transport(
            source.url, lms_gate(store, source.url, token, limit), headers={"Authorization": f"Bearer {token}"}
        )

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
        """All rows; once more from the start when rows were added while it was read."""
        for _ in range(_PASSES):
            seen = total = 0
            for answer in self._pages(f"{_ROOT}/{entity}", {}):
                items, total = _member(answer, "items", list), _member(answer, "total", int)
                yield Page(entity, [_record(item, seen + n) for n, item in enumerate(items)], _latest(items), total)
                seen += len(items)
            if seen >= total:
                return

    def _changes(self, entities: Collection[LmsEntity], since: datetime) -> Iterator[Page]:
        stamp = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for answer in self._pages(f"{_ROOT}/changes", {"since": stamp}):
            by_entity: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
            for change in _member(answer, "changes", list):
                by_entity[_member(change, "entity", str)].append(change)
            for entity in LmsEntity:
                changes = by_entity.get(entity, [])
                if entity in entities and changes:
                    yield Page(entity, [_changed(change) for change in changes], _latest(changes))

    def _pages(self, path: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        query = {**parameters, "limit": self._source.page_size}
        cursors: set[str] = set()
        while True:
            answer = self._transport.get(path, query)
            yield answer
            cursor = answer.get("next")
            if cursor is None:
                return
            if cursor in cursors:
                raise ProtocolError(f"{self._source.url}{path} repeats the cursor {cursor!r}: the paging never ends")
            cursors.add(cursor)
            query["cursor"] = cursor


def _record(item: Any, position: int) -> RawRecord:
    """A listed row; one without an id gets a key of its own, so that it is refused with a code and not lost."""
    given = item.get("id") if isinstance(item, dict) else None
    return RawRecord(f"(row {position} has no id)" if given is None else str(given), item)


def _changed(change: Any) -> RawRecord:
    return RawRecord(str(_member(change, "id", object)), change.get("data"), is_deleted=change.get("op") == "delete")


def _member(answer: Any, name: str, kind: type[T]) -> T:
    """A member of an answer; `ProtocolError` where the contract's shape is not kept."""
    if not isinstance(answer, dict) or not isinstance(answer.get(name), kind):
        raise ProtocolError(
            f"the LMS answers without '{name}' as the changes contract asks: see docs/changes-contract.md"
        )
    found: T = answer[name]
    return found


def _latest(rows: Collection[Any]) -> datetime | None:
    """The newest readable stamp; one that can't be read is the check's business, not the cursor's."""
    stamps = {row["updated_at"] for row in rows if isinstance(row, dict) and isinstance(row.get("updated_at"), str)}
    return max(filter(None, map(_moment, stamps)), default=None)


def _moment(stamp: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return found if found.tzinfo else None
