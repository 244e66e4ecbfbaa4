"""The simulated Thinkific: the way from an HTTP request to a handler and back."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lms_crm_assets.sandbox.core import json_response, listed
from lms_crm_assets.sandbox.school.backed import SchoolBacked
from lms_crm_assets.sandbox.school.layout import Row, Size
from lms_crm_assets.sandbox.thinkific.catalog import course, courses, product, products
from lms_crm_assets.sandbox.thinkific.enrollments import enrollment, enrollments
from lms_crm_assets.sandbox.thinkific.limits import MinuteLimit
from lms_crm_assets.sandbox.thinkific.listings import Listings
from lms_crm_assets.sandbox.thinkific.options import ThinkificOptions
from lms_crm_assets.sandbox.thinkific.people import user, users
from lms_crm_assets.sandbox.thinkific.wire import Call, ThinkificError, not_found

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_BASE = "/api/public/v1"

Handler = Callable[[Call], Row]
Answering = Callable[[Request], Awaitable[Response]]


class ThinkificSimulator(SchoolBacked[ThinkificOptions]):
    """A Thinkific site that serves a generated school."""

    name = "thinkific"

    def __init__(  # noqa: PLR0913 - one keyword an option
        self,
        api_key: str = "sandbox-thinkific-key",
        subdomain: str = "sandbox",
        *,
        access_token: str = "sandbox-thinkific-token",  # noqa: S107 - the sandbox's own, public
        poor_token: str = "poor",  # noqa: S107 - as above
        learners: int = 1000,
        courses: int = 12,
        enrollments: int = 1800,
        seed: int = 7,
        start: str = "2026-01-05T00:00:00Z",
        latency_seconds: float = 0.0,
        requests_per_minute: int | None = None,
    ) -> None:
        """Serve a school of that size."""
        options = {"latency_seconds": latency_seconds, "requests_per_minute": requests_per_minute}
        size = Size(learners, courses, enrollments, seed, start)
        super().__init__(size, ThinkificOptions().changed(options))
        self._api_key, self._subdomain = api_key, subdomain
        self._access_token, self._poor_token = access_token, poor_token
        self._limit = MinuteLimit()
        self._listings = Listings()

    def routes(self) -> list[BaseRoute]:
        """The simulated part of the Admin API, and 404 for every other path."""
        listings = {"users": users, "courses": courses, "products": products, "enrollments": enrollments}
        single = {"users": user, "courses": course, "products": product, "enrollments": enrollment}
        return [
            *(Route(f"{_BASE}/{name}", self._listing(name, of), methods=_METHODS) for name, of in listings.items()),
            *(Route(f"{_BASE}/{name}/{{id}}", self._serve(name, of), methods=_METHODS) for name, of in single.items()),
            Route("/{path:path}", self._serve("", _nothing), methods=_METHODS),
        ]

    def reset(self, options: Mapping[str, Any]) -> None:
        """A school anew, and no request counted."""
        super().reset(options)
        self._limit.clear()

    def _listing(self, name: str, listing: Callable[[Call, Listings], Row]) -> Answering:
        return self._serve(name, lambda call: listing(call, self._listings))

    def _serve(self, name: str, handler: Handler) -> Answering:
        async def answer(request: Request) -> Response:
            if self.options.latency_seconds:
                await asyncio.sleep(self.options.latency_seconds)
            headers: dict[str, str] = {}
            try:
                self._authorize(request, name)
                headers = self._limit.admit(self.options.requests_per_minute)
                if request.method not in {"GET", "HEAD"}:
                    raise not_found()
                call = Call(self.store, request.path_params, request.query_params, listed(request))
                return json_response(handler(call), headers=headers)
            except ThinkificError as error:
                return json_response(error.body, error.status, headers | error.headers)

        return answer

    def _authorize(self, request: Request, name: str) -> None:
        """Go on with the site's key, or an app's token; 403 for a token without the scope."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key, subdomain = (request.headers.get(header, "") for header in ("x-auth-api-key", "x-auth-subdomain"))
        by_key = hmac.compare_digest(key.encode(), self._api_key.encode()) and subdomain == self._subdomain
        token = token if scheme.lower() == "bearer" else ""
        if not by_key and token not in {self._access_token, self._poor_token}:
            raise ThinkificError(401, {"error": "Authentication Error"})
        if not by_key and token == self._poor_token and name in {"users", "enrollments"}:
            raise ThinkificError(403, {"error": "Forbidden"})


def _nothing(_: Call) -> Row:
    raise not_found()
