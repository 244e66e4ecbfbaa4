"""Pages of a query's answer: `nextRecordsUrl` and what stands behind it (REST guide, Query and More)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from .errors import ApiError
from .ids import record_id
from .query import Found

MIN_BATCH, MAX_BATCH = 200, 2000
# Each open cursor holds a reference to every record found; the oldest are closed to bound that.
_MAX_OPEN = 50


@dataclass(frozen=True, slots=True)
class _Cursor:
    found: Found
    size: int


class Cursors:
    """The open cursors, by the locator that clients send back."""

    def __init__(self) -> None:
        """Start with none."""
        self._open: OrderedDict[str, _Cursor] = OrderedDict()
        self._number = 0

    def first_page(self, found: Found, options: str, data_url: str) -> dict[str, Any]:
        """The first page; `options` is the header `Sforce-Query-Options`, its size kept within 200 and 2000."""
        cursor = _Cursor(found, _batch_size(options))
        locator = ""
        if len(found.records) > cursor.size:
            self._number += 1
            locator = record_id("01g", self._number)
            self._open[locator] = cursor
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        return _page(cursor, locator, 0, data_url)

    def next_page(self, locator: str, data_url: str) -> dict[str, Any]:
        """The page that a `nextRecordsUrl` names; `ApiError` INVALID_QUERY_LOCATOR when there is none."""
        id_, _, start = locator.partition("-")
        cursor = self._open.get(id_)
        if cursor is None or not start.isdigit() or int(start) >= len(cursor.found.records):
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return _page(cursor, id_, int(start), data_url)


def _page(cursor: _Cursor, locator: str, start: int, data_url: str) -> dict[str, Any]:
    end = start + cursor.size
    done = end >= len(cursor.found.records)
    page: dict[str, Any] = {"totalSize": cursor.found.total, "done": done}
    if not done:
        page["nextRecordsUrl"] = f"{data_url}/query/{locator}-{end}"
    project = cursor.found.project
    page["records"] = [] if project is None else [project(record) for record in cursor.found.records[start:end]]
    return page


def _batch_size(options: str) -> int:
    for option in options.split(","):
        name, _, value = option.partition("=")
        if name.strip().lower() == "batchsize" and value.strip().isdigit():
            return min(max(int(value), MIN_BATCH), MAX_BATCH)
    return MAX_BATCH
