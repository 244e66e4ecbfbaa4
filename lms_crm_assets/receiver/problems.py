"""Every answer that is no success, as RFC 9457 problem details: `application/problem+json` with a stable `code`.

`detail` is for the person who mends the sender: it names what is wrong and never quotes what was sent.
"""

import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import apsw
import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms_crm_assets.errors import RetryableError

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger(__name__)

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    410: "GONE",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}
"""The general code of a status, where nothing more exact is known."""


class Mistake(BaseModel):
    """One value of a request that is not as documented."""

    model_config = ConfigDict(extra="forbid")

    pointer: str = Field(description="Where: a JSON pointer into the body, or `query/…`, `path/…`, `header/…`.")
    detail: str = Field(description="What is wrong with it.")


class ProblemBody(BaseModel):
    """Problem details (RFC 9457); `code` is stable, `detail` is for people."""

    type: str = Field(description="`about:blank`: the status says what kind of problem it is, and `code` which.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    code: str = Field(description="A stable word for programs.", pattern="^[A-Z][A-Z0-9_]*$")
    detail: str = Field(description="What is wrong and what to do, for a person.")
    errors: list[Mistake] | None = Field(None, description="Each wrong value, where there may be several.")


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer that is no success; raise it anywhere below a route."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        headers: Mapping[str, str] | None = None,
        errors: Iterable[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code or CODES.get(status, f"HTTP_{status}")
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = [dict(error) for error in errors]

    def response(self) -> Response:
        """The answer; it is never cached."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": _title(self.status),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(
            orjson.dumps(body), self.status, {"Cache-Control": "no-store", **self.headers}, media_type=MEDIA_TYPE
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A problem is an ASGI app too: what `limits` answers with before any route is found."""
        await self.response()(scope, receive, send)


def problem_handlers(app: FastAPI) -> None:
    """Let every error of the app leave as a problem, those of the framework and those that nobody foresaw too."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    # The store is full, locked or out of reach.
    app.add_exception_handler(RetryableError, _of_store)
    app.add_exception_handler(apsw.Error, _of_store)
    # A handler for Exception would let the server log the exception too, with its text.
    app.add_middleware(_Unforeseen)
    _describe(app)


def documented(*statuses: int, **also: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with these problems."""
    headers = {"description": "Seconds after which to try again.", "schema": {"type": "string"}}
    answers: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        answers[status] = {
            "description": also.get(f"_{status}", _title(status)),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
        if status in {429, 503}:
            answers[status]["headers"] = {"Retry-After": headers}
    return answers


async def _problem(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)  # noqa: S101 - what it is registered for
    return exc.response()


async def _of_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - as above
    details = {
        404: "there is nothing at this address; /api/v1/openapi.json lists what is",
        405: f"{request.method} is not possible here",
    }
    detail = details.get(exc.status_code, exc.detail)
    return Problem(exc.status_code, str(detail), headers=exc.headers).response()


async def _of_store(request: Request, exc: Exception) -> Response:
    _log.error("store_unavailable", route=getattr(request.scope.get("route"), "path", ""), error=type(exc).__name__)
    return Problem(503, "what this needs can't be read or written now", headers={"Retry-After": "5"}).response()


async def _of_validation(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - as above
    errors = [{"pointer": _pointer(error["loc"]), "detail": str(error["msg"])} for error in exc.errors()]
    if any(error["type"] == "json_invalid" for error in exc.errors()):
        return Problem(400, "the body is no JSON", code="INVALID_JSON").response()
    return Problem(
        422, "the request is not as documented; `errors` says where", code="INVALID_REQUEST", errors=errors
    ).response()


class _Unforeseen:
    """Answers what nobody foresaw with 500, and logs where it happened: its message may quote what was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and catch what comes back."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the sender gets an answer
            problem = unforeseen(scope, exc)
            if not started:
                await problem(scope, receive, send)


def unforeseen(scope: Scope, exc: Exception) -> Problem:
    """Log where an error of ours happened, and give what is answered."""
    route = getattr(scope.get("route"), "path", "no route")
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__)[-6:]]
    _log.error("unforeseen", route=route, error=type(exc).__name__, at=places)
    return Problem(500, "an error of ours; it is in the receiver's log")


def _describe(app: FastAPI) -> None:
    """Let the OpenAPI document say what is answered: problems, in place of the framework's own errors."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = described()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update({**problem.pop("$defs", {}), "ProblemBody": problem})
            for item in document["paths"].values():
                for operation in item.values():
                    invalid = operation["responses"].get("422", {})
                    if "HTTPValidationError" in str(invalid):
                        operation["responses"]["422"] = documented(422)[422]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


def _pointer(place: tuple[int | str, ...] | list[int | str]) -> str:
    first, *rest = map(str, place)
    escaped = "/".join(step.replace("~", "~0").replace("/", "~1") for step in rest)
    return f"/{escaped}" if first == "body" else f"{first}/{escaped}"
