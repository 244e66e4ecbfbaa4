"""All records of one object type, with what finds them without a scan: ids, unique values, the order of changes.

Built for a million records in memory: slotted records, values as canonical text, moments as epoch milliseconds.
"""

import time
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lms_crm_assets.sandbox.hubspot.schema import ObjectType


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Record:
    """One stored record; `properties` holds only values that are set, `archived` is when it was archived or 0."""

    id: int
    created: int
    updated: int
    properties: dict[str, str]
    archived: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What a record was before a write, kept while the search index has not seen the write; None: it did not exist."""

    at: float
    record_id: int
    before: Record | None


class Table:
    """The records, live and archived. Whoever changes one calls `touch`."""

    def __init__(self, object_type: ObjectType) -> None:
        self.type = object_type
        self.records: dict[int, Record] = {}
        self.unique: dict[str, dict[str, int]] = {name: {} for name in object_type.unique_names}
        self.merged: dict[int, int] = {}
        self.changes: deque[Change] = deque()
        self.version = 0
        self._live = array("q")
        self._archived = array("q")
        # A log of changes: a record's newest entry is the one with its `updated`, older ones are skipped.
        self._log_times = array("q")
        self._log_ids = array("q")

    def live(self, record_id: str | int) -> Record | None:
        """The record with this id unless it is archived; the id of a merged one leads to its survivor."""
        number = int(record_id) if str(record_id).isdecimal() else 0
        record = self.records.get(self.merged.get(number, number))
        return None if record is None or record.archived else record

    def find(self, id_property: str | None, key: str) -> Record | None:
        """The live record by a unique property's value (an e-mail in any case), or by id without a property."""
        if id_property is None or id_property == "hs_object_id":
            return self.live(key)
        record_id = self.unique[id_property].get(self.key(id_property, key))
        return None if record_id is None else self.records[record_id]

    def key(self, id_property: str, text: str) -> str:
        """The text as the unique index holds it."""
        return text.strip().lower() if id_property == "email" else text

    def page(self, after: int, limit: int, *, archived: bool) -> tuple[list[Record], bool]:
        """Up to `limit` records with an id above `after`, in id order, and whether more follow."""
        ids = self._archived if archived else self._live
        start = bisect_right(ids, after)
        return [self.records[number] for number in ids[start : start + limit]], len(ids) > start + limit

    def all_live(self) -> Iterator[Record]:
        """Every live record in id order."""
        return map(self.records.__getitem__, self._live)

    def changed_between(self, first: float, last: float) -> list[Record]:
        """The live records whose last change, in epoch milliseconds, is from `first` to `last`, in id order."""
        start, end = bisect_left(self._log_times, first), bisect_right(self._log_times, last)
        records, times = self.records, self._log_times[start:end]
        ids = [
            number
            for number, at in zip(self._log_ids[start:end], times, strict=True)
            if (record := records[number]).updated == at and not record.archived
        ]
        ids.sort()
        return [records[number] for number in ids]

    def add(self, record: Record) -> None:
        """Store a record; ids must come in growing order."""
        self.records[record.id] = record
        (self._archived if record.archived else self._live).append(record.id)
        self._log(record)
        if not record.archived:
            self.index(record)

    def now(self) -> int:
        """The wall clock, but never before the last change."""
        return max(now_ms(), self._log_times[-1]) if self._log_times else now_ms()

    def touch(self, record: Record) -> None:
        """Note that the record changed just now."""
        before, record.updated = record.updated, self.now()
        self.version += 1
        if record.updated != before:
            self._log(record)

    def set_aside(self, record: Record) -> None:
        """Archive: out of the live records and the unique values."""
        self.unindex(record)
        self.touch(record)
        record.archived = record.updated
        _move(record.id, self._live, self._archived)

    def bring_back(self, record: Record) -> None:
        """Restore what was set aside."""
        record.archived = 0
        self.touch(record)
        _move(record.id, self._archived, self._live)
        self.index(record)

    def sort_log(self) -> None:
        """Bring the log in order after records were added with old moments, and drop what is outdated."""
        current = sorted(self.records.values(), key=lambda record: record.updated)
        self._log_times = array("q", [record.updated for record in current])
        self._log_ids = array("q", [record.id for record in current])

    def index(self, record: Record) -> None:
        """Enter the record's unique values."""
        for name, held in self.unique.items():
            if name in record.properties:
                held[record.properties[name]] = record.id

    def unindex(self, record: Record) -> None:
        """Take the record's unique values out."""
        for name, held in self.unique.items():
            if held.get(record.properties.get(name, "")) == record.id:
                del held[record.properties[name]]

    def _log(self, record: Record) -> None:
        self.version += 1
        self._log_times.append(record.updated)
        self._log_ids.append(record.id)
        if len(self._log_ids) > 2 * len(self.records) + 1_000:
            self.sort_log()


def _move(record_id: int, source: "array[int]", target: "array[int]") -> None:
    del source[bisect_left(source, record_id)]
    target.insert(bisect_left(target, record_id), record_id)
