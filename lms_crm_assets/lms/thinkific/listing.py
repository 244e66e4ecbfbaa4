"""Thinkific's listings: pages by number, with the number of rows in all (Thinkific API reference, "Pagination").

Rows move between such pages while others come and go, so a listing is only whole when as many different rows came as
it ever said to have; else it is read again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.rows import Fruitful, identity
from lms_crm_assets.lms.streams import merged
from lms_crm_assets.lms.transport import Transport

ROOT = "/api/public/v1"
_PASSES = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One page of a listing: its rows, and what was said about all of them."""

    items: list[Any]
    pages: int
    total: int


@dataclass(frozen=True)
class Listing:
    """One listing, read `at_once` pages at a time."""

    transport: Transport
    path: str
    query: Mapping[str, Any]
    page_size: int
    at_once: int

    def parts(self) -> Iterator[Part]:
        """All pages; the last part has no rows and the number of rows that there have to be.

        Pages of a pass that turned out to be short are given too: the same row may come again. `RetryableError` when
        three passes together gave fewer rows than there are.
        """
        seen: set[str] = set()
        least = 0
        for _ in range(_PASSES):
            totals: list[int] = []
            for part in self._pass():
                seen.update(map(identity, part.items))
                totals.append(part.total)
                yield part
            least = min(totals)
            if len(seen) >= max(totals):
                break
        if len(seen) < least:
            raise RetryableError(
                f"Thinkific gives {len(seen)} rows of {self.path} where it says it has {least}: nothing was changed; rows"
                " moved between its pages, run again"
            )
        yield Part([], 0, least)

    def _pass(self) -> Iterator[Part]:
        first = self._page(1)
        yield first
        done, last, fruitful = 1, first.pages, Fruitful()
        fruitful.page(first.items)
        while done < last:
            streams = (self._stream(number) for number in range(done + 1, last + 1))
            done, known = last, last
            for part in merged(streams, self.at_once):
                known = max(known, part.pages)
                if not fruitful.page(part.items):
                    raise ProtocolError(
                        f"Thinkific gives no other rows of {self.path} on page after page: the paging never ends"
                    )
                yield part
            # More rows than fit came while they were read.
            last = known

    def _stream(self, number: int) -> Iterator[Part]:
        yield self._page(number)

    def _page(self, number: int) -> Part:
        query = {**self.query, "page": number, "limit": self.page_size}
        answer = self.transport.get(f"{ROOT}/{self.path}", query)
        items = answer.get("items") if isinstance(answer, dict) else None
        meta = answer.get("meta") if isinstance(answer, dict) else None
        told = meta.get("pagination") if isinstance(meta, dict) else None
        if not isinstance(items, list) or not isinstance(told, dict):
            raise ProtocolError(
                f"Thinkific answers {self.path} without 'items' and 'meta.pagination': check source.url"
            )
        current, pages, total = (told.get(name) for name in ("current_page", "total_pages", "total_items"))
        if not isinstance(pages, int) or not isinstance(total, int):
            raise ProtocolError(f"Thinkific answers {self.path} without 'total_pages' and 'total_items'")
        if current != number:
            raise ProtocolError(
                f"Thinkific was asked for page {number} of {self.path} and gives page {current!r}: the paging never ends"
            )
        return Part(items, pages, total)
