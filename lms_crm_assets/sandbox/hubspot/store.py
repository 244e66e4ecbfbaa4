"""The records of all object types and their links. Ids only grow; an archived record keeps its place.

Links are shared tuples of association type ids.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lms_crm_assets.sandbox.hubspot.schema import AssociationType, ObjectType, Schema
from lms_crm_assets.sandbox.hubspot.table import Change, Record, Table
from lms_crm_assets.sandbox.hubspot.webhooks import Happenings

FIRST_ID = 30_000_000_001
Pair = tuple[str, str]


class Store:
    """The whole portal's data: one table a type, and the links between records."""

    def __init__(self, schema: Schema, *, search_lag_seconds: float = 0.0) -> None:
        self.schema = schema
        self.search_lag_seconds = search_lag_seconds
        self.short_search_pages = False
        self.happenings = Happenings()
        self.tables = {type_id: Table(kind) for type_id, kind in schema.types.items()}
        self.links: dict[Pair, dict[int, dict[int, tuple[int, ...]]]] = {}
        self._next_id = FIRST_ID
        self._tuples: dict[tuple[int, ...], tuple[int, ...]] = {}

    def table(self, name: str) -> Table:
        """The table behind a path segment; `HubSpotError` 400 for an unknown type."""
        return self.tables[self.schema.resolve(name).type_id]

    def new_id(self) -> int:
        """The next record id. A create that is then refused has used one up, as on HubSpot."""
        number = self._next_id
        self._next_id += 1
        return number

    def create(self, table: Table, record_id: int, values: Mapping[str, str]) -> Record:
        """Store a new record with an id from `new_id` and these canonical values."""
        now = table.now()
        record = Record(record_id, now, now, {name: text for name, text in values.items() if text})
        self._note(table, record.id, None)
        table.add(record)
        self.happenings.created(table, record)
        return record

    def update(self, table: Table, record: Record, values: Mapping[str, str]) -> bool:
        """Set canonical values, "" clears; False when nothing is different, then the record stays untouched."""
        held = record.properties
        changed = {name: text for name, text in values.items() if held.get(name, "") != text}
        if not changed:
            return False
        self._note(table, record.id, record)
        if table.unique.keys() & changed.keys():
            table.unindex(record)
        held.update(changed)
        for name, text in changed.items():
            if not text:
                del held[name]
        table.index(record)
        table.touch(record)
        self.happenings.updated(table, record, changed)
        return True

    def archive(self, table: Table, record: Record) -> None:
        """Archive a live record; its unique values are free again, its links come back with it."""
        self._note(table, record.id, record)
        table.set_aside(record)
        self.happenings.archived(table, record)

    def restore(self, table: Table, record: Record) -> None:
        """Bring an archived record back; one that was merged stands on its own again."""
        self._note(table, record.id, record)
        table.merged.pop(record.id, None)
        table.bring_back(record)
        self.happenings.restored(table, record)

    def merge(self, table: Table, loser: Record, winner: Record) -> None:
        """Fold one record into another: gaps are filled, links move, the old id leads to the survivor."""
        with self.happenings.as_one():
            self._merge(table, loser, winner)
        self.happenings.merged(table, loser, winner)

    def _merge(self, table: Table, loser: Record, winner: Record) -> None:
        self.archive(table, loser)
        values = {**loser.properties, **winner.properties}
        if "hs_merged_object_ids" in table.type.properties:
            before = winner.properties.get("hs_merged_object_ids")
            values["hs_merged_object_ids"] = f"{before};{loser.id}" if before else str(loser.id)
        self.update(table, winner, values)
        for to_type in self.schema.types:
            kinds = {kind.type_id: kind for kind in self.schema.associations.get((table.type.type_id, to_type), [])}
            for to_id, type_ids in list(self.links_of(table.type.type_id, loser.id, to_type)):
                for type_id in type_ids:
                    self.link((table.type.type_id, to_type), winner.id, to_id, kinds[type_id])
        table.merged = {old: winner.id if new == loser.id else new for old, new in table.merged.items()}
        table.merged[loser.id] = winner.id

    def link(self, pair: Pair, from_id: int, to_id: int, kind: AssociationType) -> bool:
        """Link two records in both directions; False when they already are."""
        fresh = self._link(pair, from_id, to_id, kind.type_id)
        self._link((pair[1], pair[0]), to_id, from_id, kind.inverse)
        if fresh:
            self.happenings.linked(pair, from_id, to_id, kind)
        return fresh

    def unlabel(self, pair: Pair, from_id: int, to_id: int, kind: AssociationType) -> None:
        """Take one association type off two records; without any left they are not linked."""
        held = kind.type_id in self.links.get(pair, {}).get(from_id, {}).get(to_id, ())
        for (one, other), first, second, type_id in (
            (pair, from_id, to_id, kind.type_id),
            ((pair[1], pair[0]), to_id, from_id, kind.inverse),
        ):
            linked = self.links.get((one, other), {}).get(first, {})
            left = tuple(held for held in linked.get(second, ()) if held != type_id)
            if left:
                linked[second] = self._shared(left)
            else:
                linked.pop(second, None)
        if held:
            self.happenings.linked(pair, from_id, to_id, kind, removed=True)

    def forget_label(self, pair: Pair, kind: AssociationType) -> None:
        """Take an association type off every link."""
        for from_id, linked in self.links.get(pair, {}).items():
            for to_id in [to_id for to_id, held in linked.items() if kind.type_id in held]:
                self.unlabel(pair, from_id, to_id, kind)

    def unlink(self, pair: Pair, from_id: int, to_id: int) -> bool:
        """Remove every association between two records; False when there was none."""
        found = self.links.get(pair, {}).get(from_id, {}).pop(to_id, None)
        self.links.get((pair[1], pair[0]), {}).get(to_id, {}).pop(from_id, None)
        for kind in self.schema.associations.get(pair, []):
            if found and kind.type_id in found:
                self.happenings.linked(pair, from_id, to_id, kind, removed=True)
        return found is not None

    def links_of(self, from_type: str, from_id: int, to_type: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The live records linked to one, with their association type ids."""
        records = self.tables[to_type].records
        for to_id, type_ids in self.links.get((from_type, to_type), {}).get(from_id, {}).items():
            if not records[to_id].archived:
                yield to_id, type_ids

    def indexed(self, table: Table) -> dict[int, Record | None]:
        """What the search index still shows otherwise than the table: the record as it was, or None."""
        horizon = time.monotonic() - self.search_lag_seconds
        while table.changes and table.changes[0].at <= horizon:
            table.changes.popleft()
        stale: dict[int, Record | None] = {}
        for change in table.changes:
            stale.setdefault(change.record_id, change.before)
        return stale

    def dump(self) -> dict[str, Any]:
        """JSON-able; `Store.load` takes it up."""
        return {
            "schema": self.schema.dump(),
            "next_id": self._next_id,
            "records": {
                type_id: [[r.id, r.created, r.updated, r.properties, r.archived] for r in table.records.values()]
                for type_id, table in self.tables.items()
            },
            "merged": {type_id: list(table.merged.items()) for type_id, table in self.tables.items()},
            "links": [
                [*pair, [[one, list(linked.items())] for one, linked in by_record.items()]]
                for pair, by_record in self.links.items()
            ],
        }

    @classmethod
    def load(cls, state: Mapping[str, Any], *, search_lag_seconds: float = 0.0) -> "Store":
        """The store that `dump` gave."""
        store = cls(Schema.load(state["schema"]), search_lag_seconds=search_lag_seconds)
        store._next_id = state["next_id"]
        for type_id, records in state["records"].items():
            for values in records:
                store.tables[type_id].add(Record(*values))
        for table in store.tables.values():
            table.sort_log()
        for type_id, merged in state["merged"].items():
            store.tables[type_id].merged = dict(merged)
        for one, other, by_record in state["links"]:
            store.links[one, other] = {
                from_id: {to_id: store._shared(tuple(kinds)) for to_id, kinds in linked}
                for from_id, linked in by_record
            }
        return store

    def add_type(self, object_type: ObjectType) -> None:
        """Make room for a new object type."""
        self.schema.add(object_type)
        self.tables[object_type.type_id] = Table(object_type)

    def remove_type(self, object_type: ObjectType) -> None:
        """Forget an object type with what was archived of it, and its links."""
        self.schema.remove(object_type)
        del self.tables[object_type.type_id]
        for pair in [pair for pair in self.links if object_type.type_id in pair]:
            del self.links[pair]

    def _link(self, pair: Pair, from_id: int, to_id: int, type_id: int) -> bool:
        linked = self.links.setdefault(pair, {}).setdefault(from_id, {})
        held = linked.get(to_id, ())
        if type_id in held:
            return False
        linked[to_id] = self._shared((*held, type_id))
        return True

    def _shared(self, type_ids: tuple[int, ...]) -> tuple[int, ...]:
        """The one tuple all links with these association types hold."""
        return self._tuples.setdefault(type_ids, type_ids)

    def _note(self, table: Table, record_id: int, before: Record | None) -> None:
        if self.search_lag_seconds <= 0:
            return
        if before is not None:
            before = Record(before.id, before.created, before.updated, dict(before.properties), before.archived)
        table.changes.append(Change(time.monotonic(), record_id, before))
