"""The receiver as an application; `server` serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from lms_crm_assets.receiver import api_batch, api_changes, api_rejections, health, hooks, tokens
from lms_crm_assets.receiver.limits import Limits
from lms_crm_assets.receiver.metrics import Measured
from lms_crm_assets.receiver.problems import problem_handlers
from lms_crm_assets.receiver.service import Service
from lms_crm_assets.settings import Settings

routers = [
    hooks.router,
    health.router,
    tokens.router,
    api_batch.router,
    api_changes.router,
    api_rejections.router,
]


def build_app(settings: Settings) -> FastAPI:
    """The application with the contracts and the state of these settings; nothing is opened before it is started."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="lms_crm_assets receiver",
        description="Takes what an LMS and a CRM tell of changes. Every error is a problem document (RFC 9457).",
        version=version("lms-crm-assets"),
        openapi_url="/api/v1/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    for router in routers:
        app.include_router(router)
    # The last one added is the outermost.
    app.add_middleware(Limits)
    app.add_middleware(Measured, metrics=service.metrics)
    problem_handlers(app)
    return app
