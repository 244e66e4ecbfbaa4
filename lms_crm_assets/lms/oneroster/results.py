"""Results, whole or since a moment: each is a score, or ratings of learning objectives, or both.

A line item that changed changes what its results mean, so an incremental reading gives those too.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from lms_crm_assets.errors import MissingError
from lms_crm_assets.lms.oneroster.held import Held, Rows
from lms_crm_assets.lms.oneroster.rows import sourced_id

# Results of more line items than this are rather read with all others than a call for each.
_ITEMS_ONE_BY_ONE = 100

RowsAt = Callable[[str], Iterator[Sequence[Any]]]
"""All results at a path of the gradebook."""


def results_since(rows: Rows, rows_at: RowsAt, items: Held, since: datetime) -> Iterator[Sequence[Any]]:
    """The results that changed, and those of line items that changed; one may come more than once."""
    changed = items.changed(since)
    if len(changed) > _ITEMS_ONE_BY_ONE:
        yield from rows(None)
        return
    yield from rows(since)
    try:
        for path in _paths(items, changed):
            yield from rows_at(path)
    except MissingError:
        # Not every provider gives the results of one line item: then they are found among all.
        yield from rows(None)


def _paths(items: Held, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        class_id = sourced_id(items.get(key).get("class"))
        if class_id is not None:
            yield f"/classes/{quote(class_id, safe='')}/lineItems/{quote(key, safe='')}/results"
