"""What listed rows tell about themselves, whichever LMS they are of: their keys, and when the newest of them changed."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lms_crm_assets.domain import RawRecord


def by_id(items: Iterable[Any], first: int = 0) -> list[RawRecord]:
    """Rows by their `id`; one without an id gets a key of its own, so that it is refused with a code and not lost.

    `first` is the place of the first row in its listing.
    """
    return [
        RawRecord(f"(row {n} has no id)" if (given := own_id(item)) is None else str(given), item)
        for n, item in enumerate(items, first)
    ]


def own_id(item: Any) -> Any:
    """The `id` of a row, None where it has none."""
    return item.get("id") if isinstance(item, dict) else None


def newest(rows: Iterable[Any], name: str) -> datetime | None:
    """The newest readable stamp called `name`; one that can't be read is the check's business, not the cursor's."""
    stamps = {row[name] for row in rows if isinstance(row, dict) and isinstance(row.get(name), str)}
    # Stamps of one length in UTC sort as texts; most pages hold no others.
    alike = len({len(stamp) for stamp in stamps}) == 1 and all(stamp[-1:] == "Z" for stamp in stamps)
    if alike and (found := _moment(max(stamps))) is not None:
        return found
    return max(filter(None, map(_moment, stamps)), default=None)


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
