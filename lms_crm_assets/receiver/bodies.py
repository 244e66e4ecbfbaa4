"""What the connector API's routes share about requests and answers: names in paths, bodies, ETags and gzip."""

import gzip
import hashlib
from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from lms_crm_assets.receiver.problems import Problem

_SMALLEST_GZIP = 1024
_GZIP_LEVEL = 5

# Not checked as a pattern: a stranger learns nothing from which names are possible ones.
TenantName = Annotated[
    str, Path(description="The tenant's name.", json_schema_extra={"pattern": "^[a-z][a-z0-9_-]{0,62}$"})
]

_TEXT = {"schema": {"type": "string"}}
RATE_HEADERS = {
    "RateLimit-Policy": {"description": "How many calls (q) in how many seconds (w) the client has.", **_TEXT},
    "RateLimit": {"description": "How many are left (r), and in how many seconds all are again (t).", **_TEXT},
}
CACHE_HEADERS = {"ETag": {"description": "For `If-None-Match`, which spares you the answer that you have.", **_TEXT}}
"""What the OpenAPI document says of an answer's headers."""


async def read_body(request: Request, media_type: str) -> bytes:
    """The body, which `limits` has unpacked and measured; a `Problem` (415) when it is of another type."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise Problem(415, f"the body has to be {media_type}")
    return await request.body()


def cacheable(request: Request, body: bytes) -> Response:
    """A JSON answer with an ETag: 304 for who has it already, gzipped for who takes that.

    The tag is weak, since it is the same for both encodings. Whoever keeps the answer has to ask before it is used again.
    """
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    shared = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization"}
    shared |= rate_headers(request)
    if _matches(request.headers.getlist("if-none-match"), tag):
        return Response(None, 304, shared)
    if len(body) >= _SMALLEST_GZIP and _takes_gzip(request.headers.getlist("accept-encoding")):
        packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        return Response(packed, 200, {**shared, "Content-Encoding": "gzip"}, media_type="application/json")
    return Response(body, 200, shared, media_type="application/json")


def rate_headers(request: Request) -> dict[str, str]:
    """The RateLimit headers of the call, as its authorisation found them."""
    found: dict[str, str] = getattr(request.state, "rate_headers", {})
    return found


def _matches(given: list[str], tag: str) -> bool:
    tags = [each.strip() for value in given for each in value.split(",")]
    return "*" in tags or any(each.removeprefix("W/") == tag.removeprefix("W/") for each in tags)


def _takes_gzip(given: list[str]) -> bool:
    weights: dict[str, float] = {}
    for each in ",".join(given).lower().split(","):
        coding, _, parameters = each.partition(";")
        name, _, weight = parameters.strip().partition("=")
        try:
            weights[coding.strip()] = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
