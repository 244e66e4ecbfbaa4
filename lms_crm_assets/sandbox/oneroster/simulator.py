"""OneRoster 1.2 over HTTP: the rostering and the gradebook service, behind OAuth 2."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from math import ceil
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lms_crm_assets.sandbox.core import json_response, listed
from lms_crm_assets.sandbox.oneroster.auth import (
    GRADEBOOK,
    GRADEBOOK_CORE,
    ROSTER,
    ROSTER_CORE,
    SCOPES,
    Client,
    Tokens,
)
from lms_crm_assets.sandbox.oneroster.collections import Service, gradebook, rostering
from lms_crm_assets.sandbox.oneroster.errors import StatusInfoError, server_busy, unknown_object
from lms_crm_assets.sandbox.oneroster.listing import Listing
from lms_crm_assets.sandbox.oneroster.options import OneRosterOptions
from lms_crm_assets.sandbox.oneroster.query import read_fields, read_query
from lms_crm_assets.sandbox.oneroster.shapes import Shapes
from lms_crm_assets.sandbox.school.backed import SchoolBacked
from lms_crm_assets.sandbox.school.layout import Row, Size

_WINDOW_SECONDS = 10
_POOR_CLIENT = "poor"
_ROSTERING = frozenset({ROSTER, ROSTER_CORE})
_GRADEBOOK = frozenset({GRADEBOOK, GRADEBOOK_CORE})
_OUTSIDE_CORE = {"scoreScales": frozenset({GRADEBOOK})}


class OneRosterSimulator(SchoolBacked[OneRosterOptions]):
    """The generated LMS as a OneRoster provider.

    Two clients with the same secret: `client_id` may have every scope, `poor` only `roster-core.readonly`.
    The options are those of `OneRosterOptions`.
    """

    name = "oneroster"

    def __init__(
        self,
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - the sandbox's own, public
        *,
        token_path: str = "/token",  # noqa: S107 - a path
        learners: int = 1000,
        courses: int = 12,
        enrollments: int = 1800,
        seed: int = 7,
        start: str = "2026-01-05T00:00:00Z",
        **options: Any,
    ) -> None:
        """Serve a school of that size."""
        super().__init__(Size(learners, courses, enrollments, seed, start), OneRosterOptions().changed(options))
        self._clients = {
            client_id: Client(client_secret, SCOPES),
            _POOR_CLIENT: Client(client_secret, (ROSTER_CORE,)),
        }
        self._token_path = token_path
        self._start_over()

    def routes(self) -> list[BaseRoute]:
        """The token endpoint, the two services, and a refusal for every other path."""
        return [
            Route(self._token_path, self._token, methods=["POST"]),
            Route("/ims/oneroster/{service}/v1p2/{collection}", self._endpoint(self._list)),
            Route("/ims/oneroster/{service}/v1p2/{collection}/{sourcedId}", self._endpoint(self._get)),
            Route("/{path:path}", self._nothing),
        ]

    def mutate(self, change: Mapping[str, Any]) -> Row:
        """See `Store.mutate`; a listing that is kept for its later pages is out of date."""
        self._listing.forget()
        return super().mutate(change)

    def reset(self, options: Mapping[str, Any]) -> None:
        """A school anew; the tokens are gone."""
        super().reset(options)
        self._start_over()

    def load(self, state: Any) -> None:
        """Take up what `dump` gave; the tokens are gone."""
        super().load(state)
        self._start_over()

    def _start_over(self) -> None:
        self._tokens = Tokens(self._clients)
        self._listing = Listing()
        self._services = {"rostering": rostering(self.store), "gradebook": gradebook(self.store)}
        self._arrivals: deque[float] = deque()

    async def _token(self, request: Request) -> Response:
        await self._wait()
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        return self._tokens.grant(form, request.headers.get("authorization", ""), self.options)

    async def _nothing(self, request: Request) -> Response:
        await self._wait()
        return unknown_object(request.url.path).response()

    async def _wait(self) -> None:
        if self.options.latency_seconds:
            await asyncio.sleep(self.options.latency_seconds)

    def _endpoint(self, handler: Callable[[Request, Service], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            await self._wait()
            try:
                return handler(request, self._admit(request))
            except StatusInfoError as refusal:
                return refusal.response()

        return answer

    def _admit(self, request: Request) -> Service:
        """The service asked for, if the client may ask it."""
        service, path = request.path_params["service"], request.path_params["collection"]
        if path not in self._services.get(service, {}):
            raise unknown_object(request.url.path)
        permitting = _OUTSIDE_CORE.get(path, _ROSTERING if service == "rostering" else _GRADEBOOK)
        self._tokens.check(request.headers.get("authorization", ""), permitting)
        self._count_arrival()
        return self._services[service][path]

    def _count_arrival(self) -> None:
        limit, now = self.options.requests_per_10_seconds, time.monotonic()
        if limit is None:
            return
        while self._arrivals and self._arrivals[0] <= now - _WINDOW_SECONDS:
            self._arrivals.popleft()
        if len(self._arrivals) >= limit:
            first = self._arrivals[0] if self._arrivals else now
            raise server_busy(ceil(first + _WINDOW_SECONDS - now))
        self._arrivals.append(now)

    def _list(self, request: Request, service: Service) -> Response:
        query = read_query(request.query_params, service.kind, self.options.page_limit)
        name = request.path_params["collection"]
        items, total = self._listing.page(name, service.collection, query, self._shapes(request), listed(request))
        headers = {"Link": _links(request, query.limit, query.offset, total), "X-Total-Count": str(total)}
        return json_response({service.plural: items}, headers=headers)

    def _get(self, request: Request, service: Service) -> Response:
        sourced_id, chosen = request.path_params["sourcedId"], read_fields(request.query_params, service.kind)
        item = service.collection.get(sourced_id, self._shapes(request))
        if item is None:
            raise unknown_object(f"{service.kind} {sourced_id}")
        return json_response({service.kind: {name: item[name] for name in item if not chosen or name in chosen}})

    def _shapes(self, request: Request) -> Shapes:
        school = self.store.school
        return Shapes(str(request.base_url).rstrip("/"), school.start, school.end)


def _links(request: Request, limit: int, offset: int, total: int) -> str:
    """The pages around this one, with the query as it came (RFC 8288)."""
    offsets = {"first": 0, "last": max(0, total - 1) // limit * limit}
    if offset + limit < total:
        offsets["next"] = offset + limit
    if offset > 0:
        offsets["prev"] = max(0, offset - limit)
    given = [(name, value) for name, value in request.query_params.multi_items() if name not in {"limit", "offset"}]
    return ", ".join(
        f'<{request.url.replace(query=urlencode([*given, ("limit", limit), ("offset", at)]))}>; rel="{relation}"'
        for relation, at in offsets.items()
    )
