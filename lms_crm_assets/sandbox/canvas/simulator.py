"""The simulated Canvas: the way from an HTTP request to a handler and back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lms_crm_assets.sandbox.canvas import courses, enrollments, outcomes, progress, submissions, users
from lms_crm_assets.sandbox.canvas.auth import Auth, Credentials
from lms_crm_assets.sandbox.canvas.options import CanvasOptions
from lms_crm_assets.sandbox.canvas.paging import link_header
from lms_crm_assets.sandbox.canvas.throttle import Throttle, refusal
from lms_crm_assets.sandbox.canvas.wire import Answer, Call, CanvasError, Handler, not_found
from lms_crm_assets.sandbox.core import json_response, listed
from lms_crm_assets.sandbox.school.backed import SchoolBacked
from lms_crm_assets.sandbox.school.layout import Size

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MODULES = (users, courses, enrollments, progress, submissions, outcomes)
_STRING_IDS = "application/json+canvas-string-ids"

Answering = Callable[[Request], Awaitable[Response]]


class CanvasSimulator(SchoolBacked[CanvasOptions]):
    """A Canvas site of one account that serves a generated school; see `CanvasOptions` for what can be set."""

    name = "canvas"

    def __init__(  # noqa: PLR0913 - one keyword an option
        self,
        token: str = "sandbox-canvas-token",  # noqa: S107 - the sandbox's own, public
        poor_token: str = "poor",  # noqa: S107 - as above
        *,
        learners: int = 1000,
        courses: int = 12,
        enrollments: int = 1800,
        seed: int = 7,
        start: str = "2026-01-05T00:00:00Z",
        latency_seconds: float = 0.0,
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - as above
        refresh_token: str = "sandbox-canvas-refresh",  # noqa: S107 - as above
        **options: Any,
    ) -> None:
        """Serve a school of that size; `options` are those of `CanvasOptions`."""
        size = Size(learners, courses, enrollments, seed, start)
        super().__init__(size, CanvasOptions().changed({"latency_seconds": latency_seconds, **options}))
        self._auth = Auth(Credentials(token, poor_token, client_id, client_secret, refresh_token))
        self._throttle = Throttle()

    def routes(self) -> list[BaseRoute]:
        """The simulated part of the API, the token endpoint, and 404 for every other path."""
        handlers = {path: handler for module in _MODULES for path, handler in module.ROUTES.items()}
        return [
            Route("/login/oauth2/token", self._grant, methods=_METHODS),
            *(Route(path, self._endpoint(handler), methods=_METHODS) for path, handler in handlers.items()),
            Route("/{path:path}", self._endpoint(_nothing), methods=_METHODS),
        ]

    def reset(self, options: Mapping[str, Any]) -> None:
        """A school anew; tokens from refreshes end and the buckets are empty."""
        super().reset(options)
        self._auth.forget()
        self._throttle.clear()

    def _endpoint(self, handler: Handler) -> Answering:
        async def answer(request: Request) -> Response:
            token, options = _token(request), self.options
            client = token or "session"
            admitted = self._throttle.admit(client, options)
            if options.latency_seconds:
                await asyncio.sleep(options.latency_seconds)
            response = self._answer(request, handler, token) if admitted else refusal(options)
            self._throttle.finish(client, options, response, admitted=admitted)
            return response

        return answer

    def _answer(self, request: Request, handler: Handler, token: str | None) -> Response:
        try:
            viewer = self._auth.viewer(token)
            if request.method not in {"GET", "HEAD"}:
                raise not_found()
            root = f"{request.url.scheme}://{request.url.netloc}"
            url = f"{root}{request.url.path}"
            call = Call(self.store, viewer, request.path_params, request.query_params, url, root, listed(request))
            found = handler(call)
        except CanvasError as error:
            return json_response(error.body, error.status, error.headers)
        as_text = _STRING_IDS in request.headers.get("accept", "")
        headers = {"Link": link_header(dict(found.links))} if found.links else {}
        return json_response(_with_string_ids(found.body) if as_text else found.body, headers=headers)

    async def _grant(self, request: Request) -> Response:
        if request.method != "POST":
            error = not_found()
            return json_response(error.body, error.status)
        body = (await request.body()).decode(errors="replace")
        form = dict([*request.query_params.multi_items(), *parse_qsl(body)])
        try:
            return json_response(self._auth.grant(form, self.options), headers={"Cache-Control": "no-store"})
        except CanvasError as error:
            return json_response(error.body, error.status)


def _nothing(_: Call) -> Answer:
    raise not_found()


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token
    return request.query_params.get("access_token")


def _with_string_ids(value: Any) -> Any:
    """The same with every id as text, which clients ask for whose numbers are floats."""
    if isinstance(value, list):
        return [_with_string_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: str(each) if (name == "id" or name.endswith("_id")) and isinstance(each, int) else _with_string_ids(each)
        for name, each in value.items()
    }
