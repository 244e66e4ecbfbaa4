"""The records: one table an object, indexed by id and by unique key, with an undo journal for all-or-none requests.

A record is one small object and one list, so that a million of them fit in memory. Deleted records stay in their table
(the recycle bin: `queryAll` sees them, `undelete` brings them back) but give their unique values free.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .errors import RowError
from .ids import long_id, record_id, with_suffix
from .installed import OBJECTS
from .schema import Field, Schema, SObject
from .values import Value, fold, to_json

# When the org's schema was last changed before it was made, for `If-Modified-Since`.
_INSTALLED_AT = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
USER_ID = with_suffix("0055i000000Sand")
_ATTRIBUTES = {
    "Id": "id",
    "IsDeleted": "deleted",
    "CreatedDate": "created",
    "LastModifiedDate": "modified",
    "SystemModstamp": "modified",
}
_SHORT_ID = 15


@dataclass(slots=True)
class Record:
    """One record; `values` follow the object's `slots`, the times are whole seconds since 1970."""

    id: str
    created: int
    modified: int
    deleted: bool
    values: list[Value]


@dataclass(slots=True)
class Table:
    """An object's records by id, in order of creation, and the live ones by the folded value of each unique field.

    `shared` are indexes of fields whose values several records may share; one is made when it is first asked for.
    """

    sobject: SObject
    rows: dict[str, Record] = field(default_factory=dict)
    keys: dict[str, dict[str, Record]] = field(init=False)
    shared: dict[str, dict[str, dict[str, Record]]] = field(default_factory=dict)
    last_number: int = 0

    def __post_init__(self) -> None:
        """Start with empty indexes."""
        self.keys = {each.name: {} for each in self.sobject.unique}

    def index(self, record: Record) -> None:
        """Enter a live record's unique values."""
        for name, index in self.keys.items():
            value = record.values[self.sobject.slots[name]]
            if value is not None:
                index[fold(str(value))] = record
        for name in self.shared:
            self._share(name, record)

    def unindex(self, record: Record) -> None:
        """Give a record's unique values free."""
        for name, index in self.keys.items():
            value = record.values[self.sobject.slots[name]]
            if value is not None:
                del index[fold(str(value))]
        for name, shared in self.shared.items():
            value = record.values[self.sobject.slots[name]]
            if value is not None:
                holders = shared[fold(str(value))]
                del holders[record.id]
                if not holders:
                    del shared[fold(str(value))]

    def holders(self, name: str, value: str) -> list[Record]:
        """The live records with that value in a field that is not unique, oldest first."""
        if name not in self.shared:
            self.shared[name] = {}
            for record in self.rows.values():
                if not record.deleted:
                    self._share(name, record)
        return sorted(self.shared[name].get(fold(value), {}).values(), key=operator.attrgetter("id"))

    def _share(self, name: str, record: Record) -> None:
        value = record.values[self.sobject.slots[name]]
        if value is not None:
            self.shared[name].setdefault(fold(str(value)), {})[record.id] = record


class Store:
    """Every table of the org, and the only place where records change."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._undo: list[Callable[[], None]] | None = None
        self.tables = {sobject.name: Table(sobject) for sobject in OBJECTS}
        self.schema = Schema(OBJECTS, _INSTALLED_AT)

    @contextmanager
    def transaction(self) -> Iterator[Callable[[], None]]:
        """Gives `rollback`, which takes back every change since the block was entered; blocks may be nested."""
        outer = self._undo
        steps: list[Callable[[], None]] = []
        self._undo = steps

        def rollback() -> None:
            self._undo = None
            while steps:
                steps.pop()()
            self._undo = steps

        try:
            yield rollback
        finally:
            self._undo = outer
            if outer is not None:
                outer.extend(steps)

    def get(self, sobject: SObject, id_: str) -> Record | None:
        """The record of that 15- or 18-character id, deleted or not."""
        rows = self.tables[sobject.name].rows
        return rows.get(id_) or rows.get(long_id(id_) or "")

    def find(self, sobject: SObject, key: Field, value: str) -> list[Record]:
        """The live records that hold `value` in a key field, without regard to case."""
        table = self.tables[sobject.name]
        if key.name in table.keys:
            found = table.keys[key.name].get(fold(value))
            return [] if found is None else [found]
        return table.holders(key.name, value)

    def insert(self, sobject: SObject, values: Mapping[str, Value]) -> Record:
        """A new record; `RowError` DUPLICATE_VALUE when a unique value is taken."""
        table = self.tables[sobject.name]
        self._check_unique(table, values, None)
        table.last_number += 1
        now = int(self._clock())
        filled = [_initial(each, values, table.last_number) for each in table.sobject.places]
        record = Record(record_id(sobject.prefix, table.last_number), now, now, deleted=False, values=filled)
        table.rows[record.id] = record
        table.index(record)
        self._on_rollback(partial(_remove, table, record))
        return record

    def update(self, sobject: SObject, record: Record, values: Mapping[str, Value]) -> bool:
        """Write values over a record's; whether any was another one. The modification time moves either way."""
        table = self.tables[sobject.name]
        self._check_unique(table, values, record)
        after = record.values.copy()
        for name, value in values.items():
            after[sobject.slots[name]] = value
        before = record.values
        self._on_rollback(partial(_assign, table, record, before, record.modified))
        _assign(table, record, after, int(self._clock()))
        return after != before

    def set_deleted(self, sobject: SObject, record: Record, *, deleted: bool) -> None:
        """Move a record to the recycle bin or back; `RowError` DUPLICATE_VALUE when a key was taken meanwhile."""
        table = self.tables[sobject.name]
        if record.deleted == deleted:
            return
        if deleted:
            table.unindex(record)
        else:
            self._check_unique(table, {n: record.values[sobject.slots[n]] for n in table.keys}, None)
            table.index(record)
        record.deleted = deleted
        modified, record.modified = record.modified, int(self._clock())

        def undo() -> None:
            record.deleted, record.modified = not deleted, modified
            (table.index if deleted else table.unindex)(record)

        self._on_rollback(undo)

    def reader(self, sobject: SObject, field: Field) -> Callable[[Record], Value]:
        """How a field is read from a record. A lookup to a deleted record reads as null."""
        if field.name in _ATTRIBUTES:
            read: Callable[[Record], Value] = operator.attrgetter(_ATTRIBUTES[field.name])
            return read
        if not field.stored:
            return _full_name(sobject) if field.name_field else lambda _: USER_ID
        slot = sobject.slots[field.name]
        if field.type != "reference":
            return lambda record: record.values[slot]
        parents = self.tables[field.refers_to].rows

        def lookup(record: Record) -> Value:
            parent = parents.get(str(record.values[slot]))
            return None if parent is None or parent.deleted else parent.id

        return lookup

    def flat(self, sobject: SObject, record: Record, fields: Iterable[Field]) -> dict[str, Value]:
        """Some of a record's fields as answers show them."""
        return self.flattener(sobject, fields)(record)

    def flattener(self, sobject: SObject, fields: Iterable[Field]) -> Callable[[Record], dict[str, Value]]:
        """`flat` for many records: how each field is read is found out once."""
        columns = [(each, self.reader(sobject, each)) for each in fields]
        return lambda record: {each.name: to_json(each, read(record)) for each, read in columns}

    def reshape(self, sobject: SObject) -> None:
        """Take up an object with its fields as they are from now on; its records get the new ones, its indexes are made anew."""
        self.schema.put(sobject)
        table = self.tables[sobject.name]
        table.sobject = sobject
        table.keys = {each.name: {} for each in sobject.unique}
        table.shared = {}
        for record in table.rows.values():
            record.values += [_initial(each, {}, 0) for each in sobject.places[len(record.values) :]]
            if not record.deleted:
                table.index(record)

    def drop(self, sobject: SObject) -> None:
        """Forget an object and its records."""
        self.schema.remove(sobject)
        del self.tables[sobject.name]

    def note_change(self) -> None:
        """Let clients see that the schema is another one."""
        self.schema.touch(int(self._clock()))

    def restore(self, schema: Schema) -> None:
        """Begin anew with the objects of another time."""
        self.schema = schema
        self.tables = {sobject.name: Table(sobject) for sobject in schema.all}

    def dump(self) -> dict[str, Any]:
        """Every table as JSON-able data."""
        return {
            name: {
                "fields": list(table.sobject.slots),
                "last_number": table.last_number,
                "records": [[r.id, r.created, r.modified, r.deleted, *r.values] for r in table.rows.values()],
            }
            for name, table in self.tables.items()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Replace every table by what `dump` gave; `ValueError` when it holds fields that the schema has not."""
        for name, table in self.tables.items():
            dumped = state[name]
            slots = table.sobject.slots
            if not slots.keys() >= set(dumped["fields"]):
                raise ValueError(f"the state of {name} was written under another schema")
            places = [slots[each] for each in dumped["fields"]]
            loaded = Table(table.sobject, last_number=dumped["last_number"])
            for id_, created, modified, deleted, *values in dumped["records"]:
                record = loaded.rows[id_] = Record(id_, created, modified, deleted, [None] * len(slots))
                for place, value in zip(places, values, strict=True):
                    record.values[place] = value
                if not deleted:
                    loaded.index(record)
            self.tables[name] = loaded

    def _on_rollback(self, step: Callable[[], None]) -> None:
        if self._undo is not None:
            self._undo.append(step)

    @staticmethod
    def _check_unique(table: Table, values: Mapping[str, Value], record: Record | None) -> None:
        for name, index in table.keys.items():
            value = values.get(name)
            holder = None if value is None else index.get(fold(str(value)))
            if holder is not None and holder is not record:
                message = f"duplicate value found: {name} duplicates value on record with id: {holder.id[:_SHORT_ID]}"
                raise RowError("DUPLICATE_VALUE", message, [name])


def _initial(field: Field, values: Mapping[str, Value], number: int) -> Value:
    """What a new record holds in a field."""
    if field.auto_number:
        return field.auto_number.format(number)
    value = values.get(field.name)
    return False if value is None and field.type == "boolean" else value


def _assign(table: Table, record: Record, values: list[Value], modified: int) -> None:
    table.unindex(record)
    record.values = values
    record.modified = modified
    table.index(record)


def _remove(table: Table, record: Record) -> None:
    table.unindex(record)
    del table.rows[record.id]


def _full_name(sobject: SObject) -> Callable[[Record], Value]:
    first, last = sobject.slots["FirstName"], sobject.slots["LastName"]
    return lambda record: " ".join(str(record.values[slot]) for slot in (first, last) if record.values[slot])
