"""Between HTTP and the handlers: what a request holds, what an answer is made of, and their compression."""

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from .errors import ApiError, JsonTypeError, json_error

_COMPRESS_FROM_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One API call after routing: `version` is 59 for v59.0, `params` come from the path, header names are lower-case."""

    method: str
    version: int
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def data_url(self) -> str:
        """The path that resources of this version stand under."""
        return f"/services/data/v{self.version}.0"

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; `ApiError` JSON_PARSER_ERROR when it is none."""
        content_type = self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if content_type != "application/json":
            message = f"Content-Type header specified in HTTP request is not supported: {content_type}"
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message)
        content = parse_json(self.body)
        if not isinstance(content, dict):
            raise JsonTypeError("sobject", content)
        return content


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `content` as JSON, or the bytes of `stream` as they are; no body at all when both are None."""

    status: int = 200
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None


def parse_json(body: bytes) -> Any:
    """The body's JSON; `ApiError` with the parser's text, line and column when it is malformed or missing."""
    if not body.strip():
        raise json_error("The HTTP entity body is required, but this request has no entity body.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        where = f"at [line:{exc.lineno}, column:{exc.colno}]"
        text = exc.doc  # empty when the body is no UTF-8
        if not text:
            raise json_error(f"Invalid UTF-8 {where}") from exc
        if exc.pos >= len(text):
            raise json_error(f"Unexpected end-of-input {where}") from exc
        found = text[exc.pos]
        raise json_error(
            f"Unexpected character ('{found}' (code {ord(found)})): expected a valid value {where}"
        ) from exc


def decompress(body: bytes, encoding: str) -> bytes:
    """A request's body without its `Content-Encoding`: gzip, deflate (with or without zlib's header) or none."""
    try:
        match encoding.strip().lower():
            case "" | "identity":
                return body
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return _inflate(body)
    except (OSError, EOFError, zlib.error) as exc:
        raise json_error(f"The HTTP entity body is not {encoding} encoded") from exc
    raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Encoding is not supported: {encoding}")


def respond(reply: Reply, accept_encoding: str, limit_info: str) -> Response:
    """The HTTP answer, gzipped when the client takes that and it is worth it."""
    headers = {"Sforce-Limit-Info": limit_info, **reply.headers}
    if reply.stream is not None:
        return StreamingResponse(_served(reply.stream), reply.status, headers)
    if reply.content is None:
        return Response(status_code=reply.status, headers=headers)
    body = orjson.dumps(reply.content)
    if len(body) > _COMPRESS_FROM_BYTES and "gzip" in accept_encoding.lower():
        body = gzip.compress(body, compresslevel=1)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(body, reply.status, headers, media_type="application/json;charset=UTF-8")


async def _served(stream: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces on the event loop itself: they come from memory and local files, and records must not change between."""
    for piece in stream:
        yield piece


def _inflate(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error:
        return zlib.decompress(body, -zlib.MAX_WBITS)
