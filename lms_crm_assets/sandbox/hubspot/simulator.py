"""The simulator: the portal's parts put together, and the way from an HTTP request to an endpoint and back."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from lms_crm_assets.sandbox.core import SandboxRequestError, Stats, json_response
from lms_crm_assets.sandbox.hubspot import control
from lms_crm_assets.sandbox.hubspot.account import Account
from lms_crm_assets.sandbox.hubspot.association_labels import AssociationLabels
from lms_crm_assets.sandbox.hubspot.associations import Associations
from lms_crm_assets.sandbox.hubspot.auth import Auth
from lms_crm_assets.sandbox.hubspot.authorize import authorize
from lms_crm_assets.sandbox.hubspot.batch import Batches
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError
from lms_crm_assets.sandbox.hubspot.limits import Limits
from lms_crm_assets.sandbox.hubspot.object_library import ObjectLibrary
from lms_crm_assets.sandbox.hubspot.object_schemas import ObjectSchemas
from lms_crm_assets.sandbox.hubspot.objects import Objects
from lms_crm_assets.sandbox.hubspot.options import Options
from lms_crm_assets.sandbox.hubspot.portal import default_schema
from lms_crm_assets.sandbox.hubspot.properties import Properties
from lms_crm_assets.sandbox.hubspot.property_groups import PropertyGroups
from lms_crm_assets.sandbox.hubspot.reshaping import reshape
from lms_crm_assets.sandbox.hubspot.schema import Schema
from lms_crm_assets.sandbox.hubspot.search import Search
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.webhooks import HubSpotVoice
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, check_version, failed
from lms_crm_assets.sandbox.webhooks import Listener

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_GZIP_FROM = 1_024
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


class HubSpotSimulator:
    """A HubSpot portal (id 12345678) with an LMS integration's objects and properties set up."""

    name = "hubspot"
    lists_fewer = False
    voice = HubSpotVoice()

    _options: Options
    _store: Store
    _auth: Auth
    _limits: Limits
    _batches: Batches

    def __init__(  # noqa: PLR0917 - one keyword an option
        self,
        access_token: str = "pat-sandbox",  # noqa: S107 - the sandbox's own
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - as above
        requests_per_10_seconds: int | None = 190,
        daily_limit: int = 1_000_000,
        search_lag_seconds: float = 0.0,
        latency_seconds: float = 0.0,
    ) -> None:
        self.stats = Stats()
        self._credentials = (access_token, client_id, client_secret)
        self._initial = Options(
            requests_per_10_seconds=requests_per_10_seconds,
            daily_limit=daily_limit,
            search_lag_seconds=search_lag_seconds,
            latency_seconds=latency_seconds,
        )
        self._routes: list[BaseRoute] = []
        self._listener: Listener | None = None
        self._build(self._initial, Store(default_schema(), search_lag_seconds=search_lag_seconds))

    def routes(self) -> list[BaseRoute]:
        """Every endpoint, and last the one that answers 405 and 404 for all else."""
        self._routes = [Route(path, self._serve(method, path), methods=[method]) for method, path in self._endpoints]
        page = Route("/oauth/authorize", self._authorize, methods=["GET", "POST"])
        return [*self._routes, page, Route("/{path:path}", self._unmatched, methods=_METHODS)]

    def records(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """Every record of one object, with its links; `SandboxRequestError` for an unknown one."""
        return control.records(self._store, kind)

    def mutate(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change one record behind the clients' backs; see `control.mutate`. Not counted in the statistics."""
        return control.mutate(self._store, change)

    def reshape(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change the schema behind the clients' backs; gives the object's properties as the app sees them then."""
        object_type = reshape(self._store, change)
        visible = object_type is not None and self._store.schema.usable(object_type.type_id)
        fields = [each.as_json() for each in object_type.properties.values()] if object_type and visible else []
        required = object_type.required if object_type and visible else []
        return {"object": change["object"], "visible": visible, "required": required, "fields": fields}

    def reset(self, options: Mapping[str, Any]) -> None:
        """An empty portal with its initial schema, fresh tokens and windows; `options` are fields of `Options`."""
        schema = default_schema()
        chosen = _for_schema(self._initial.changed(options), schema)
        self._build(chosen, Store(schema, search_lag_seconds=chosen.search_lag_seconds))

    def configure(self, options: Mapping[str, Any]) -> None:
        """Change fields of `Options` from now on; records, tokens and what the windows counted stay."""
        self._apply(_for_schema(self._options.changed(options), self._store.schema))

    def pass_day(self, seconds: float, calls: int) -> Mapping[str, int]:
        """Move the clock of the limits on, and let other apps use calls; tokens and records keep the real time."""
        return self._limits.pass_day(seconds, calls)

    def dump(self) -> dict[str, Any]:
        """Schema, records, links and refresh tokens."""
        return {"store": self._store.dump(), "refresh_tokens": self._auth.refresh_tokens}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `dump` gave; access tokens are gone, as after a while they would be."""
        self._build(self._options, Store.load(state["store"], search_lag_seconds=self._options.search_lag_seconds))
        self._auth.refresh_tokens = list(state["refresh_tokens"])

    def announce_to(self, listener: Listener | None) -> None:
        """Tell this one of each change from now on, whoever made it."""
        self._listener = self._store.happenings.listener = listener

    def _build(self, options: Options, store: Store) -> None:
        self._store = store
        store.happenings.listener = self._listener
        self._auth = Auth(*self._credentials, options)
        self._limits = Limits(options)
        self._batches = Batches(store, self.stats)
        self._apply(options)
        endpoints = [
            *self._batches.endpoints(),
            *Search(store).endpoints(),
            *Objects(store, self.stats).endpoints(),
            *Associations(store, self.stats).endpoints(),
            *AssociationLabels(store).endpoints(),
            *PropertyGroups(store).endpoints(),
            *Properties(store).endpoints(),
            *ObjectSchemas(store).endpoints(),
            *ObjectLibrary(store.schema).endpoints(),
            *Account(self._auth, self._limits).endpoints(),
        ]
        self._endpoints = {(endpoint.method, endpoint.path): endpoint for endpoint in endpoints}

    def _apply(self, options: Options) -> None:
        self._options = self._auth.options = self._limits.options = options
        self._store.search_lag_seconds = options.search_lag_seconds
        self._store.short_search_pages = options.short_search_pages
        self._store.schema.custom_objects = options.custom_objects
        self._store.schema.courses_active = options.courses_active
        self._batches.record_faults = options.record_faults

    def _serve(self, method: str, path: str) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            body = await request.body()
            if self._options.latency_seconds:
                await asyncio.sleep(self._options.latency_seconds)
            headers: dict[str, str] = {}
            try:
                answer = self._answer(self._endpoints[method, path], request, body, headers)
            except HubSpotError as exc:
                answer = failed(exc)
            return _response(answer, headers, zipped="gzip" in request.headers.get("accept-encoding", ""))

        return serve

    def _answer(self, endpoint: Endpoint, request: Request, body: bytes, headers: dict[str, str]) -> Answer:
        if endpoint.bucket != "open":
            app = self._auth.authenticate(request.headers.get("authorization"))
            headers |= self._limits.admit(app, endpoint.bucket)
        call = Call(request.path_params, parse_qs(request.url.query), body)
        if "version" in call.path:
            check_version(call.version)
        _check_media(request, body, _FORM if endpoint.bucket == "open" else _JSON)
        return endpoint.handler(call)

    async def _authorize(self, request: Request) -> Response:
        return await authorize(self._auth, request)

    async def _unmatched(self, request: Request) -> Response:
        matches = [route for route in self._routes if route.matches(request.scope)[0] is Match.PARTIAL]
        if matches:
            allowed = {method for route in matches if isinstance(route, Route) for method in route.methods or ()}
            error = HubSpotError(405, "HTTP 405 Method Not Allowed", headers={"Allow": ", ".join(sorted(allowed))})
        else:
            error = HubSpotError(404, "resource not found")
        return _response(failed(error), {}, zipped=False)


def _for_schema(options: Options, schema: Schema) -> Options:
    """The options, when the portal has every object they name; else `SandboxRequestError`."""
    for fault in options.record_faults:
        if not schema.knows(fault.object):
            raise SandboxRequestError(f"unknown object in record_faults: {fault.object}")
    return options


def _check_media(request: Request, body: bytes, wanted: str) -> None:
    """`HubSpotError` 415 for a compressed body (undocumented: HubSpot does not promise it) or another media type."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HubSpotError(415, "HTTP 415 Unsupported Media Type: request bodies must not be compressed")
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise HubSpotError(415, f"HTTP 415 Unsupported Media Type: the body must be {wanted}")


def _response(answer: Answer, headers: Mapping[str, str], *, zipped: bool) -> Response:
    headers = {**headers, **answer.headers}
    if answer.content is None:
        return Response(status_code=answer.status, headers=headers)
    response = json_response(answer.content, answer.status, headers)
    if zipped and len(response.body) > _GZIP_FROM:
        response.body = gzip.compress(response.body, compresslevel=1)
        response.headers["content-length"] = str(len(response.body))
        response.headers["content-encoding"] = "gzip"
    return response
