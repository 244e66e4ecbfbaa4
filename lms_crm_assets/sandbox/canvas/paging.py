"""Pages of listings and the addresses of their neighbours in the Link header.

Canvas documentation, "Pagination": 10 items by default, at most 100; the addresses are opaque and absolute, and carry
the request's parameters without its `access_token`.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar
from urllib.parse import urlencode

import orjson

from lms_crm_assets.sandbox.canvas.wire import Call, not_found
from lms_crm_assets.sandbox.school.store import START, Position

_DEFAULT_PER_PAGE = 10
_MAX_PER_PAGE = 100
_MAX_PAGE_DIGITS = 9
_NOT_IN_LINKS = {"page", "per_page", "access_token"}

Item = TypeVar("Item")
Links = dict[str, str]


def bookmarked(call: Call, rows: Callable[[Position], Iterator[tuple[Position, Item]]]) -> tuple[list[Item], Links]:
    """A page of a listing that goes on after a position, and its links: no number, and no `last`."""
    per_page, page = _per_page(call), call.one("page") or "first"
    after = START if page == "first" else _position(page)
    found = list(islice(rows(after), per_page + 1))
    links = {"current": page}
    if len(found) > per_page:
        links["next"] = _bookmark(found[per_page - 1][0])
    links["first"] = "first"
    return [item for _, item in found[:per_page]], _addresses(call, links, per_page)


def numbered(call: Call, items: Sequence[Item]) -> tuple[list[Item], Links]:
    """A page by its number, and its links; 404 for what is no number of a page."""
    per_page, text = _per_page(call), call.one("page") or "1"
    if not (text.isascii() and text.isdigit() and int(text[:_MAX_PAGE_DIGITS]) > 0):
        raise not_found()
    page, last = int(text[:_MAX_PAGE_DIGITS]), max(1, -(-len(items) // per_page))
    links = {"current": str(page)}
    if page < last:
        links["next"] = str(page + 1)
    if page > 1:
        links["prev"] = str(page - 1)
    links |= {"first": "1", "last": str(last)}
    first = (page - 1) * per_page
    return list(items[first : first + per_page]), _addresses(call, links, per_page)


def link_header(links: Links) -> str:
    """The Link header's text."""
    return ",".join(f'<{address}>; rel="{rel}"' for rel, address in links.items())


def _per_page(call: Call) -> int:
    text = call.one("per_page") or str(_DEFAULT_PER_PAGE)
    # Ruby's to_i: what is no number is 0, and less than 1 is 1.
    number = int(text) if text.isascii() and text.isdigit() else 0
    return min(max(number, 1), _MAX_PER_PAGE)


def _addresses(call: Call, pages: Links, per_page: int) -> Links:
    kept = [(name, value) for name, value in call.query.multi_items() if name not in _NOT_IN_LINKS]
    return {
        rel: f"{call.url}?{urlencode([*kept, ('page', page), ('per_page', per_page)])}" for rel, page in pages.items()
    }


def _bookmark(position: Position) -> str:
    return "bookmark:" + base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _position(page: str) -> Position:
    marker, _, text = page.partition("bookmark:")
    try:
        found = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        raise not_found() from None
    match found:
        case [int(number), str(row_id)] if not marker:
            return number, row_id
    raise not_found()
