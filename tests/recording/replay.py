"""Answering as a recording does: what `lms-crm record` wrote, served over HTTP."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lms_crm_assets.recording.scrubbing import HOSTS
from tests.simulator_server import running

Key = tuple[str, str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
_METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE"]


@contextmanager
def replaying(folder: Path, side: str) -> Iterator[str]:
    """The address of a server that answers what was asked; the last answer of a request again and again, else 404.

    `asked_in_vain` of the server's state would be a fault of the recording, so it is raised at the end.
    """
    answers: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for file in sorted(folder.glob(f"*-{side}-*.json")):
        told = json.loads(file.read_text(encoding="utf-8"))
        request = told["request"]
        key = _key(request["method"], request["path"], request.get("query", []), request.get("body", []))
        answers[key].append(told["response"])
    in_vain: list[Key] = []

    async def answer(request: Request) -> Response:
        if request.url.path == "/token":
            return Response('{"access_token": "replayed", "token_type": "bearer"}', media_type="application/json")
        form = parse_qsl((await request.body()).decode(), keep_blank_values=True)
        query = parse_qsl(request.url.query, keep_blank_values=True)
        asked = [list(pair) for pair in form if pair[0] != "wstoken"]
        key = _key(request.method, request.url.path, [list(pair) for pair in query], asked)
        if key not in answers:
            in_vain.append(key)
            return Response(status_code=404)
        found = answers[key].pop(0) if len(answers[key]) > 1 else answers[key][0]
        own = f"{request.url.scheme}://{request.url.netloc}"
        headers = {name: value.replace(HOSTS["lms"], own) for name, value in found["headers"].items()}
        return Response(json.dumps(found["body"]), found["status"], headers=headers)

    app = Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])
    with running(uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))) as address:
        yield address
    assert not in_vain


def _key(method: str, path: str, query: list[list[str]], form: list[list[str]]) -> Key:
    return (
        method,
        path,
        tuple(sorted((name, value) for name, value in query)),
        tuple(sorted((name, value) for name, value in form)),
    )
