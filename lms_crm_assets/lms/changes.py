"""The changes contract: any LMS or middleware that serves `/api/v1/{entity}` and `/api/v1/changes`.

Listings hold live rows only; the change feed holds upserts and deletes in the order of `updated_at`. The contract is
docs/changes-contract.md, in OpenAPI docs/changes-contract.openapi.yaml.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import ChangesSource, LmsThrottle
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.entry import FixedEntry
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.rows import by_id, newest
from lms_crm_assets.lms.streams import merged
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

_ROOT = "/api/v1"
_PASSES = 3
_KEYS_A_CALL = 100
# A listing that gives twice its total and this many rows more goes round in circles.
_SURPLUS = 10_000
_ADDRESS_BYTES = 4000
_ALL = frozenset(LmsEntity)

T = TypeVar("T")


class ChangesAdapter:
    """One LMS behind the changes contract."""

    capabilities = Capabilities(entities=_ALL, supports_since=_ALL, has_tombstones=_ALL)

    def __init__(
        self, source: ChangesSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self._source = source
        entry = FixedEntry.bearer(source.url, secret_of(source.token), "source.token")
        gate = lms_gate(store, source.url, entry.credential, limit, at_once=source.concurrency)
        self._transport = Transport(source.url, gate, entry, connections=source.concurrency)

    def probe(self) -> list[str]:
        """Ask the service what it is and what it has for us."""
        served = _member(self._about(self._transport.probe("GET", _ROOT).content), "entities", list)
        return [
            f"the LMS serves no {entity}: there are none to be read" for entity in LmsEntity if entity not in served
        ]

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """The listings of the entities, or the change feed from `since` less the configured overlap."""
        if since is not None:
            yield from self._changes(entities, since - timedelta(seconds=self._source.overlap_seconds))
            return
        about = self._about(self._transport.get(_ROOT))
        served, segments = _member(about, "entities", list), self._segments(about)
        for entity in LmsEntity:
            if entity in entities and entity in served:
                yield from self._listing(entity, segments)

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """Rows by their ids, a hundred a call."""
        asked = sorted(set(keys))
        for some in _calls(asked):
            items = _member(self._transport.get(f"{_ROOT}/{entity}", {"id": some}), "items", list)
            found = by_id(items)
            if surplus := {record.source_id for record in found} - set(some):
                raise ProtocolError(
                    f"{self._source.url} was asked for {len(some)} {entity} by their ids and gives {len(surplus)} others:"
                    " see docs/changes-contract.md"
                )
            gone = set(some) - {record.source_id for record in found}
            yield Page(entity, [*found, *(RawRecord(key, None, is_deleted=True) for key in sorted(gone))])

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _about(self, about: Any) -> Any:
        """What the index says of the service; `ProtocolError` where it is no index."""
        if not isinstance(about, dict) or "entities" not in about:
            raise ProtocolError(f"{self._source.url} answers, but not as the changes contract asks: check source.url")
        return about

    def _segments(self, about: Mapping[str, Any]) -> int:
        """In how many parts a listing is read at once."""
        offered = about.get("max_segments", 1)
        return max(1, min(self._source.concurrency, offered)) if isinstance(offered, int) else 1

    def _listing(self, entity: LmsEntity, segments: int) -> Iterator[Page]:
        """All rows; once more from the start when fewer came than the LMS ever said to have while it was read."""
        seen = least = 0
        for _ in range(_PASSES):
            seen, totals = 0, set()
            streams = [partial(self._segment, entity, n, segments)() for n in range(segments)]
            for items, total in merged(streams, segments):
                yield Page(entity, by_id(items, seen), newest(items, "updated_at"))
                seen += len(items)
                totals.add(total)
                if seen > 2 * max(totals) + _SURPLUS:
                    raise ProtocolError(
                        f"{self._source.url} says it has {total} {entity} and gives {seen} and more: the paging never ends"
                    )
            least = min(totals)
            if seen >= least:
                yield Page(entity, [], total=least)
                return
        raise RetryableError(
            f"{self._source.url} gives {seen} {entity} where it says it has {least}: nothing was changed; run again"
        )

    def _segment(self, entity: LmsEntity, segment: int, segments: int) -> Iterator[tuple[list[Any], int]]:
        of_many = {"segment": segment, "segments": segments} if segments > 1 else {}
        for answer in self._pages(f"{_ROOT}/{entity}", of_many):
            yield _member(answer, "items", list), _member(answer, "total", int)

    def _changes(self, entities: Collection[LmsEntity], since: datetime) -> Iterator[Page]:
        stamp = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for answer in merged([self._pages(f"{_ROOT}/changes", {"since": stamp})], 1):
            by_entity: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
            for change in _member(answer, "changes", list):
                by_entity[_member(change, "entity", str)].append(change)
            latest = newest(answer["changes"], "updated_at")
            for entity in LmsEntity:
                if entity in entities:
                    # One feed brings all entities up to its newest change.
                    yield Page(entity, [_changed(change) for change in by_entity.get(entity, [])], latest)

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


def _calls(keys: list[str]) -> Iterator[list[str]]:
    """The keys, as many at a time as an address holds."""
    some: list[str] = []
    length = 0
    for key in keys:
        more = len(quote(key)) + len("&id=")
        if some and (len(some) == _KEYS_A_CALL or length + more > _ADDRESS_BYTES):
            yield some
            some, length = [], 0
        some.append(key)
        length += more
    if some:
        yield some


def _changed(change: Any) -> RawRecord:
    key, op, data = str(_member(change, "id", object)), change.get("op"), change.get("data")
    if op == "delete":
        return RawRecord(key, data, is_deleted=True)
    if op != "upsert" or not isinstance(data, dict):
        raise ProtocolError(
            "the LMS gives a change that is neither a delete nor an upsert with its data: see docs/changes-contract.md"
        )
    return RawRecord(key, data)


def _member(answer: Any, name: str, kind: type[T]) -> T:
    """A member of an answer; `ProtocolError` where the contract's shape is not kept."""
    if not isinstance(answer, dict) or not isinstance(answer.get(name), kind):
        raise ProtocolError(
            f"the LMS answers without '{name}' as the changes contract asks: see docs/changes-contract.md"
        )
    found: T = answer[name]
    return found
