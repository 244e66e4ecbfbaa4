"""The routes under `/services`, and the way of a request through session, allowance, version and method."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from lms_crm_assets.sandbox.core import json_response

from . import composite, records, sobject_collections
from .auth import OAuthError
from .authorize import authorize
from .bulk import ingest, queries
from .describe import describe_global, describe_object
from .errors import ApiError, JsonTypeError, RowError, not_found
from .http import Call, Reply, decompress, respond
from .org import Org, object_of
from .query import run

OLDEST_VERSION, NEWEST_VERSION = 31, 68
_INGEST_SINCE, _QUERY_JOBS_SINCE = 41, 47
Handler = Callable[[Org, Call], Reply]
Upload = Callable[[Org, Call, AsyncIterator[bytes]], Awaitable[Reply]]

_VERSION = re.compile(r"v(\d\d)\.0")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_FIRST_RELEASE_YEAR, _RELEASES_A_YEAR = 2014, 3  # v31 was Summer '14
_SEASONS = ("Spring", "Summer", "Winter")


class ApiRoute(Route):
    """One resource: a handler for each method, the first API version that has it, and no care for a slash at the end."""

    def __init__(
        self,
        api: "Api",
        path: str,
        handlers: Mapping[str, Handler],
        since: int = OLDEST_VERSION,
        upload: Upload | None = None,
    ) -> None:
        """`path` follows `/services/data/{version}`; `upload` takes a PUT whose body is not to stand in memory."""
        self.handlers = handlers
        self.upload = upload
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
        self._running = 0

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
            *self._job_routes(),
            ApiRoute(self, "/{unknown:path}", {}),
        ]

    def routes(self) -> list[BaseRoute]:
        """The page that people allow access on, the token endpoint, the list of versions and every resource."""
        return [
            Route("/services/oauth2/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/services/oauth2/token", self._token, methods=["POST"]),
            Route("/services/data", _versions, methods=["GET"]),
            Route("/services/data/", _versions, methods=["GET"]),
            *self._routes,
            Route("/services/{unknown:path}", self.serve, methods=_METHODS),
        ]

    async def serve(self, request: Request) -> Response:
        """Answer one HTTP request."""
        self._running += 1
        try:
            crowded = self._running > self._org.options.concurrent_limit
            if not crowded:
                await asyncio.sleep(self._org.options.latency_seconds)
            return await self._serve(request, crowded=crowded)
        finally:
            self._running -= 1

    async def _serve(self, request: Request, *, crowded: bool) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query_params)
        method = query.get("_HttpMethod", "POST").upper() if request.method == "POST" else request.method
        route, params = self._match(method, request.url.path)
        upload = route.upload if route is not None and method == "PUT" else None
        raw = b"" if upload is not None else await request.body()
        try:
            self._admit(headers, crowded=crowded)
            if upload is not None:
                call = Call(method, _version(route, params), params, query, headers, b"")
                reply = await upload(self._org, call, request.stream())
            else:
                self._org.guard.caller = self._org.guard.new_caller(
                    f"/services/data/{params.get('version', '')}",
                    allow_save=_allows_save(headers.get("sforce-duplicate-rule-header", "")),
                )
                body = decompress(raw, headers.get("content-encoding", ""))
                reply = self.dispatch(method, request.url.path, query, headers, body)
        except ApiError as error:
            reply = Reply(error.status, error.body())
        if upload is not None:
            await _drain(request)
        return respond(reply, headers.get("accept-encoding", ""), self._org.limit_info)

    def _admit(self, headers: Mapping[str, str], *, crowded: bool) -> None:
        """Let a call in; `ApiError` when its session has ended, too many are in progress or the day's are used up."""
        self._org.tokens.check(headers.get("authorization", ""))
        if crowded:
            message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", message)
        self._org.count_call()

    def _job_routes(self) -> list[ApiRoute]:
        def no_upload(_: Org, __: Call) -> Reply:
            raise not_found()  # an upload never comes here

        ingest_job = {"GET": ingest.info, "PATCH": ingest.change_state, "DELETE": ingest.delete}
        query_job = {"GET": queries.info, "PATCH": queries.change_state, "DELETE": queries.delete}
        results: dict[str, Handler] = {
            "successfulResults": ingest.successful_results,
            "failedResults": ingest.failed_results,
            "unprocessedrecords": ingest.unprocessed_records,
            "unprocessedRecords": ingest.unprocessed_records,  # simple-salesforce spells it so
        }
        upload = ApiRoute(self, "/jobs/ingest/{job}/batches", {"PUT": no_upload}, _INGEST_SINCE, ingest.upload)
        return [
            ApiRoute(self, "/jobs/ingest", {"GET": ingest.listed, "POST": ingest.create}, _INGEST_SINCE),
            upload,
            *(
                ApiRoute(self, f"/jobs/ingest/{{job}}/{name}", {"GET": handler}, _INGEST_SINCE)
                for name, handler in results.items()
            ),
            ApiRoute(self, "/jobs/ingest/{job}", ingest_job, _INGEST_SINCE),
            ApiRoute(self, "/jobs/query", {"GET": queries.listed, "POST": queries.create}, _QUERY_JOBS_SINCE),
            ApiRoute(self, "/jobs/query/{job}", query_job, _QUERY_JOBS_SINCE),
            ApiRoute(self, "/jobs/query/{job}/results", {"GET": queries.results}, _QUERY_JOBS_SINCE),
        ]

    def dispatch(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Route one call, from HTTP or from within a composite one; `ApiError` when it is refused."""
        route, params = self._match(method, path)
        version = _version(route, params)
        if route is None or not route.handlers:
            raise not_found()
        handler = route.handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = [*route.handlers, *(["HEAD"] if "GET" in route.handlers else [])]
            message = f"HTTP Method '{method}' not allowed. Allowed are {','.join(sorted(allowed))}"
            raise ApiError(405, "METHOD_NOT_ALLOWED", message)
        call = Call(method, version, params, query, headers, body)
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

    async def _authorize(self, request: Request) -> Response:
        return await authorize(self._org, request)

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


def _version(route: ApiRoute | None, params: Mapping[str, str]) -> int:
    """The version in the path; `ApiError` 404 when it is none, or has not the resource."""
    version = _VERSION.fullmatch(params.get("version", ""))
    if route is None or version is None or not route.since <= int(version[1]) <= NEWEST_VERSION:
        raise not_found()
    return int(version[1])


def _allows_save(header: str) -> bool:
    """Whether `Sforce-Duplicate-Rule-Header` asks to save in spite of an alert: `allowSave=true`."""
    return any(part.replace(" ", "").lower() == "allowsave=true" for part in re.split("[;,]", header))


async def _drain(request: Request) -> None:
    """Take what is left of a refused upload: a client that is still sending reads no answer."""
    with suppress(RuntimeError, ClientDisconnect):  # taken already, or nobody there
        async for _ in request.stream():
            pass


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
    names = ("sobjects", "query", "queryAll", "composite", "jobs", "limits")
    return Reply(content={name: f"{call.data_url}/{name}" for name in names})


def _limits(org: Org, _: Call) -> Reply:
    return Reply(content=org.limits())


def _describe_global(org: Org, call: Call) -> Reply:
    return _unless_unmodified(org, call, lambda: describe_global(org.store.schema, call.data_url))


def _basic_information(org: Org, call: Call) -> Reply:
    described = describe_global(org.store.schema, call.data_url)["sobjects"]
    name = object_of(org, call).name
    return Reply(
        content={"objectDescribe": next(each for each in described if each["name"] == name), "recentItems": []}
    )


def _describe(org: Org, call: Call) -> Reply:
    sobject = object_of(org, call)
    return _unless_unmodified(org, call, lambda: describe_object(org.store.schema, sobject, call.data_url))


def _unless_unmodified(org: Org, call: Call, content: Callable[[], object]) -> Reply:
    """304 without a body when the client's copy is as new as the schema."""
    changed_at = datetime.fromtimestamp(org.store.schema.changed_at, UTC)
    headers = {"Last-Modified": format_datetime(changed_at, usegmt=True)}
    try:
        since = parsedate_to_datetime(call.headers.get("if-modified-since", ""))
    except ValueError:
        return Reply(content=content(), headers=headers)
    if since.tzinfo is not None and since >= changed_at:
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
