"""A short way to the hooks: what a delivery needs of the application, without what the framework does for other routes.

Half of a request's time went there; what is answered is the same, and the OpenAPI document describes it.
"""

import re

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lms_crm_assets.ops.inbox import Side
from lms_crm_assets.receiver import hooks
from lms_crm_assets.receiver.limits import Limits
from lms_crm_assets.receiver.metrics import Measured
from lms_crm_assets.receiver.problems import Problem, Unforeseen

_HOOK = re.compile(r"/api/v1/hooks/(?P<tenant>[^/]+)(?P<crm>/crm)?")


class Direct:
    """The application, before which deliveries turn off."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._hooks: ASGIApp = Unforeseen(Measured(Limits(_answer), metrics=app.state.service.metrics))
        self._routes = {route.path: route for route in hooks.router.routes if hasattr(route, "path")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take deliveries here, and everything else there."""
        found = _HOOK.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route = self._routes["/api/v1/hooks/{tenant}" + (found["crm"] or "")]
        scope.update(app=self._app, route=route, path_params={"tenant": found["tenant"]})
        await self._hooks(scope, receive, send)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    side = Side.CRM if scope["route"].path.endswith("/crm") else Side.LMS
    try:
        response = await hooks.take(Request(scope, receive), side)
    except Problem as problem:
        response = problem.response()
    await response(scope, receive, send)
