"""The routes under `/services`, and the way of a request through session, allowance, version and method."""

import asyncio
import re
from collections.abc import Callable, Mapping
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from lms_crm_assets.sandbox.core import json_response

from . import composite, records, sobject_collections
from .auth import OAuthError
from .describe import CHANGED_AT, describe_global, describe_object
from .errors import ApiError, JsonTypeError, RowError, not_found
from .http import Call, Reply, decompress, respond
from .org import Org, object_of
from .query import run

OLDEST_VERSION, NEWEST_VERSION = 31, 68
Handler = Callable[[Org, Call], Reply]

_VERSION = re.compile(r"v(\d\d)\.0")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_FIRST_RELEASE_YEAR, _RELEASES_A_YEAR = 2014, 3  # v31 was Summer '14
_SEASONS = ("Spring", "Summer", "Winter")


class ApiRoute(Route):
    """One resource: a handler for each method, the first API version that has it, and no care for a slash at the end."""

    def __init__(self, api: "Api", path: str, handlers: Mapping[str, Handler], since: int = OLDEST_VERSION) -> None:
        """`path` follows `/services/data/{version}`."""
        self.handlers = handlers
        self.since = since
        super().__init__("/services/data/{version}" + path, api.serve, methods=_METHODS)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's, on the path without its last slash."""
        return super().matches({**scope, "path": scope["path"].rstrip("/")})


class Api:
    """The REST API of one org."""

    def __init__(self, org: Org) -> None:
        """`org` is what every handler works on."""
        self._org = org

        def run_composite(org: Org, call: Call) -> Reply:
            return composite.run(org, call, self.dispatch)

        by_id = {"GET": records.retrieve, "PATCH": records.update, "DELETE": records.delete}
        by_key = {"GET": records.retrieve_by_key, "PATCH": records.upsert_by_key, "DELETE": records.delete_by_key}
        collections: dict[str, Handler] = {
            "POST": sobject_collections.create,
            "PATCH": sobject_collections.update,
            "DELETE": sobject_collections.delete,
        }
        retrieve: dict[str, Handler] = {"GET": sobject_collections.retrieve, "POST": sobject_collections.retrieve}
        self._routes = [
            ApiRoute(self, "", {"GET": _resources}),
            ApiRoute(self, "/limits", {"GET": _limits}),
            ApiRoute(self, "/query", {"GET": _query}),
            ApiRoute(self, "/query/{locator}", {"GET": _next_page}),
            ApiRoute(self, "/queryAll", {"GET": _query_all}),
            ApiRoute(self, "/queryAll/{locator}", {"GET": _next_page}),
            ApiRoute(self, "/sobjects", {"GET": _describe_global}),
            ApiRoute(self, "/sobjects/{sobject}", {"GET": _basic_information, "POST": records.create}),
            ApiRoute(self, "/sobjects/{sobject}/describe", {"GET": _describe}),
            ApiRoute(self, "/sobjects/{sobject}/{id}", by_id),
            ApiRoute(self, "/sobjects/{sobject}/{field}/{value:path}", by_key),
            ApiRoute(self, "/composite", {"POST": run_composite}, since=38),
            ApiRoute(self, "/composite/sobjects", collections, since=42),
            ApiRoute(self, "/composite/sobjects/{sobject}", retrieve, since=42),
            ApiRoute(self, "/composite/sobjects/{sobject}/{field}", {"PATCH": sobject_collections.upsert}, since=46),
            ApiRoute(self, "/{unknown:path}", {}),
        ]

    def routes(self) -> list[BaseRoute]:
        """The token endpoint, the list of versions and every resource."""
        return [
            Route("/services/oauth2/token", self._token, methods=["POST"]),
            Route("/services/data", _versions, methods=["GET"]),
            Route("/services/data/", _versions, methods=["GET"]),
            *self._routes,
            Route("/services/{unknown:path}", self.serve, methods=_METHODS),
        ]

    async def serve(self, request: Request) -> Response:
        """Answer one HTTP request."""
        await asyncio.sleep(self._org.latency_seconds)
        raw = await request.body()
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query_params)
        method = query.get("_HttpMethod", "POST").upper() if request.method == "POST" else request.method
        try:
            self._org.tokens.check(headers.get("authorization", ""))
            self._org.count_call()
            body = decompress(raw, headers.get("content-encoding", ""))
            reply = self.dispatch(method, request.url.path, query, headers, body)
        except ApiError as error:
            reply = Reply(error.status, error.body())
        return respond(reply, headers.get("accept-encoding", ""), self._org.limit_info)

    def dispatch(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Route one call, from HTTP or from within a composite one; `ApiError` when it is refused."""
        route, params = self._match(method, path)
        version = _VERSION.fullmatch(params.get("version", ""))
        if (
            route is None
            or version is None
            or not max(OLDEST_VERSION, route.since) <= int(version[1]) <= NEWEST_VERSION
        ):
            raise not_found()
        if not route.handlers:
            raise not_found()
        handler = route.handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = [*route.handlers, *(["HEAD"] if "GET" in route.handlers else [])]
            message = f"HTTP Method '{method}' not allowed. Allowed are {','.join(sorted(allowed))}"
            raise ApiError(405, "METHOD_NOT_ALLOWED", message)
        call = Call(method, int(version[1]), params, query, headers, body)
        try:
            return handler(self._org, call)
        except RowError as error:
            raise error.alone() from error
        except JsonTypeError as error:
            raise error.as_api_error(body) from error

    def _match(self, method: str, path: str) -> tuple[ApiRoute | None, Mapping[str, str]]:
        scope: Scope = {"type": "http", "method": method, "path": path}
        for route in self._routes:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                return route, child["path_params"]
        return None, {}

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        instance_url = f"{request.url.scheme}://{request.url.netloc}"
        try:
            return json_response(
                self._org.tokens.grant(form, request.headers.get("authorization", ""), instance_url),
                headers={"Cache-Control": "no-cache, no-store"},
            )
        except OAuthError as error:
            return json_response(error.body, error.status)


async def _versions(_: Request) -> Response:
    return json_response(
        [
            {"label": _label(version), "url": f"/services/data/v{version}.0", "version": f"{version}.0"}
            for version in range(OLDEST_VERSION, NEWEST_VERSION + 1)
        ]
    )


def _label(version: int) -> str:
    """The release that brought a version: v31 was Summer '14, then came Winter '15 and Spring '15."""
    years, season = divmod(version - OLDEST_VERSION + 1, _RELEASES_A_YEAR)
    year = _FIRST_RELEASE_YEAR + years + (1 if _SEASONS[season] == "Winter" else 0)
    return f"{_SEASONS[season]} '{year % 100}"


def _resources(_: Org, call: Call) -> Reply:
    names = ("sobjects", "query", "queryAll", "composite", "limits")
    return Reply(content={name: f"{call.data_url}/{name}" for name in names})


def _limits(org: Org, _: Call) -> Reply:
    return Reply(content=org.limits())


def _describe_global(_: Org, call: Call) -> Reply:
    return _unless_unmodified(call, lambda: describe_global(call.data_url))


def _basic_information(_: Org, call: Call) -> Reply:
    described = describe_global(call.data_url)["sobjects"]
    name = object_of(call).name
    return Reply(
        content={"objectDescribe": next(each for each in described if each["name"] == name), "recentItems": []}
    )


def _describe(_: Org, call: Call) -> Reply:
    sobject = object_of(call)
    return _unless_unmodified(call, lambda: describe_object(sobject, call.data_url))


def _unless_unmodified(call: Call, content: Callable[[], object]) -> Reply:
    """304 without a body when the client's copy is as new as the schema."""
    headers = {"Last-Modified": format_datetime(CHANGED_AT, usegmt=True)}
    try:
        since = parsedate_to_datetime(call.headers.get("if-modified-since", ""))
    except ValueError:
        return Reply(content=content(), headers=headers)
    if since.tzinfo is not None and since >= CHANGED_AT:
        return Reply(304, headers=headers)
    return Reply(content=content(), headers=headers)


def _query(org: Org, call: Call) -> Reply:
    return _first_page(org, call, include_deleted=False)


def _query_all(org: Org, call: Call) -> Reply:
    return _first_page(org, call, include_deleted=True)


def _first_page(org: Org, call: Call, *, include_deleted: bool) -> Reply:
    if "q" not in call.query:
        raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
    found = run(org.store, call.query["q"], call.data_url, include_deleted=include_deleted)
    return Reply(content=org.cursors.first_page(found, call.headers.get("sforce-query-options", ""), call.data_url))


def _next_page(org: Org, call: Call) -> Reply:
    return Reply(content=org.cursors.next_page(call.params["locator"], call.data_url))
