"""Which objects a listing holds: at once by the place, and with a filter or an order of its own from what was found before."""

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Any

from lms_crm_assets.sandbox.oneroster.collections import Collection
from lms_crm_assets.sandbox.oneroster.query import Query, values_at
from lms_crm_assets.sandbox.oneroster.shapes import Shapes
from lms_crm_assets.sandbox.school.layout import Row

# So many searches at once go on page by page without being searched anew.
_KEPT = 8

Shown = Callable[[str], bool] | None


class Listing:
    """Finds the pages of the collections of one store; `forget` after every change."""

    def __init__(self) -> None:
        """Nothing was found yet."""
        self._found: OrderedDict[Any, list[str]] = OrderedDict()

    def forget(self) -> None:
        """What was found is no longer so."""
        self._found.clear()

    def page(
        self, name: str, collection: Collection, query: Query, shapes: Shapes, shown: Shown
    ) -> tuple[list[Row], int]:
        """The objects of one page and how many there are in all."""
        if query.clauses or query.sort or shown is not None:
            ids = self._search(name, collection, query, shapes, shown)
            wanted, total = ids[query.offset : query.offset + query.limit], len(ids)
        else:
            total = collection.count()
            wanted = list(islice(collection.ids(query.offset), query.limit)) if query.offset < total else []
        items = (collection.get(sourced_id, shapes) for sourced_id in wanted)
        return [query.selected(item) for item in items if item is not None], total

    def _search(self, name: str, collection: Collection, query: Query, shapes: Shapes, shown: Shown) -> list[str]:
        key = (name, shapes.base, query.clauses, query.either, query.sort, query.descending)
        if shown is None and key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        since = query.since()
        candidates = collection.ids(0) if since is None else sorted(collection.since(since))
        found: list[tuple[Any, str]] = []
        for sourced_id in candidates:
            item = collection.get(sourced_id, shapes) if shown is None or shown(sourced_id) else None
            if item is not None and query.holds(item):
                found.append((_rank(item, query.sort), sourced_id))
        if query.sort:
            found.sort(key=lambda pair: pair[0], reverse=query.descending)
        ids = [sourced_id for _, sourced_id in found]
        if shown is None:
            self._found[key] = ids
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return ids


def _rank(item: Row, sort: str | None) -> tuple[str | float, ...]:
    """What an object is sorted by; one without the field comes first."""
    return tuple(values_at(item, sort.split("."))) if sort else ()
