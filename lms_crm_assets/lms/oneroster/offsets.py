"""Reading a list by offset while its rows come and go.

Every page begins with the last row of the page before it. Where it doesn't, rows moved: rows that came before the place
push it further down the page, rows that went pull it out of the page, and then the reading steps back until it meets a
row it knows. Rows are compared by their keys and only for being the same, as providers sort by collations of their own.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.oneroster.rows import place_of
from lms_crm_assets.lms.prefetch import ordered

_PASSES = 3
# Pages in a row with nothing new: so much moved that starting over is cheaper than searching.
_FRUITLESS_PAGES = 20
# The same page at so many places: rows may happen to move by just one page, but not so often in a row.
_SAME_PAGES = 8
# After so many pages of another length than planned, what is read ahead would mostly be thrown away.
_SURPRISES = 3


@dataclass(frozen=True, slots=True)
class Window:
    """The rows from an offset on, as many as the provider gives at once, and how many it says there are in all."""

    rows: Sequence[Any]
    total: int | None


class _PlaceLostError(Exception):
    """No row is met that is known: the list has to be read from its start."""


class Listing:
    """All rows of a list that `read` gives a window of; up to `at_once` windows are under way.

    `passes` is how often it was read. A row that is there all the while comes once a pass, and never in no pass.
    """

    def __init__(self, where: str, read: Callable[[int], Window], at_once: int) -> None:
        self.passes = 0
        self.least: int | None = None
        """The smallest total that the provider named in the last pass."""
        self._where, self._read, self._at_once = where, read, at_once

    def rows(self) -> Iterator[Sequence[Any]]:
        """The rows, page by page; from the start again when the place was lost or fewer rows came than there are.

        The length that was asked for is of no meaning: a provider may give fewer rows at once, though more follow.
        """
        given = 0
        while self.passes < _PASSES:
            self.passes += 1
            walk = _Walk(self._where, self._read, self._at_once)
            try:
                yield from walk.rows()
            except _PlaceLostError:
                continue
            given, self.least = walk.given, walk.least
            if given >= (self.least or 0):
                return
        if self.least is None:
            raise RetryableError(f"{self._where}: rows move faster than they are read; nothing was changed, run again")
        raise RetryableError(
            f"{self._where} gives {given} rows where it says it has {self.least}: nothing was changed; run again"
        )


class _Walk:
    """One pass over the list."""

    def __init__(self, where: str, read: Callable[[int], Window], at_once: int) -> None:
        self.given = 0
        self.least: int | None = None
        self._where, self._read, self._at_once = where, read, at_once
        self._total: int | None = None
        self._length = 0
        # Two pages: when all rows of the last one are gone, those before it still tell the place.
        self._last: Sequence[str] = ()
        self._before: Sequence[str] = ()
        self._fruitless = self._same = self._surprises = 0

    def rows(self) -> Iterator[Sequence[Any]]:
        """The rows; `_PlaceLostError` where no known row is met."""
        offset: int | None = 0
        while offset is not None:
            offset = yield from self._follow(self._plan(offset))

    def _plan(self, offset: int) -> Sequence[int]:
        """The offsets to read from: to the end as far as it is known, each a row before the end of the one before."""
        if self._total is None or self._length <= 1 or self._surprises > _SURPRISES:
            return [offset]
        return range(offset, max(self._total - 1, offset + 1), self._length - 1)

    def _follow(self, plan: Sequence[int]) -> Generator[Sequence[Any], None, int | None]:
        """Read along a plan as long as it holds; gives the offset to go on from, None at the end of the list."""
        following: int | None = None
        windows = ordered((partial(self._read, offset) for offset in plan), self._at_once)
        with closing(windows):
            for offset, planned, window in zip(plan, chain(plan[1:], [None]), windows, strict=False):
                self._note(window)
                keys = [place_of(row) for row in window.rows]
                begin = self._first_new(keys)
                if begin is None:
                    return self._back_from(offset)
                if begin < len(keys):
                    self.given += len(keys) - begin
                    self._fruitless = self._same = 0
                    self._before, self._last = self._last, keys
                    yield window.rows[begin:]
                elif len(keys) <= 1 or self._is_unpaged(keys):
                    return None
                else:
                    self._grow_impatient()
                following = offset + len(keys) - 1
                if following != planned:
                    self._surprises += planned is not None
                    break
        return following

    def _note(self, window: Window) -> None:
        self._total = window.total
        self._length = max(self._length, len(window.rows))
        if window.total is not None:
            self.least = window.total if self.least is None else min(self.least, window.total)

    def _first_new(self, keys: Sequence[str]) -> int | None:
        """Where in the page the rows behind the known ones begin; None if there is no known one."""
        if not self._last:
            return 0
        known = {*self._before, *self._last}
        return next((n + 1 for n in reversed(range(len(keys))) if keys[n] in known), None)

    def _back_from(self, offset: int) -> int:
        if offset == 0:
            raise _PlaceLostError
        self._grow_impatient()
        return max(0, offset - max(1, self._length - 1))

    def _grow_impatient(self) -> None:
        self._fruitless += 1
        if self._fruitless > _FRUITLESS_PAGES:
            raise _PlaceLostError

    def _is_unpaged(self, keys: Sequence[str]) -> bool:
        """Whether the list came whole on a page that is given for every offset; `ProtocolError` if it isn't whole."""
        self._same = self._same + 1 if keys == self._last else 0
        if self._same < _SAME_PAGES:
            return False
        if self._total is not None and self.given >= self._total:
            return True
        raise ProtocolError(
            f"{self._where} gives the same page whatever the offset: its rows can't be read; ask the provider to mend its paging"
        )
