"""Rows that others refer to: the few of their members that are needed, added to the reference.

A class refers to its course, a user to an org, a result to its line item. The canonical tables are made row by row, so
a row has to bring along what it needs of another.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from lms_crm_assets.errors import MissingError, RetryableError
from lms_crm_assets.lms.oneroster.rows import member, sourced_id
from lms_crm_assets.lms.prefetch import ordered

# More rows than this are rather read as a list than one by one.
_ONE_BY_ONE = 20

Rows = Callable[[datetime | None], Iterator[Sequence[Any]]]
"""A collection's rows, all of them or those that changed since a moment."""


class Held:
    """The `members` of a collection's rows, by sourcedId, for the rows whose member `reference` names one.

    A provider that has no such collection is as one without rows in it; `is_offered` tells whether it has.
    """

    def __init__(
        self,
        rows: Rows,
        one: Callable[[str], Any],
        is_offered: Callable[[], bool],
        reference: str,
        members: Collection[str],
        at_once: int,
    ) -> None:
        self._rows, self._one, self._is_offered, self._at_once = rows, one, is_offered, at_once
        self._reference, self._members = reference, members
        self._held: dict[str, Mapping[str, Any]] = {}
        self._whole = False

    def read(self) -> None:
        """Hold all rows."""
        self._hold_all(None)
        self._whole = True

    def changed(self, since: datetime) -> list[str]:
        """Hold the rows that changed at or after `since`; their sourcedIds."""
        return self._hold_all(since)

    def get(self, key: str) -> Mapping[str, Any]:
        """What is held of a row; nothing of one that isn't held."""
        return self._held.get(key, {})

    def added_to(self, rows: Sequence[Any]) -> Sequence[Any]:
        """The rows, to their reference added what is held of the row it names."""
        named = {key for row in rows if (key := self._named_by(row)) is not None}
        self._look_up(named - self._held.keys())
        return [self._completed(row) for row in rows]

    def _named_by(self, row: Any) -> str | None:
        return sourced_id(member(row, self._reference))

    def _completed(self, row: Any) -> Any:
        key = self._named_by(row)
        return row if key is None else {**row, self._reference: {**row[self._reference], **self.get(key)}}

    def _look_up(self, missing: Collection[str]) -> None:
        if len(missing) > _ONE_BY_ONE and not self._whole:
            self.read()
        left = sorted(set(missing) - self._held.keys())
        if len(left) <= _ONE_BY_ONE:
            self._hold(ordered((partial(self._one, key) for key in left), self._at_once))
        for key in left:
            # Nobody has it: it is not asked for again.
            self._held.setdefault(key, {})

    def _hold_all(self, since: datetime | None) -> list[str]:
        try:
            return [key for rows in self._rows(since) for key in self._hold(rows)]
        except MissingError as exc:
            if self._is_offered():
                raise RetryableError(
                    f"{exc}, and then there is such a collection: nothing was changed; run again"
                ) from exc
            return []

    def _hold(self, rows: Iterable[Any]) -> list[str]:
        keys = []
        for row in rows:
            if (key := sourced_id(row)) is not None:
                self._held[key] = {name: row[name] for name in self._members if name in row}
                keys.append(key)
        return keys
