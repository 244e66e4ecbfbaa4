"""All rows of a school that there are or were, by their place in the order of the ids: for listings by offset.

A place never changes but by a created row's: a deleted row keeps its own.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice

from lms_crm_assets.sandbox.school.store import Store


class Roll:
    """The ids of one entity."""

    def __init__(self, store: Store, entity: str) -> None:
        """Look at nothing yet."""
        self._store, self._entity = store, entity
        # Only in some entities is a number a place: of the others the places are written down when first needed.
        dense = entity in {"learners", "courses", "enrollments"}
        self._places: Sequence[int] | None = range(store.school.numbers(entity)) if dense else None
        self._created: list[str] = []
        self._seen = 0

    def count(self) -> int:
        """How many there are."""
        return len(self._generated()) + len(self._created_ids())

    def ids(self, offset: int) -> Iterator[str]:
        """The ids from a place on."""
        places, created = self._generated(), self._created_ids()
        # How many generated ids stand before each created one, and so its place.
        before = [bisect_left(places, row_id, key=self._id) for row_id in created]
        next_created = bisect_left([count + i for i, count in enumerate(before)], offset)
        next_generated = offset - next_created
        for row_id, count in zip(created[next_created:], before[next_created:], strict=True):
            yield from map(self._id, places[next_generated:count])
            next_generated = max(next_generated, count)
            yield row_id
        for place in range(next_generated, len(places)):
            yield self._id(places[place])

    def since(self, moment: int) -> Iterator[str]:
        """The ids of the rows that were changed in that second or later, in no order."""
        changed = self._store.changed(self._entity)
        yield from (row_id for row_id, known in changed.items() if known.updated >= moment)
        for _, _, row_id, _ in self._store.school.changes_of(self._entity, moment):
            if row_id not in changed:
                yield row_id

    def _id(self, place: int) -> str:
        number, index = divmod(place, 2) if self._entity == "scores" else (place, 0)
        return self._store.school.ids(self._entity, number)[index]

    def _generated(self) -> Sequence[int]:
        if self._places is None:
            school, entity = self._store.school, self._entity
            numbers = range(school.numbers(entity))
            if entity == "scores":
                places = (2 * number + i for number in numbers for i, _ in enumerate(school.ids(entity, number)))
            else:
                places = (number for number in numbers if school.ids(entity, number))
            self._places = array("Q", places)
        return self._places

    def _created_ids(self) -> list[str]:
        changed = self._store.changed(self._entity)
        for row_id in islice(changed, self._seen, None):
            if self._store.school.number(self._entity, row_id) is None:
                insort(self._created, row_id)
        self._seen = len(changed)
        return self._created
