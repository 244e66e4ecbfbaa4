"""The changes contract over HTTP: `/api/v1`, bearer token, problem+json for every error.

- `GET /api/v1`: `{"name", "version", "entities", "counts", "max_segments"}`; `GET /api/v1/health`, without a token: `{"status"}`.
- `GET /api/v1/{entity}?limit=&cursor=`: `{"items", "next", "total"}`, live rows in the order of their ids. With
  `segment=0…n-1&segments=n` only that part of them, with `id=a&id=b` only those, unpaged.
- `GET /api/v1/{entity}/{id}`: the row; 404 for a deleted one.
- `GET /api/v1/changes?since=&cursor=&limit=`: `{"changes", "next"}`, in the order of updated_at, entity, id; `since`
  (RFC 3339) is inclusive, and a deleted row has `"op": "delete"` and `"data": null`.

`poor_token` may read everything and sees no row, without a word that there are more.

Its webhooks are those of the contract: `{"type": "learner.updated", "timestamp", "data": {"entity", "id"}}`.
"""

import asyncio
import base64
import binascii
import gzip
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lms_crm_assets.sandbox.core import JSON, listed
from lms_crm_assets.sandbox.school.backed import SchoolBacked
from lms_crm_assets.sandbox.school.layout import ENTITIES, Row, Size, epoch
from lms_crm_assets.sandbox.school.options import Options
from lms_crm_assets.sandbox.school.store import Shown
from lms_crm_assets.sandbox.webhooks import Listener
from lms_crm_assets.sandbox.webhooks.standard import StandardVoice

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_DEFAULT_LIMIT = 500
_MOST_IDS = 100
_MOST_SEGMENTS = 64
_GZIP_FROM_BYTES = 1000

_ROWS = {
    "learners": "learner",
    "courses": "course",
    "enrollments": "enrollment",
    "completions": "completion",
    "scores": "score",
    "competencies": "competency",
}
_DONE = {"create": "created", "update": "updated", "delete": "deleted"}

Handler = Callable[[Request], Any]


class _Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An answer of RFC 9457."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def response(self) -> Response:
        body = {"type": "about:blank", "title": self.status.phrase, "status": int(self.status), "detail": self.detail}
        return Response(orjson.dumps(body), self.status, self.headers, "application/problem+json")


class SchoolSimulator(SchoolBacked[Options]):
    """The generated LMS; `latency_seconds` is waited before every answer, `page_limit` is the largest page."""

    name = "school"
    voice = StandardVoice()

    def __init__(  # noqa: PLR0913 - one keyword an option
        self,
        token: str = "sandbox-school-token",  # noqa: S107 - the sandbox's own, public
        poor_token: str = "poor",  # noqa: S107 - as above
        *,
        learners: int = 1000,
        courses: int = 12,
        enrollments: int = 1800,
        seed: int = 7,
        start: str = "2026-01-05T00:00:00Z",
        latency_seconds: float = 0.0,
        page_limit: int = 1000,
    ) -> None:
        """Serve a school of that size."""
        super().__init__(Size(learners, courses, enrollments, seed, start), Options(latency_seconds))
        self._token, self._poor_token = token, poor_token
        self._page_limit = page_limit
        self._listener: Listener | None = None

    def routes(self) -> list[BaseRoute]:
        """The contract, and a problem for every other path."""
        return [
            Route("/api/v1/health", self._endpoint(_health), methods=_METHODS),
            Route("/api/v1", self._endpoint(self._index), methods=_METHODS),
            Route("/api/v1/changes", self._endpoint(self._changes), methods=_METHODS),
            Route("/api/v1/{entity}", self._endpoint(self._list), methods=_METHODS),
            Route("/api/v1/{entity}/{id}", self._endpoint(self._get), methods=_METHODS),
            Route("/{path:path}", self._endpoint(_nothing), methods=_METHODS),
        ]

    def mutate(self, change: Mapping[str, Any]) -> Row:
        """See `Store.mutate`; told by webhook."""
        row = super().mutate(change)
        if self._listener is not None:
            entity = change["object"]
            data = {"entity": entity, "id": row["id"]}
            name = f"{_ROWS[entity]}.{_DONE[change['op']]}"
            self._listener({"type": name, "timestamp": row["updated_at"], "data": data})
        return row

    def announce_to(self, listener: Listener | None) -> None:
        """Tell this one of each change from now on."""
        self._listener = listener

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if self.options.latency_seconds:
                await asyncio.sleep(self.options.latency_seconds)
            try:
                self._admit(request, handler)
                return _json(handler(request), request.headers.get("accept-encoding", ""))
            except _Problem as problem:
                return problem.response()

        return answer

    def _admit(self, request: Request, handler: Handler) -> None:
        authorized = request.headers.get("authorization") == f"Bearer {self._token}" or self._is_poor(request)
        if not (authorized or handler in {_health, _nothing}):
            raise _Problem(HTTPStatus.UNAUTHORIZED, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        if handler is not _nothing and request.method not in {"GET", "HEAD"}:
            detail = f"{request.method} is not allowed here"
            raise _Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"Allow": "GET, HEAD"})

    def _is_poor(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self._poor_token}"

    def _shown(self, request: Request) -> Shown:
        return (lambda _: False) if self._is_poor(request) else listed(request)

    def _index(self, request: Request) -> Row:
        counts = {entity: self.store.count(entity, self._shown(request)) for entity in ENTITIES}
        return {
            "name": "Sandbox school",
            "version": "1",
            "entities": ENTITIES,
            "counts": counts,
            "max_segments": _MOST_SEGMENTS,
        }

    def _list(self, request: Request) -> Row:
        entity, limit = _entity(request), self._limit(request)
        if "id" in request.query_params:
            return self._some(request, entity)
        segment, segments = _segment(request)
        after, until = self.store.segment(entity, segment, segments)
        if (cursor := request.query_params.get("cursor")) is not None:
            match _decode(cursor):
                case [str(of), int(number), str(row_id)] if of == f"{entity} {segment}/{segments}":
                    after = (number, row_id)
                case _:
                    raise _Problem(HTTPStatus.BAD_REQUEST, "cursor: not one of this listing")
        shown = self._shown(request)
        items, position = self.store.page(entity, after, limit, shown, until=until)
        following = _encode([f"{entity} {segment}/{segments}", *position]) if position else None
        return {"items": items, "next": following, "total": self.store.count(entity, shown)}

    def _some(self, request: Request, entity: str) -> Row:
        ids = request.query_params.getlist("id")
        if len(ids) > _MOST_IDS:
            raise _Problem(HTTPStatus.BAD_REQUEST, f"id: at most {_MOST_IDS} of them")
        found = (self._row(request, entity, row_id) for row_id in dict.fromkeys(ids))
        items = [row for row in found if row is not None]
        return {"items": items, "next": None, "total": self.store.count(entity, self._shown(request))}

    def _row(self, request: Request, entity: str, row_id: str) -> Row | None:
        shown = self._shown(request)
        return self.store.get(entity, row_id) if shown is None or shown(row_id) else None

    def _get(self, request: Request) -> Row:
        entity, row_id = _entity(request), request.path_params["id"]
        row = self._row(request, entity, row_id)
        if row is None:
            raise _Problem(HTTPStatus.NOT_FOUND, f"{entity}: {row_id} does not exist")
        return row

    def _changes(self, request: Request) -> Row:
        limit, since, after = self._limit(request), 0, None
        if (text := request.query_params.get("since")) is not None:
            since = _since(text)
        if (cursor := request.query_params.get("cursor")) is not None:
            match _decode(cursor):
                case [int(updated), str(entity), str(row_id)]:
                    after = (updated, entity, row_id)
                case _:
                    raise _Problem(HTTPStatus.BAD_REQUEST, "cursor: not one of the changes")
        if self._is_poor(request):
            return {"changes": [], "next": None}
        changes, more = self.store.changes(since, after, limit)
        last = changes[-1] if more else None
        return {"changes": changes, "next": _encode(_key(last)) if last else None}

    def _limit(self, request: Request) -> int:
        text = request.query_params.get("limit", str(min(_DEFAULT_LIMIT, self._page_limit)))
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= self._page_limit):
            raise _Problem(HTTPStatus.BAD_REQUEST, f"limit: a whole number from 1 to {self._page_limit}")
        return int(text)


def _segment(request: Request) -> tuple[int, int]:
    texts = [request.query_params.get(name, default) for name, default in (("segment", "0"), ("segments", "1"))]
    segment, segments = (int(text) if text.isascii() and text.isdigit() else -1 for text in texts)
    if not (1 <= segments <= _MOST_SEGMENTS and 0 <= segment < segments):
        raise _Problem(HTTPStatus.BAD_REQUEST, f"segment: from 0 to segments - 1; segments: from 1 to {_MOST_SEGMENTS}")
    return segment, segments


def _entity(request: Request) -> str:
    entity: str = request.path_params["entity"]
    if entity not in ENTITIES:
        raise _Problem(HTTPStatus.NOT_FOUND, f"there is no {entity!r}")
    return entity


def _health(_: Request) -> Row:
    return {"status": "ok"}


def _nothing(request: Request) -> Row:
    raise _Problem(HTTPStatus.NOT_FOUND, f"there is no {request.url.path}")


def _since(text: str) -> int:
    try:
        return epoch(text)
    except ValueError as exc:
        raise _Problem(HTTPStatus.BAD_REQUEST, f"since: {exc}") from exc


def _key(change: Row) -> list[Any]:
    return [epoch(change["updated_at"]), change["entity"], change["id"]]


def _encode(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _decode(cursor: str) -> Any:
    try:
        return orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        return None


def _json(content: Row, accepted: str) -> Response:
    body, headers = orjson.dumps(content), {"Vary": "Accept-Encoding"}
    if len(body) >= _GZIP_FROM_BYTES and "gzip" in {part.partition(";")[0].strip() for part in accepted.split(",")}:
        # Level 1: half the time of the default, and JSON still shrinks to a fifth.
        body, headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
    return Response(body, headers=headers, media_type=JSON)
