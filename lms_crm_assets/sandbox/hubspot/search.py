"""The search endpoint: filter groups over an index that may lag behind the records.

HubSpot documentation, "Search the CRM": groups are joined by OR, their filters by AND; text is compared without case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from lms_crm_assets.sandbox.hubspot.errors import validation_error
from lms_crm_assets.sandbox.hubspot.objects import view
from lms_crm_assets.sandbox.hubspot.schema import ObjectType
from lms_crm_assets.sandbox.hubspot.search_filters import (
    ALWAYS,
    Comparable,
    Filter,
    matches,
    read_filter,
    reader,
    tokens,
)
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Record, Table
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape

MAX_GROUPS = 5
MAX_FILTERS = 6
MAX_LIMIT = 200
MAX_RESULTS = 10_000
DEFAULT_LIMIT = 10
_REMEMBERED = 16

_SEARCH: Shape = {
    "filterGroups": "list",
    "sorts": "list",
    "query": "string",
    "properties": "strings",
    "limit": "int",
    "after": "any",
}
_GROUP: Shape = {"filters": "list"}
_SORT: Shape = {"propertyName": "string", "direction": "string"}


@dataclass(frozen=True, slots=True)
class Found:
    """How many records match, and the first of them in order."""

    total: int
    first: Sequence[Record]


class Search:
    """The endpoint `…/{type}/search`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: WeakKeyDictionary[Table, tuple[int, dict[bytes, Found]]] = WeakKeyDictionary()

    def endpoints(self) -> list[Endpoint]:
        """On the v3 and the dated paths."""
        return [
            Endpoint("POST", f"{base}/search", self.search, "search")
            for base in ("/crm/v3/objects/{type}", "/crm/objects/{version}/{type}")
        ]

    def search(self, call: Call) -> Answer:
        """A page of up to 200 and never beyond the 10,000th result; `after` is an offset."""
        table = self._store.table(call.path["type"])
        body = call.json(_SEARCH)
        limit, offset = _page(body)
        if self._store.short_search_pages:
            limit = (limit + 1) // 2
        found = self._found(call, table, body)
        shown = found.first[offset : offset + limit]
        content: dict[str, Any] = {
            "total": found.total,
            "results": [view(table.type, record, body.get("properties") or None) for record in shown],
        }
        if offset + limit < found.total:
            content["paging"] = {"next": {"after": str(offset + limit)}}
        return Answer(content)

    def _found(self, call: Call, table: Table, body: dict[str, Any]) -> Found:
        """What the index finds, remembered until a record changes: the pages of a search cost one scan together."""
        stale = self._store.indexed(table)
        asked = orjson.dumps([body.get(part) for part in ("filterGroups", "query", "sorts")])
        version, remembered = self._remembered.get(table, (-1, {}))
        if version != table.version or stale or len(remembered) >= _REMEMBERED:
            remembered = {}
            self._remembered[table] = (-1 if stale else table.version, remembered)
        if asked not in remembered:
            groups = _groups(call, table, body.get("filterGroups") or [])
            found = [record for record in _candidates(table, stale, groups) if matches(record, groups)]
            if body.get("query"):
                found = [record for record in found if _mentions(table.type, record, body["query"])]
            found = _sorted(call, table.type, found, body.get("sorts") or [])
            remembered[asked] = Found(len(found), found[:MAX_RESULTS])
        return remembered[asked]


def _candidates(table: Table, stale: dict[int, Record | None], groups: Sequence[Sequence[Filter]]) -> Iterable[Record]:
    """What the index holds, narrowed when every group allows it: by unique values, or by the time of change."""
    if groups and not stale:
        keyed = [next((one for one in group if one.keys is not None), None) for group in groups]
        if None not in keyed:
            ids = {
                record_id
                for one in keyed
                if one is not None
                for key in one.keys or ()
                if (record_id := table.unique[one.name].get(key)) is not None
            }
            return [table.records[record_id] for record_id in sorted(ids)]
    first, last = _span(groups)
    current = table.all_live() if (first, last) == ALWAYS else table.changed_between(first, last)
    if not stale:
        return current
    # Of a stale record only what it was counts, wherever that belongs.
    seen = [record for record in current if record.id not in stale]
    before = [record for record in stale.values() if record is not None and not record.archived]
    return sorted([*seen, *before], key=lambda record: record.id)


def _span(groups: Sequence[Sequence[Filter]]) -> tuple[float, float]:
    """The moments of change outside of which no record can match."""
    spans = []
    for group in groups:
        bounds = [one.span for one in group if one.span is not None]
        spans.append(
            (
                max([first for first, _ in bounds], default=ALWAYS[0]),
                min([last for _, last in bounds], default=ALWAYS[1]),
            )
        )
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else ALWAYS


def _page(body: dict[str, Any]) -> tuple[int, int]:
    limit, after = body.get("limit"), body.get("after")
    limit = DEFAULT_LIMIT if limit is None else limit
    if not 0 <= limit <= MAX_LIMIT:
        raise validation_error(f"The limit must be between 0 and {MAX_LIMIT}, but was {limit}")
    text = str(0 if after in (None, "") else after)
    if not text.isdecimal():
        raise validation_error("The 'after' paging cursor is invalid", {"after": [text]})
    if int(text) + limit > MAX_RESULTS:
        raise validation_error(f"Paging past {MAX_RESULTS} results is not supported, after was {text}")
    return limit, int(text)


def _groups(call: Call, table: Table, given: Sequence[Any]) -> list[list[Filter]]:
    if len(given) > MAX_GROUPS:
        raise validation_error(f"Up to {MAX_GROUPS} filter groups are allowed, but there were {len(given)}")
    groups = []
    for group in given:
        filters = call.fit(group, _GROUP, "filters")["filters"]
        if len(filters) > MAX_FILTERS:
            raise validation_error(f"Up to {MAX_FILTERS} filters a group are allowed, but there were {len(filters)}")
        groups.append([read_filter(call, table, one) for one in filters])
    return groups


def _mentions(object_type: ObjectType, record: Record, query: str) -> bool:
    held = " ".join(record.properties.get(name, "") for name in object_type.default_properties)
    return tokens(query) <= tokens(held)


def _sorted(call: Call, object_type: ObjectType, found: list[Record], sorts: Sequence[Any]) -> list[Record]:
    """By one property, those without a value last; without a sort by creation."""
    if not sorts:
        return found
    if len(sorts) > 1:
        raise validation_error("Only one sort is allowed")
    if isinstance(sorts[0], str):
        name, descending = sorts[0].removeprefix("-"), sorts[0].startswith("-")
    else:
        given = call.fit(sorts[0], _SORT, "propertyName")
        name, descending = given["propertyName"], given.get("direction") == "DESCENDING"
    if name not in object_type.properties:
        raise validation_error(f"There was a problem with the request. Property {name} does not exist.")
    read = reader(object_type, name)
    valued: list[tuple[Comparable, Record]] = []
    without: list[Record] = []
    for record in found:
        value = read(record)
        if value is None:
            without.append(record)
        else:
            valued.append((value, record))
    valued.sort(key=itemgetter(0), reverse=descending)
    return [record for _, record in valued] + without
