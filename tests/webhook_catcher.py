"""A small server that takes webhooks and keeps them, or answers as it is told."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.simulator_server import running


@dataclass(frozen=True)
class Caught:
    """A request as it arrived, and what it was answered."""

    body: bytes
    headers: dict[str, str]
    status: int


@dataclass
class Catcher:
    """The address to deliver to, what came, and the answers that are given before all others are 202."""

    url: str = ""
    caught: list[Caught] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def take(self, request: Request) -> Response:
        status = self.answers.pop(0) if self.answers else 202
        self.caught.append(Caught(await request.body(), dict(request.headers), status))
        return Response(status_code=status, headers=self.headers)


@contextmanager
def catching(answers: Sequence[int] = ()) -> Iterator[Catcher]:
    """A catcher on a port of its own."""
    catcher = Catcher(answers=list(answers))
    app = Starlette(routes=[Route("/hook", catcher.take, methods=["POST"])])
    with running(uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))) as address:
        catcher.url = f"{address}/hook"
        yield catcher


def subscribe(address: str, **subscription: Any) -> dict[str, Any]:
    """Tell a simulated system where its webhooks go."""
    answer = httpx.post(f"{address}/_sandbox/webhooks", json=subscription)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def delivered(address: str, *, seconds: float = 30, until: Callable[[dict[str, Any]], bool] | None = None) -> Any:
    """What a simulated system tells of its webhooks when none waits any more."""
    give_up_at = time.monotonic() + seconds
    holds = until or (lambda told: told["waiting"] == 0)
    while not holds(told := httpx.get(f"{address}/_sandbox/webhooks").json()):
        assert time.monotonic() < give_up_at, told
        time.sleep(0.02)
    return told
