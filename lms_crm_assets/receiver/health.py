"""Whether the receiver lives, whether it can take deliveries, and its figures."""

import asyncio
from typing import Literal

import apsw
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.receiver.problems import documented
from lms_crm_assets.receiver.service import service_of
from lms_crm_assets.receiver.writer import unavailable

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well."""

    status: Literal["ok"] = Field("ok", description="`ok`, otherwise the answer is a problem.")


@router.get("/livez", responses=documented(405, 408, 413, 500))
async def livez() -> Health:
    """Whether the process answers; if not, start it anew."""
    return Health()


@router.get("/readyz", responses=documented(405, 408, 413, 500, 503))
async def readyz(request: Request) -> Health:
    """Whether deliveries can be kept: there is a key, and the inbox can be written."""
    service = service_of(request)
    if service.inbox is None:
        raise unavailable(service.trouble or "the receiver is starting or stopping")
    try:
        await asyncio.to_thread(service.inbox.check_writable)
    except (apsw.Error, OSError, LmsCrmError):
        raise unavailable("the inbox can't be written") from None
    return Health()


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "The figures as Prometheus reads them.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **documented(405, 408, 413, 500, 503),
    },
)
async def metrics(request: Request) -> Response:
    """The figures of the receiver, the inbox and all runs: docs/observability.md. For the inside of a network only."""
    try:
        text = await asyncio.to_thread(generate_latest, service_of(request).metrics.registry)
    except (apsw.Error, OSError, LmsCrmError):
        raise unavailable("the inbox or the store can't be read") from None
    return Response(text, media_type=CONTENT_TYPE_LATEST)
