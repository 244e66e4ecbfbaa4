"""Pages by number with totals: the ids that a listing holds are found once, and again when a row changes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Store
from lms_crm_assets.sandbox.thinkific.wire import Call

_DEFAULT_LIMIT = 25
_MAX_LIMIT = 250
_KEPT = 8


class Listings:
    """The ids of the last few listings that were asked for."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: OrderedDict[Hashable, list[str]] = OrderedDict()
        self._of: tuple[Store, int] | None = None

    def page(self, call: Call, key: Hashable, rows: Callable[[], Iterable[Row]], show: Callable[[str], Any]) -> Row:
        """A page of the rows, each shown by its id; `limit` is at most 250, and beyond the last page is nothing."""
        limit, page = min(call.number("limit", _DEFAULT_LIMIT), _MAX_LIMIT), call.number("page", 1)
        ids = self._ids(call, key, rows)
        pages, first = -(-len(ids) // limit), (page - 1) * limit
        found = ids[first : first + limit]
        pagination = {
            "current_page": page,
            "next_page": page + 1 if page < pages else None,
            "prev_page": page - 1 if page > 1 else None,
            "total_pages": pages,
            "total_items": len(ids),
            "entries_info": f"{first + 1 if found else 0}-{first + len(found)} of {len(ids)}",
        }
        return {"items": [show(row_id) for row_id in found], "meta": {"pagination": pagination}}

    def _ids(self, call: Call, key: Hashable, rows: Callable[[], Iterable[Row]]) -> list[str]:
        store, shown = call.store, call.shown
        if shown is not None:
            return sorted(row["id"] for row in rows() if shown(row["id"]))
        if self._of is None or self._of[0] is not store or self._of[1] != store.version:
            self._kept.clear()
            self._of = (store, store.version)
        if key not in self._kept:
            self._kept[key] = sorted(row["id"] for row in rows())
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
