"""The generated rows with the changes made to them: listings, look-ups, the feed of changes, and `mutate`.

Only changed rows are kept; a row is in the feed once, at its latest change.
"""

import heapq
import re
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import dropwhile, islice, takewhile
from typing import Any, NamedTuple, TypeAlias

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.school.generator import School
from lms_crm_assets.sandbox.school.integer_ids import generated_id, integer_id
from lms_crm_assets.sandbox.school.layout import ENTITIES, PREFIXES, Key, Row, Size, epoch, time_text

# What a created row holds when `fields` doesn't say.
_BLANK: dict[str, Row] = {
    "learners": dict.fromkeys(("username", "email", "given_name", "family_name", "organization", "country"))
    | {"status": "active"},
    "courses": dict.fromkeys(("code", "title")) | {"visible": True, "starts_at": None, "ends_at": None},
    "enrollments": {"learner_id": None, "course_id": None, "role": "student", "status": "active"}
    | dict.fromkeys(("enrolled_at", "starts_at", "ends_at")),
    "completions": {"learner_id": None, "course_id": None, "state": "not_started", "progress_pct": 0}
    | {"completed_at": None},
    "scores": {"learner_id": None, "course_id": None, "item_id": "course-total", "item_type": "course", "raw": None}
    | {"min": 0, "max": 100, "passed": None, "graded_at": None},
    "competencies": dict.fromkeys(("learner_id", "course_id", "competency", "rating", "proficient", "rated_at")),
}

_COURSE = re.compile(r"crs-(?:gone-)?([0-9]{4,7})")

Position: TypeAlias = tuple[int, str]
"""Where a listing goes on: the number of a generated row, and the id after which."""

START: Position = (0, "")

END = "\U0010ffff"
"""Above every id."""

Shown: TypeAlias = Callable[[str], bool] | None
"""Which rows a listing may hold, by id; None: all."""


class Known(NamedTuple):
    """What is known of a row: when it changed, how it looks now (None: deleted) and how it looked before that."""

    updated: int
    data: Row | None
    last: Row | None = None


class Store:
    """One school and what was changed in it."""

    def __init__(self, size: Size) -> None:
        """Start with nothing changed."""
        self.school = School(size)
        self._changed: dict[str, dict[str, Known]] = {entity: {} for entity in ENTITIES}
        # The ids of the changed live rows by entity and the learner or course that they name.
        self._linked: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._count = {entity: self.school.count(entity) for entity in ENTITIES}
        self._now = self.school.end
        self.version = 0
        """How often it was changed since the start of the process."""

    def count(self, entity: str, shown: Shown = None) -> int:
        """The live rows."""
        return self._count[entity] if shown is None else sum(shown(row_id) for (_, row_id), _ in self.rows(entity))

    def get(self, entity: str, row_id: str | None) -> Row | None:
        """A live row; there is none without an id, as made rows may name it."""
        if row_id is None:
            return None
        if row_id in self._changed[entity]:
            return self._changed[entity][row_id].data
        number = self.school.number(entity, row_id)
        return None if number is None else self.school.row(entity, row_id, number)

    def known(self, entity: str, row_id: str) -> Known | None:
        """A row that there is or was; of a deleted one `last` is what it was."""
        if row_id in self._changed[entity]:
            return self._changed[entity][row_id]
        number = self.school.number(entity, row_id)
        if number is None:
            return None
        row, updated = self.school.last(entity, row_id, number), self.school.updated(entity, number)
        gone = self.school.is_tombstone(entity, number)
        return Known(updated, None, row) if gone else Known(updated, row)

    def changed(self, entity: str) -> Mapping[str, Known]:
        """The rows that were created, updated or deleted since the start, by id, in the order of their first change."""
        return self._changed[entity]

    def rows(self, entity: str, after: Position = START) -> Iterator[tuple[Position, Row]]:
        """The live rows in the order of their ids, each with the position after it."""
        number, last_id = after
        school, changed = self.school, self._changed[entity]
        generated = (
            (row_id, number)
            for number in range(number, school.numbers(entity))
            for row_id in school.ids(entity, number)
            if row_id > last_id and row_id not in changed
        )
        for row_id, own in heapq.merge(generated, sorted((row_id, -1) for row_id in changed if row_id > last_id)):
            number = max(number, own)
            row = changed[row_id].data if own < 0 else school.row(entity, row_id, own)
            if row is not None:
                yield (number, row_id), row

    def segment(self, entity: str, number: int, segments: int) -> tuple[Position, str]:
        """Where a part of a listing begins, and the id that it does not pass; the parts hold every row once."""
        bounds = [self.school.numbers(entity) * n // segments for n in (number, number + 1)]
        first, last = (f"{PREFIXES[entity]}-{bound:07d}~" for bound in bounds)
        start = START if number == 0 else (bounds[0], first)
        return start, END if number == segments - 1 else last

    def page(
        self, entity: str, after: Position, limit: int, shown: Shown = None, *, until: str = END
    ) -> tuple[list[Row], Position | None]:
        """Up to `limit` live rows and the position after them, if more follow before the id `until`."""
        all_rows = takewhile(lambda found: found[0][1] < until, self.rows(entity, after))
        rows = ((place, row) for place, row in all_rows if shown is None or shown(place[1]))
        found = list(islice(rows, limit + 1))
        return [row for _, row in found[:limit]], found[limit - 1][0] if len(found) > limit else None

    def row_id(self, entity: str, number: int) -> str | None:
        """The id of the live row that has this number, see `integer_id`."""
        own = generated_id(entity, number)
        if own is not None:
            return own if self.get(entity, own) is not None else None
        return next((row_id for row_id in self._changed[entity] if self._lives(entity, row_id, number)), None)

    def of_course(self, entity: str, course_id: str, after: str = "") -> Iterator[Row]:
        """The live rows that name a course, of enrollments and what hangs on them, by id; those above `after`."""
        number = self._course_number(course_id)
        numbers = [] if number is None else self.school.numbers_in_course(number)
        return self._linked_rows(entity, numbers, {"course_id": course_id}, after)

    def of_learner(self, entity: str, learner_id: str, after: str = "") -> Iterator[Row]:
        """The live rows that name a learner, of enrollments and what hangs on them, by id; those above `after`."""
        number = self.school.number("learners", learner_id)
        numbers = [] if number is None else self.school.numbers_of_learner(number)
        return self._linked_rows(entity, numbers, {"learner_id": learner_id}, after)

    def of_pair(self, entity: str, learner_id: str | None, course_id: str | None) -> Iterator[Row]:
        """The live rows that name both a learner and a course, by id; none when one of them is missing."""
        if learner_id is None or course_id is None:
            return iter(())
        learner, course = self.school.number("learners", learner_id), self._course_number(course_id)
        number = None if learner is None or course is None else self.school.number_of_seat(learner, course)
        numbers = [] if number is None else [number]
        return self._linked_rows(entity, numbers, {"learner_id": learner_id, "course_id": course_id}, "")

    def changed_of_course(self, entity: str, course_id: str) -> list[Row]:
        """The live rows that name a course and were changed or created, by id."""
        found = (self._changed[entity][row_id].data for row_id in sorted(self._linked.get((entity, course_id), ())))
        return [row for row in found if row is not None]

    def changed_rows(self, entity: str) -> list[Row]:
        """The live rows of an entity that were changed or created, by id."""
        return [change.data for _, change in sorted(self._changed[entity].items()) if change.data is not None]

    def updated_since(self, entity: str, since: int) -> Iterator[Row]:
        """The live rows of an entity that were made or changed in the second `since` or later, in no order."""
        changed = self._changed[entity]
        for _, of, row_id, number in self.school.changes(since):
            if of == entity and row_id not in changed:
                row = self.school.row(entity, row_id, number)
                if row is not None:
                    yield row
        yield from (change.data for change in changed.values() if change.data is not None and change.updated >= since)

    def changes(self, since: int, after: tuple[int, str, str] | None, limit: int) -> tuple[list[Row], bool]:
        """Up to `limit` changes from the second `since` on and after that key, and whether more follow."""
        if after is not None:
            since = max(since, after[0])
        own = sorted(
            (change.updated, entity, row_id, -1)
            for entity, rows in self._changed.items()
            for row_id, change in rows.items()
            if change.updated >= since
        )
        generated = (key for key in self.school.changes(since) if key[2] not in self._changed[key[1]])
        keys: Iterator[Key] = heapq.merge(generated, own)
        if after is not None:
            keys = dropwhile(lambda key: key[:3] <= after, keys)
        found = list(islice(keys, limit + 1))
        return [self._change(key) for key in found[:limit]], len(found) > limit

    def mutate(self, change: Mapping[str, Any]) -> Row:
        """Create, update or delete one row of an entity; `SandboxRequestError` when that can't be.

        `id` names the row (a created one gets the next id without it), `updated_at` sets its time, also to an old one;
        without it the time is now, later than all generated ones and than the last change. Nothing else changes with
        it: the enrollments of a deleted learner stay.
        """
        entity, op, row_id = change.get("object"), change.get("op"), change.get("id")
        if entity not in self._changed or op not in {"create", "update", "delete"}:
            raise SandboxRequestError(f"{op!r} of {entity!r} is not supported")
        if op == "create" and row_id is None:
            row_id = self._next_id(entity)
        present = self.get(entity, str(row_id))
        if (present is None) != (op == "create"):
            raise SandboxRequestError(f"{entity}: {row_id!r} {'does not exist' if present is None else 'exists'}")
        try:
            updated = epoch(change["updated_at"]) if "updated_at" in change else self._tick()
        except (TypeError, ValueError) as exc:
            raise SandboxRequestError(f"updated_at: {exc}") from exc
        self._count[entity] += {"create": 1, "update": 0, "delete": -1}[op]
        stamp = {"id": row_id, "updated_at": time_text(updated)}
        if op == "delete":
            self._put(entity, str(row_id), Known(updated, None, present))
            return {**stamp, "deleted": True}
        row = {**stamp, **(present or _BLANK[entity]), **change.get("fields", {}), **stamp}
        self._put(entity, str(row_id), Known(updated, row))
        return row

    def dump(self) -> Row:
        """The parameters and the changed rows."""
        changed = {
            entity: {row_id: list(one) for row_id, one in rows.items()} for entity, rows in self._changed.items()
        }
        return {"size": asdict(self.school.size), "changed": changed, "count": dict(self._count), "now": self._now}

    @classmethod
    def load(cls, state: Row) -> "Store":
        """What `dump` gave."""
        store = cls(Size(**state["size"]))
        for entity, rows in state["changed"].items():
            for row_id, one in rows.items():
                store._put(entity, row_id, Known(*one))
        store._count, store._now = dict(state["count"]), state["now"]
        return store

    def _put(self, entity: str, row_id: str, change: Known) -> None:
        self.version += 1
        before = self._changed[entity].get(row_id)
        for owner in _owners(before):
            self._linked[entity, owner].discard(row_id)
        for owner in _owners(change):
            self._linked[entity, owner].add(row_id)
        self._changed[entity][row_id] = change

    def _course_number(self, course_id: str) -> int | None:
        found = _COURSE.fullmatch(course_id)
        return int(found[1]) - 1 if found and 0 < int(found[1]) <= self.school.size.courses else None

    def _linked_rows(self, entity: str, numbers: Sequence[int], wanted: Mapping[str, str], after: str) -> Iterator[Row]:
        """The rows under these numbers that are as they were made, and the changed ones, that name what is wanted."""
        school, changed = self.school, self._changed[entity]
        first = bisect_left(numbers, int(after[4:11]) - 1) if after[4:11].isdecimal() else 0
        generated = (
            (row_id, numbers[place])
            for place in range(first, len(numbers))
            for row_id in school.ids(entity, numbers[place])
            if row_id > after and row_id not in changed
        )
        linked = set.intersection(*(self._linked.get((entity, owner), set()) for owner in wanted.values()))
        for row_id, number in heapq.merge(generated, sorted((row_id, -1) for row_id in linked if row_id > after)):
            row = changed[row_id].data if number < 0 else school.row(entity, row_id, number)
            if row is not None and wanted.items() <= row.items():
                yield row

    def _lives(self, entity: str, row_id: str, number: int) -> bool:
        return self._changed[entity][row_id].data is not None and integer_id(row_id) == number

    def _change(self, key: Key) -> Row:
        updated, entity, row_id, number = key
        row = self._changed[entity][row_id].data if number < 0 else self.school.row(entity, row_id, number)
        op = "delete" if row is None else "upsert"
        return {"entity": entity, "id": row_id, "op": op, "updated_at": time_text(updated), "data": row}

    def _next_id(self, entity: str) -> str:
        suffix = "-1" if entity == "scores" else ""
        number = self.school.numbers(entity) + 1
        while (row_id := f"{PREFIXES[entity]}-{number:07d}{suffix}") in self._changed[entity]:
            number += 1
        return row_id

    def _tick(self) -> int:
        self._now = max(int(time.time()), self._now + 1)
        return self._now


def _owners(change: Known | None) -> Iterable[str]:
    if change is None or change.data is None:
        return []
    return [owner for name in ("learner_id", "course_id") if (owner := change.data.get(name)) is not None]
