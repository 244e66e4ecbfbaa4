"""A short way to the hooks: what a delivery needs of the application, without what the framework does for other routes.

More than half of a request's time went there; what is answered is the same, and the OpenAPI document describes it.
"""

import re
import time

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from lms_crm_assets.ops.inbox import Side
from lms_crm_assets.receiver import hooks
from lms_crm_assets.receiver.limits import HungUpError, Limits, body_of
from lms_crm_assets.receiver.problems import Problem, unforeseen
from lms_crm_assets.receiver.service import Service

_HOOK = re.compile(r"/api/v1/hooks/(?P<tenant>[^/]+)(?P<to>/crm|/statements)?")


class Direct:
    """The application, before which deliveries turn off."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._service: Service = app.state.service
        self._limits = Limits(app)
        self._routes = {route.path: route for route in hooks.router.routes if hasattr(route, "path")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take deliveries here, and everything else there."""
        found = _HOOK.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        side = Side.CRM if found["to"] == "/crm" else Side.LMS
        if scope["method"] != "POST":
            await hooks.not_taken(self._service, found["tenant"], side, 405)
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 200 if found["to"] == "/statements" else 202
        scope["route"] = self._routes["/api/v1/hooks/{tenant}" + (found["to"] or "")]
        arrived = False
        try:
            with self._limits.place():
                body = await body_of(scope, receive)
                arrived = True
                response = await hooks.take(self._service, scope, body, found["tenant"], side, status=status)
        except HungUpError:
            return
        except Problem as problem:
            if not arrived:
                await hooks.not_taken(self._service, found["tenant"], side, problem.status)
            response = problem.response()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the sender gets an answer
            response = unforeseen(scope, exc).response()
        self._service.metrics.measured(scope, response.status_code, began)
        await response(scope, receive, send)
