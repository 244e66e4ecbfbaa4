"""Reading a list by offset while its rows come and go.

Every page is asked for from the last row of the page before it. Where it begins with a row that hasn't come yet, rows
went or moved before it, and the reading steps back until it meets one that has. Of a page all rows are given that haven't
come in this pass, wherever they stand. Rows are compared by their keys and only for being the same, as providers sort by
collations of their own.

By that no row that stays is passed over where the rows are sorted by their keys. In an order of the provider's own, such
as that of the last change, a row may jump from what isn't read yet to what is: there the pass has to hold as many
different rows as the provider says it has, or, where it doesn't say, the same ones as the pass before.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain
from operator import xor
from typing import Any

from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.oneroster.rows import place_of, sourced_id
from lms_crm_assets.lms.prefetch import ordered

_PASSES = 3
# Two of them have to agree, though rows come and go between them.
_PASSES_IN_ANY_ORDER = 5
# Pages in a row with nothing new: so much moved that starting over is cheaper than searching.
_FRUITLESS_PAGES = 20
# The same page at so many places: rows may happen to move by just one page, but not so often in a row.
_SAME_PAGES = 8
# After so many pages of another length than planned, what is read ahead would mostly be thrown away.
_SURPRISES = 3


@dataclass(frozen=True, slots=True)
class Window:
    """The rows from an offset on, as many as the provider gives at once, and how many it says there are in all.

    `in_order`: they are sorted by their keys, so that none moves while it stays.
    """

    rows: Sequence[Any]
    total: int | None
    in_order: bool = True


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
        """The rows, page by page; from the start again when the place was lost or a pass isn't known to be whole.

        The length that was asked for is of no meaning: a provider may give fewer rows at once, though more follow.
        """
        before: _Walk | None = None
        walk = _Walk(self._where, self._read, self._at_once)
        while self.passes < (_PASSES if walk.in_order else _PASSES_IN_ANY_ORDER):
            self.passes += 1
            walk = _Walk(self._where, self._read, self._at_once)
            try:
                yield from walk.rows()
            except _PlaceLostError:
                continue
            self.least = walk.least
            if walk.is_whole(before):
                return
            walk.forget()
            before = walk
        if before is not None and before.short_of is not None:
            raise RetryableError(
                f"{self._where} gives {before.given} rows where it says it has {before.short_of}: nothing was changed; run"
                " again"
            )
        raise RetryableError(f"{self._where}: rows move faster than they are read; nothing was changed, run again")


class _Walk:
    """One pass over the list."""

    def __init__(self, where: str, read: Callable[[int], Window], at_once: int) -> None:
        self.given = 0
        self.in_order = True
        self.least: int | None = None
        self._most: int | None = None
        self._where, self._read, self._at_once = where, read, at_once
        self._total: int | None = None
        self._length = 0
        # Hashes of keys: of a million rows some tens of megabytes, with the keys it would be twice that.
        self._seen: set[int] = set()
        self.fingerprint: tuple[int, int] | None = None
        self._last: Sequence[str] = ()
        self._fruitless = self._same = self._surprises = 0

    def rows(self) -> Iterator[Sequence[Any]]:
        """The rows; `_PlaceLostError` where no known row is met."""
        offset: int | None = 0
        while offset is not None:
            offset = yield from self._follow(self._plan(offset))
        self.fingerprint = len(self._seen), reduce(xor, self._seen, 0)

    @property
    def short_of(self) -> int | None:
        """How many rows there have to be, if fewer came.

        In an order of the provider's own that is the most it ever said: one that was read and then went may else stand
        for one that jumped out of sight.
        """
        needed = self.least if self.in_order else self._most
        return needed if needed is not None and self.given < needed else None

    def is_whole(self, before: "_Walk | None") -> bool:
        """Whether no row was passed over, as far as can be told, after the pass `before` this one."""
        if self.in_order or self._most is not None:
            return self.short_of is None
        return before is not None and before.fingerprint == self.fingerprint

    def forget(self) -> None:
        """Let go of the keys; what tells whether another pass has the same ones stays."""
        self._seen.clear()

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
                if not self._is_joined(offset, keys):
                    return self._back_from(offset)
                if fresh := self._fresh(window.rows, keys):
                    self.given += len(fresh)
                    self._fruitless = self._same = 0
                    self._last = keys
                    yield fresh
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
        self.in_order = self.in_order and window.in_order
        if window.total is not None:
            self.least = window.total if self.least is None else min(self.least, window.total)
            self._most = window.total if self._most is None else max(self._most, window.total)

    def _is_joined(self, offset: int, keys: Sequence[str]) -> bool:
        """Whether nothing stands between what came and this page; `_PlaceLostError` if nothing that came is there."""
        if offset > 0:
            return bool(keys) and hash(keys[0]) in self._seen
        if keys and self._seen and self._seen.isdisjoint(map(hash, keys)):
            raise _PlaceLostError
        return True

    def _fresh(self, rows: Sequence[Any], keys: Sequence[str]) -> Sequence[Any]:
        """The rows of a page that haven't come; all those behind the last one that has if they have no key."""
        hashes = [hash(key) for key in keys]
        known = [n for n, value in enumerate(hashes) if value in self._seen]
        if not known:
            fresh = rows
        else:
            fresh = [
                row
                for n, (row, value) in enumerate(zip(rows, hashes, strict=True))
                if value not in self._seen or (n > known[-1] and sourced_id(row) is None)
            ]
        self._seen.update(hashes)
        return fresh

    def _back_from(self, offset: int) -> int:
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
