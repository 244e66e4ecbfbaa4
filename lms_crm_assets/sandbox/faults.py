"""Faults that can be switched on, and the middleware that lets them strike, counts every request and logs it."""

import asyncio
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .call_log import CallLog
from .errors import SandboxRequestError
from .stats import Stats

_TRICKLED_PIECES = 20
FaultKind = Literal["status", "replace", "delay", "trickle", "cut_before", "cut_after", "fewer"]


@dataclass
class Fault:
    """A misbehaviour that is switched on for some requests.

    `route` is a regular expression searched in `METHOD path`. `status`: answer with `status`, `body` and `headers`
    without doing the work. `replace`: do the work, then answer with `status` and `body` instead. `delay`: wait
    `seconds`, then go on. `trickle`: spread the answer's bytes over `seconds`. `cut_before`, `cut_after`: close the connection without an answer, before or after the work.
    `fewer`: list only about the share `rows` of what there is, always the same rows, with totals that agree.
    `times` bounds how often it strikes (null: always), `skip` lets that many requests pass first, `share` is the
    chance for each request.
    """

    route: str
    kind: FaultKind
    status: int = 503
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    rows: float = 0.1
    times: int | None = None
    skip: int = 0
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise SandboxRequestError(f"there is no fault of the kind {self.kind!r}; known are {get_args(FaultKind)}")
        try:
            re.compile(self.route)
        except re.error as exc:
            raise SandboxRequestError(f"the route {self.route!r} is no regular expression: {exc}") from exc

    def strikes(self, line: str, rng: random.Random) -> bool:
        """Whether this request is hit; uses up `skip` and `times`."""
        if self.times == 0 or not re.search(self.route, line):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.share < 1.0 and rng.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The active faults and the seeded chance that drives them."""

    def __init__(self, *, lists_fewer: bool, seed: int = 0) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - chance for simulated faults, not for secrets
        self._active: list[Fault] = []
        self._lists_fewer = lists_fewer

    def replace(self, faults: Any, seed: int | None = None) -> None:
        """Make these the active faults; `SandboxRequestError` when one is malformed or would do nothing here."""
        try:
            active = [Fault(**fault) for fault in faults]
        except TypeError as exc:
            raise SandboxRequestError(f"a fault is malformed: {exc}") from exc
        if not self._lists_fewer and any(fault.kind == "fewer" for fault in active):
            raise SandboxRequestError("only the simulated LMSs know the fault 'fewer'")
        self._active = active
        if seed is not None:
            self._rng = random.Random(seed)  # noqa: S311 - as above

    def striking(self, line: str) -> list[Fault]:
        """The faults that hit this request."""
        return [fault for fault in self._active if fault.strikes(line, self._rng)]


class ControlMiddleware:
    """Counts every request by route and status, and lets the active faults strike. `/_sandbox` itself is exempt."""

    def __init__(self, app: ASGIApp, *, stats: Stats, log: CallLog, faults: Faults, routes: list[BaseRoute]) -> None:
        self._app = app
        self._stats = stats
        self._log = log
        self._faults = faults
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        line = f"{scope['method']} {scope['path']}"
        counter = self._stats.requests[f"{scope['method']} {self._template(scope)}"]
        entry = self._log.arrived(scope["method"], scope["path"])
        answer = _Answer(send)
        for fault in self._faults.striking(line):
            match fault.kind:
                case "delay":
                    await asyncio.sleep(fault.seconds)
                case "status":
                    await _drain(receive)
                    counter[fault.status] += 1
                    entry.status = fault.status
                    await Response(fault.body, fault.status, fault.headers)(scope, receive, send)
                    return
                case "fewer":
                    scope[_LISTED_SHARE] = fault.rows
                case "replace":
                    answer.replacement = Response(fault.body, fault.status, fault.headers)
                case "trickle":
                    answer.seconds = fault.seconds
                case "cut_before":
                    await _drain(receive)
                    counter[0] += 1
                    entry.cut = True
                    await _cut(send)
                    return
                case "cut_after":
                    answer.cut = True
        await self._app(scope, receive, answer)
        counter[0 if answer.cut else answer.status] += 1
        # What the system did; the client saw the replacement, or nothing.
        entry.status, entry.cut = answer.status, answer.cut
        if answer.cut:
            await _cut(send)
        elif answer.replacement is not None:
            await answer.replacement(scope, receive, send)

    def _template(self, scope: Scope) -> str:
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "(no route)"


_LISTED_SHARE = "sandbox.listed_share"


def listed(request: Request) -> Callable[[str], bool] | None:
    """Which rows, by key, this request may list; None without the fault `fewer`."""
    share: float | None = request.scope.get(_LISTED_SHARE)
    if share is None:
        return None
    # A hash and no chance: the same rows on every page and in every listing.
    return lambda key: int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest()) < share * 2**32


class _Answer:
    """Stands in for `send`: notes the status; holds the answer back when it is to be replaced or cut, or slows it.

    An answer that trickles stands in memory as a whole first.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held = bytearray()
        self.status = 500
        self.cut = False
        self.seconds = 0.0
        self.replacement: Response | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.cut or self.replacement is not None:
            return
        if self.seconds and message["type"] == "http.response.body":
            self._held += message.get("body", b"")
            if not message.get("more_body"):
                await self._trickle()
            return
        await self._send(message)

    async def _trickle(self) -> None:
        size = len(self._held) // _TRICKLED_PIECES + 1
        for start in range(0, len(self._held), size):
            piece = bytes(self._held[start : start + size])
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(self.seconds / _TRICKLED_PIECES)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _cut(send: Send) -> None:
    """Close the connection in the middle of an answer: uvicorn drops it when less than the promised body comes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
