"""Opaque cursors: a position in a listing, as a text that nobody needs to look into."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import Query

from lms_crm_assets.receiver.problems import Problem

Since = Annotated[
    str | None,
    Query(
        max_length=2048,
        description="`next` of an earlier answer: what came after it. From the beginning without it.",
    ),
]


def cursor(kind: str, *position: str | int) -> str:
    """A position as a text."""
    return base64.urlsafe_b64encode(orjson.dumps([kind, *position])).rstrip(b"=").decode()


def position(text: str, kind: str, shape: Sequence[type]) -> tuple[Any, ...]:
    """The position that a cursor names; a `Problem` (400) when it is none of this listing."""
    try:
        opened = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        opened = None
    if not isinstance(opened, list) or [type(each) for each in opened] != [str, *shape] or opened[0] != kind:
        raise Problem(
            400, "`since` is no cursor of this listing: take `next` of an earlier answer", code="INVALID_CURSOR"
        )
    return tuple(opened[1:])


def expired() -> Problem:
    """The listing was begun anew: what the cursor names is there no more."""
    return Problem(
        410,
        "the listing was begun anew since: read it from the beginning, without `since`",
        code="CURSOR_EXPIRED",
    )
