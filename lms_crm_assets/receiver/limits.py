"""What any request may cost: how large its body is, how long it takes to arrive, how far it unpacks.

The body is read here, whole, and handed on as one message.
"""

import asyncio
import zlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms_crm_assets.receiver.problems import Problem

MAX_BODY_BYTES = 256 * 1024
RECEIPT_SECONDS = 5.0
MOST_AT_ONCE = 2_000
"""Requests under way; each holds a body of the largest size at most."""
BEGAN = "lms_crm.receipt_began"
"""The key of the scope that says when the request's first byte arrived, in the event loop's time; see `server`."""

# What is left of the body would be read otherwise, to keep the connection for a next request.
_CLOSE = {"Connection": "close"}
_GZIP = 16 + zlib.MAX_WBITS
_TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES // 1024} KiB"


class _HungUpError(Exception):
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
        if self._under_way >= MOST_AT_ONCE:
            await Problem(503, "too many requests at once", headers=_CLOSE | {"Retry-After": "1"})(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._limited(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = _unpacked(scope, await _within(scope, receive))
        except _HungUpError:
            return
        except Problem as problem:
            await problem(scope, receive, send)
            return
        handed = False

        async def whole() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)


async def _within(scope: Scope, receive: Receive) -> bytes:
    declared = _header(scope, b"content-length")
    # The server has checked that it is a number.
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise Problem(413, _TOO_LARGE, headers=_CLOSE)
    loop = asyncio.get_running_loop()
    ends = scope.get(BEGAN, loop.time()) + RECEIPT_SECONDS
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout_at(ends):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _HungUpError
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise Problem(413, _TOO_LARGE, headers=_CLOSE)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(408, f"the request has to arrive within {RECEIPT_SECONDS:.0f} seconds", headers=_CLOSE) from None


def _unpacked(scope: Scope, body: bytes) -> bytes:
    """The body without its content encoding, whose headers go too; signatures are over the plain body."""
    encoding = _header(scope, b"content-encoding").strip().lower()
    if encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"x-gzip"}:
        raise Problem(415, "of content encodings only gzip is taken", headers={"Accept-Encoding": "gzip"})
    unpacked = bytearray()
    rest = body
    try:
        while rest:
            unpacker = zlib.decompressobj(_GZIP)
            unpacked += unpacker.decompress(rest, MAX_BODY_BYTES + 1 - len(unpacked))
            if len(unpacked) > MAX_BODY_BYTES:
                raise Problem(413, f"{_TOO_LARGE} when it is unpacked")
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


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == wanted), b"")
