"""What any request may cost: how large its body is, how long it takes to arrive, how far it unpacks.

The body is read here, whole, and handed on as one message.
"""

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms_crm_assets.receiver.problems import Problem

MAX_BODY_BYTES = 256 * 1024
MAX_BATCH_BYTES = 1024 * 1024
"""The same of a `:batchUpsert`."""
RECEIPT_SECONDS = 5.0
MOST_AT_ONCE = 2_000
"""Requests under way; each holds a body of the largest size at most, and a batch counts for as many as it is larger."""
BEGAN = "lms_crm.receipt_began"
"""The key of the scope that says when the request's first byte arrived, in the event loop's time; see `server`."""

# What is left of the body would be read otherwise, to keep the connection for a next request.
_CLOSE = {"Connection": "close"}
_GZIP = 16 + zlib.MAX_WBITS


class HungUpError(Exception):
    """Nobody waits for an answer."""


class Limits:
    """Answers 503, 413, 408, 400 and 415 before anything else looks at the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body within its limits, and go on with it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            most = MAX_BATCH_BYTES if scope["path"].endswith(":batchUpsert") else MAX_BODY_BYTES
            with self.place(most // MAX_BODY_BYTES):
                body = await body_of(scope, receive, most)
                await self._app(scope, _whole(body, receive), send)
        except HungUpError:
            return
        except Problem as problem:
            await problem(scope, receive, send)

    @contextmanager
    def place(self, weight: int = 1) -> Iterator[None]:
        """Be one of the requests under way; a `Problem` (503) when there are too many."""
        if self._under_way + weight > MOST_AT_ONCE:
            raise Problem(503, "too many requests at once", headers=_CLOSE | {"Retry-After": "1"})
        self._under_way += weight
        try:
            yield
        finally:
            self._under_way -= weight


def _whole(body: bytes, receive: Receive) -> Receive:
    handed = False

    async def whole() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return whole


async def body_of(scope: Scope, receive: Receive, most: int = MAX_BODY_BYTES) -> bytes:
    """The whole body, unpacked; a `Problem` when it is too large, too slow or can't be unpacked."""
    return _unpacked(scope, await _within(scope, receive, most), most)


async def _within(scope: Scope, receive: Receive, most: int) -> bytes:
    declared = header_of(scope, b"content-length")
    # The server has checked that it is a number.
    if declared.isdigit() and int(declared) > most:
        raise Problem(413, _too_large(most), headers=_CLOSE)
    loop = asyncio.get_running_loop()
    ends = scope.get(BEGAN, loop.time()) + RECEIPT_SECONDS
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout_at(ends):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HungUpError
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise Problem(413, _too_large(most), headers=_CLOSE)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(408, f"the request has to arrive within {RECEIPT_SECONDS:.0f} seconds", headers=_CLOSE) from None


def _unpacked(scope: Scope, body: bytes, most: int) -> bytes:
    """The body without its content encoding, whose headers go too; signatures are over the plain body."""
    encoding = header_of(scope, b"content-encoding").strip().lower()
    if encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"x-gzip"}:
        raise Problem(415, "of content encodings only gzip is taken", headers={"Accept-Encoding": "gzip"})
    unpacked = bytearray()
    rest = body
    try:
        while rest:
            unpacker = zlib.decompressobj(_GZIP)
            unpacked += unpacker.decompress(rest, most + 1 - len(unpacked))
            if len(unpacked) > most:
                raise Problem(413, f"{_too_large(most)} when it is unpacked")
            if not unpacker.eof:
                raise Problem(400, "the body is no gzip, or not all of it", code="INVALID_ENCODING")
            rest = unpacker.unused_data
    except zlib.error:
        raise Problem(400, "the body is no gzip, or not all of it", code="INVALID_ENCODING") from None
    dropped = {b"content-encoding", b"content-length"}
    scope["headers"] = [
        *((name, value) for name, value in scope["headers"] if name not in dropped),
        (b"content-length", str(len(unpacked)).encode()),
    ]
    return bytes(unpacked)


def _too_large(most: int) -> str:
    return f"the body is larger than {most // 1024} KiB"


def header_of(scope: Scope, wanted: bytes) -> bytes:
    """The first value of a header, empty without one."""
    return next((bytes(value) for name, value in scope["headers"] if name == wanted), b"")
