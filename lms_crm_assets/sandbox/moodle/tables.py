"""The tables of a site: rows by key, found by the columns that are asked for, with the keys that were changed."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

Row: TypeAlias = dict[str, Any]
K = TypeVar("K", bound=Hashable)


class Table(dict[K, Row], Generic[K]):
    """Rows by key. A row is never changed in place: a changed one is set anew."""

    def __init__(self, rows: Mapping[K, Row], by: tuple[str, ...] = ()) -> None:
        """Fill it; `by` names the columns that `where` looks up."""
        super().__init__(rows)
        self.changed: dict[K, None] = {}
        """The keys that were set or removed since, in the order of their first change."""
        self._keys: dict[str, dict[Any, dict[K, None]]] = {column: defaultdict(dict) for column in by}
        for key, row in rows.items():
            self._index(key, row)

    def __setitem__(self, key: K, row: Row) -> None:
        before = self.get(key)
        if before is not None and any(before[column] != row[column] for column in self._keys):
            self._forget(key, before)
        super().__setitem__(key, row)
        self._index(key, row)
        self.changed[key] = None

    def remove(self, key: K) -> Row:
        """Take a row out; `KeyError` when there is none."""
        row = super().pop(key)
        self._forget(key, row)
        self.changed[key] = None
        return row

    def where(self, column: str, value: Any) -> list[Row]:
        """The rows with that value, in the order in which they came."""
        return [self[key] for key in self._keys[column].get(value, ())]

    def count_where(self, column: str, value: Any) -> int:
        """How many rows have that value."""
        return len(self._keys[column].get(value, ()))

    def remove_where(self, column: str, value: Any) -> None:
        """Take out the rows with that value."""
        for key in list(self._keys[column].get(value, ())):
            self.remove(key)

    def changes(self) -> list[list[Any]]:
        """The changed rows, None for a removed one: pairs, as they are in JSON."""
        return [[key, self.get(key)] for key in self.changed]

    def _index(self, key: K, row: Row) -> None:
        for column, keys in self._keys.items():
            keys[row[column]][key] = None

    def _forget(self, key: K, row: Row) -> None:
        for column, keys in self._keys.items():
            del keys[row[column]][key]


@dataclass(frozen=True)
class Contents:
    """What a site is filled with; `until` is the latest second in it. See `Site` for the tables.

    `activities` holds by enrolment the one graded activity beside the course total, as `item`, `raw` and `graded`; of
    the recorded site's nothing, as its grades are recorded.
    """

    users: Mapping[int, Row]
    courses: Mapping[int, Row]
    enrolments: Mapping[str, Row]
    ratings: Mapping[str, Row]
    activities: Mapping[str, Row]
    frameworks: list[Row]
    competencies: list[Row]
    until: int
