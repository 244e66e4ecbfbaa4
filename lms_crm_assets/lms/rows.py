"""What listed rows tell about themselves, whichever LMS they are of: their keys, and when the newest of them changed."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any

from lms_crm_assets.domain import RawRecord

_ID = itemgetter("id")
# Half of the time of `RawRecord(...)`, which is asked for each row.
_record: Callable[[tuple[str, Any, bool]], RawRecord] = partial(tuple.__new__, RawRecord)


def by_id(items: Iterable[Any], first: int = 0) -> list[RawRecord]:
    """Rows by their `id`; one without an id gets a key of its own, so that it is refused with a code and not lost.

    `first` is the place of the first row in its listing.
    """
    rows = list(items)
    with suppress(KeyError, TypeError):
        # As nearly all pages are: objects with an id that is a text.
        ids = [*map(_ID, rows)]
        if {*map(type, ids)} == {str} and {*map(type, rows)} == {dict}:
            return [*map(_record, zip(ids, rows, repeat(False), strict=False))]
    return [
        RawRecord(f"(row {n} has no id)" if (given := own_id(item)) is None else str(given), item)
        for n, item in enumerate(rows, first)
    ]


def own_id(item: Any) -> Any:
    """The `id` of a row, None where it has none."""
    return item.get("id") if isinstance(item, dict) else None


def newest(rows: Iterable[Any], name: str) -> datetime | None:
    """The newest readable stamp called `name`; one that can't be read is the check's business, not the cursor's."""
    stamps = _texts([*rows], name)
    # Stamps of one length in UTC sort as texts; most pages hold no others.
    alike = len({*map(len, stamps)}) == 1 and {stamp[-1:] for stamp in stamps} == {"Z"}
    if alike and (found := _moment(max(stamps))) is not None:
        return found
    return max(filter(None, map(_moment, stamps)), default=None)


def _texts(rows: Sequence[Any], name: str) -> set[str]:
    with suppress(KeyError, TypeError):
        # As nearly all pages are: objects that have it as a text.
        if {*map(type, stamps := {*map(itemgetter(name), rows)})} == {str}:
            return stamps
    return {stamp for row in rows if isinstance(row, dict) and isinstance(stamp := row.get(name), str)}


class Fruitful:
    """Watches the pages of a listing: so many in a row without a row that hasn't come yet are no paging.

    It keeps a hash a row.
    """

    _MOST_FRUITLESS = 20

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._fruitless = 0

    def page(self, items: Iterable[Any]) -> bool:
        """Take note of a page; whether the listing may go on."""
        before = len(self._seen)
        self._seen.update(hash(identity(item)) for item in items)
        self._fruitless = self._fruitless + 1 if len(self._seen) == before else 0
        return self._fruitless <= self._MOST_FRUITLESS


def identity(item: Any) -> str:
    """What makes a row one that hasn't come yet: its id, or all of a row that has none."""
    own = own_id(item)
    return repr(item) if own is None else str(own)


def _moment(stamp: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return found if found.tzinfo else None
