"""What every simulator shares: the control routes under `/_sandbox`, the request log and faults.

Control routes, the same on each simulator:

- `GET /_sandbox/records/{object}`: `{"object", "total", "records": [...]}`, every record as the system stores it.
- `GET /_sandbox/stats`: `{"requests": {"METHOD route": {status: count}}, "records": {object: {operation: count}}}`.
- `POST /_sandbox/faults`: a list of `Fault` objects replaces the active ones; `[]` switches all off.
- `POST /_sandbox/reset`: empties the system (the body is passed on to the simulator) and its statistics.
- `POST /_sandbox/mutate`: changes a record behind the clients' backs, the way a person in the UI would.
"""

import asyncio
import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON = "application/json"


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with `content` as JSON."""
    return Response(orjson.dumps(content), status, headers=dict(headers or {}), media_type=JSON)


class SandboxRequestError(Exception):
    """A control request that makes no sense; answered 400 with the message."""


class Simulator(Protocol):
    """One simulated system: its own routes, and what the control routes need of it."""

    name: str
    stats: "Stats"
    lists_fewer: bool
    """Whether it knows the fault `fewer`."""

    def routes(self) -> list[BaseRoute]:
        """The system's own wire protocol."""

    def records(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """Every stored record of one object; `SandboxRequestError` for an unknown one."""

    def mutate(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change, create or delete one record behind the clients' backs; answers with the record as it is then."""

    def reset(self, options: Mapping[str, Any]) -> None:
        """Back to the initial state, with the simulator's own options."""

    def dump(self) -> Any:
        """The state as JSON-able data, for the next start."""

    def load(self, state: Any) -> None:
        """Take up what `dump` gave."""


@dataclass
class Stats:
    """Counts of what happened, by route and by record operation."""

    requests: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def count_record(self, kind: str, operation: str, number: int = 1) -> None:
        """Note that `number` records of `kind` were `created`, `updated`, `archived`, `rejected` and so on."""
        self.records[kind][operation] += number

    def as_json(self) -> dict[str, Any]:
        """Both counters as plain dictionaries with text keys."""
        return {
            "requests": {
                route: {str(status): n for status, n in by_status.items()} for route, by_status in self.requests.items()
            },
            "records": {kind: dict(by_operation) for kind, by_operation in self.records.items()},
        }

    def clear(self) -> None:
        """Start counting anew."""
        self.requests.clear()
        self.records.clear()


FaultKind = Literal["status", "replace", "delay", "cut_before", "cut_after", "fewer"]


@dataclass
class Fault:
    """A misbehaviour that is switched on for some requests.

    `route` is a regular expression searched in `METHOD path`. `status`: answer with `status`, `body` and `headers`
    without doing the work. `replace`: do the work, then answer with `status` and `body` instead. `delay`: wait
    `seconds`, then go on. `cut_before`, `cut_after`: close the connection without an answer, before or after the work.
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

    def __init__(self, app: ASGIApp, *, stats: Stats, faults: Faults, routes: list[BaseRoute]) -> None:
        self._app = app
        self._stats = stats
        self._faults = faults
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        line = f"{scope['method']} {scope['path']}"
        counter = self._stats.requests[f"{scope['method']} {self._template(scope)}"]
        answer = _Answer(send)
        for fault in self._faults.striking(line):
            match fault.kind:
                case "delay":
                    await asyncio.sleep(fault.seconds)
                case "status":
                    await _drain(receive)
                    counter[fault.status] += 1
                    await Response(fault.body, fault.status, fault.headers)(scope, receive, send)
                    return
                case "fewer":
                    scope[_LISTED_SHARE] = fault.rows
                case "replace":
                    answer.replacement = Response(fault.body, fault.status, fault.headers)
                case "cut_before":
                    await _drain(receive)
                    counter[0] += 1
                    await _cut(send)
                    return
                case "cut_after":
                    answer.cut = True
        await self._app(scope, receive, answer)
        counter[0 if answer.cut else answer.status] += 1
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
    """Stands in for `send`: notes the status and holds the answer back when it is to be replaced or cut."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self.cut = False
        self.replacement: Response | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if not self.cut and self.replacement is None:
            await self._send(message)


async def _drain(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _cut(send: Send) -> None:
    """Close the connection in the middle of an answer: uvicorn drops it when less than the promised body comes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})


def build_app(simulator: Simulator) -> Starlette:
    """The simulator's protocol and the control routes as one application."""
    faults = Faults(lists_fewer=simulator.lists_fewer)

    def control(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except (SandboxRequestError, orjson.JSONDecodeError) as exc:
                return json_response({"error": str(exc)}, 400)

        return answer

    async def get_records(request: Request) -> Response:
        kind = request.path_params["kind"]
        records = list(simulator.records(kind))
        return json_response({"object": kind, "total": len(records), "records": records})

    async def get_stats(_: Request) -> Response:
        return json_response(simulator.stats.as_json())

    async def post_faults(request: Request) -> Response:
        body = orjson.loads(await request.body())
        listed, seed = (body["faults"], body.get("seed")) if isinstance(body, dict) else (body, None)
        faults.replace(listed, seed)
        return json_response({"active": len(listed)})

    async def post_reset(request: Request) -> Response:
        body = await request.body()
        simulator.reset(orjson.loads(body) if body else {})
        simulator.stats.clear()
        faults.replace([])
        return json_response({"reset": simulator.name})

    async def post_mutate(request: Request) -> Response:
        change = orjson.loads(await request.body())
        if not isinstance(change, dict):
            raise SandboxRequestError("a change is an object with `object`, `op` and what it needs")
        return json_response(simulator.mutate(change))

    own = simulator.routes()
    app = Starlette(
        routes=[
            Route("/_sandbox/records/{kind:path}", control(get_records)),
            Route("/_sandbox/stats", control(get_stats)),
            Route("/_sandbox/faults", control(post_faults), methods=["POST"]),
            Route("/_sandbox/reset", control(post_reset), methods=["POST"]),
            Route("/_sandbox/mutate", control(post_mutate), methods=["POST"]),
            *own,
        ]
    )
    app.add_middleware(ControlMiddleware, stats=simulator.stats, faults=faults, routes=own)
    return app
