"""A server of 500,000 rows in pages of the changes contract, made beforehand so that serving costs next to nothing.

`python -m benchmarks.pages FILE ROWS LATENCY_SECONDS` serves until it is ended, and prints its address.
"""

import asyncio
import sys
from pathlib import Path

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ROWS_A_PAGE = 1000
SEGMENTS = 16
_STATUSES = ("active", "invited", "suspended", "expired", "completed", "withdrawn")


def rows(first: int, count: int) -> list[dict[str, object]]:
    """Enrollments as an LMS gives them."""
    return [
        {
            "id": f"enr-{n:07d}",
            "learner_id": f"lrn-{n * 7919 % 100_000:07d}",
            "course_id": f"crs-{n % 200:07d}",
            "role": "student",
            "status": _STATUSES[n % len(_STATUSES)],
            "enrolled_at": f"2026-0{n % 9 + 1}-1{n % 10}T08:{n % 60:02}:00Z",
            "starts_at": f"2026-0{n % 9 + 1}-1{n % 10}T08:{n % 60:02}:00Z",
            "ends_at": None,
            "updated_at": f"2026-0{n % 9 + 1}-2{n % 9}T10:{n % 60:02}:{n % 59:02}Z",
        }
        for n in range(first, first + count)
    ]


class Pages:
    """All pages as bytes, one list a segment."""

    def __init__(self, count: int, latency_seconds: float) -> None:
        self._latency_seconds = latency_seconds
        self._count = count
        self._whole = self._made(1)
        self._parts = self._made(SEGMENTS)

    def _made(self, segments: int) -> list[list[bytes]]:
        pages = [(start, min(ROWS_A_PAGE, self._count - start)) for start in range(0, self._count, ROWS_A_PAGE)]
        made = []
        for segment in range(segments):
            own = pages[segment::segments]
            made.append(
                [
                    orjson.dumps(
                        {
                            "items": rows(start, size),
                            "next": str(place + 1) if place + 1 < len(own) else None,
                            "total": self._count,
                        }
                    )
                    for place, (start, size) in enumerate(own)
                ]
            )
        return made

    async def about(self, _: Request) -> Response:
        """`GET /api/v1`."""
        return JSONResponse({"name": "pages", "version": "1", "entities": ["enrollments"], "max_segments": SEGMENTS})

    async def listing(self, request: Request) -> Response:
        """`GET /api/v1/enrollments`."""
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        query = request.query_params
        parts = self._parts if query.get("segments") == str(SEGMENTS) else self._whole
        return Response(
            parts[int(query.get("segment", "0"))][int(query.get("cursor", "0"))], media_type="application/json"
        )


def main() -> None:
    """Serve."""
    ready, count, latency = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    pages = Pages(count, latency)
    app = Starlette(routes=[Route("/api/v1", pages.about), Route("/api/v1/enrollments", pages.listing)])

    async def serve() -> None:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, lifespan="off"))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.01)
        unfinished = ready.with_suffix(".part")
        unfinished.write_text(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", encoding="utf-8")
        unfinished.replace(ready)
        await task

    asyncio.run(serve())


if __name__ == "__main__":
    main()
