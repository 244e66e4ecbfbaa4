"""What every simulator shares: the control routes under `/_sandbox`, counts, the request log and faults.

Control routes, the same on each simulator:

- `GET /_sandbox/records/{object}`: `{"object", "records": [...], "total"}`, every record as the system stores it, sent in
  pieces; `?fields=a,b` leaves all other fields out.
- `GET /_sandbox/stats`: `{"requests": {"METHOD route": {status: count}}, "records": {object: {operation: count}}}`.
- `GET /_sandbox/log?after=N`: `{"last", "calls": [...]}`, the last 100,000 requests in the order of their arrival.
- `POST /_sandbox/faults`: a list of `Fault` objects replaces the active ones; `[]` switches all off.
- `POST /_sandbox/reset`: empties the system (the body is passed on to the simulator), its statistics and its log.
- `POST /_sandbox/options`: changes the simulator's options while it runs; its records stay.
- `POST /_sandbox/mutate`: changes a record behind the clients' backs, the way a person in the UI would.
- `POST /_sandbox/schema`: changes the schema of a CRM behind the clients' backs, the way its administrator would: one
  change or a list of them, of which those before a refused one stay.
- `POST /_sandbox/day`: of a CRM, `{"seconds": S, "calls": N}`: the clock of its day moves on, and other programs of the
  account use so many calls of it; answers with `{"used", "allowed"}`.
- `POST /_sandbox/webhooks`: from now on tells a `Subscription` of each change; `{}` and a reset end that. `GET` shows the
  counts of events: changed, dropped, overflowed, sent, acknowledged, given_up, waiting, and of answers by status.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from .call_log import CallLog
from .errors import SandboxRequestError
from .faults import ControlMiddleware, Fault, Faults, listed
from .stats import Stats
from .webhooks import Announcing, Courier, Subscription

__all__ = [
    "JSON",
    "Configurable",
    "Fault",
    "Metered",
    "Reshapable",
    "SandboxRequestError",
    "Simulator",
    "Stats",
    "build_app",
    "json_response",
    "listed",
]

JSON = "application/json"
_RECORDS_A_PIECE = 500


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with `content` as JSON."""
    return Response(orjson.dumps(content), status, headers=dict(headers or {}), media_type=JSON)


class Simulator(Protocol):
    """One simulated system: its own routes, and what the control routes need of it."""

    name: str
    stats: Stats
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


@runtime_checkable
class Configurable(Protocol):
    """A simulator with options that change while it runs."""

    def configure(self, options: Mapping[str, Any]) -> None:
        """Change these options and leave all else; `SandboxRequestError` for an unknown one or a wrong value."""


@runtime_checkable
class Reshapable(Protocol):
    """A simulator whose schema can be changed while it runs."""

    def reshape(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one change; tells what has become of the object. `SandboxRequestError` when the system would refuse."""


@runtime_checkable
class Metered(Protocol):
    """A simulator that allows so many calls a day."""

    def pass_day(self, seconds: float, calls: int) -> Mapping[str, int]:
        """Move the clock on that the day goes by, then let others use calls, at most those that are left.

        Gives the day's calls: `used` and `allowed`.
        """


def build_app(simulator: Simulator) -> Starlette:
    """The simulator's protocol and the control routes as one application."""
    control = _Control(simulator)
    own = simulator.routes()
    app = Starlette(routes=[*control.routes(), *own])
    app.add_middleware(ControlMiddleware, stats=simulator.stats, log=control.log, faults=control.faults, routes=own)
    return app


class _Control:
    """The routes under `/_sandbox` of one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.faults = Faults(lists_fewer=simulator.lists_fewer)
        self.log = CallLog()
        self._courier: Courier | None = None

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_sandbox/records/{kind:path}", _refusing(self._records)),
            Route("/_sandbox/stats", _refusing(self._stats)),
            Route("/_sandbox/log", _refusing(self._log)),
            Route("/_sandbox/options", _refusing(self._options), methods=["POST"]),
            Route("/_sandbox/faults", _refusing(self._faults), methods=["POST"]),
            Route("/_sandbox/reset", _refusing(self._reset), methods=["POST"]),
            Route("/_sandbox/mutate", _refusing(self._mutate), methods=["POST"]),
            Route("/_sandbox/schema", _refusing(self._schema), methods=["POST"]),
            Route("/_sandbox/day", _refusing(self._day), methods=["POST"]),
            Route("/_sandbox/webhooks", _refusing(self._webhooks), methods=["GET", "POST"]),
        ]

    async def _records(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        fields = [name for name in request.query_params.get("fields", "").split(",") if name]
        return StreamingResponse(_records_json(kind, self._simulator.records(kind), fields), media_type=JSON)

    async def _stats(self, _: Request) -> Response:
        return json_response(self._simulator.stats.as_json())

    async def _log(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            raise SandboxRequestError("`after` is the number of a call")
        return json_response(self.log.as_json(int(after)))

    async def _options(self, request: Request) -> Response:
        options = orjson.loads(await request.body())
        if not isinstance(options, dict):
            raise SandboxRequestError("options are an object of names and values")
        if not isinstance(self._simulator, Configurable):
            raise SandboxRequestError(f"{self._simulator.name} has no options to change while it runs")
        self._simulator.configure(options)
        return json_response({"changed": sorted(options)})

    async def _faults(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        listed, seed = (body["faults"], body.get("seed")) if isinstance(body, dict) else (body, None)
        self.faults.replace(listed, seed)
        return json_response({"active": len(listed)})

    async def _reset(self, request: Request) -> Response:
        body = await request.body()
        # What a system is emptied of is no change that it tells of.
        self._end_webhooks()
        self._simulator.reset(orjson.loads(body) if body else {})
        self._simulator.stats.clear()
        self.log.clear()
        self.faults.replace([])
        return json_response({"reset": self._simulator.name})

    async def _mutate(self, request: Request) -> Response:
        change = orjson.loads(await request.body())
        if not isinstance(change, dict):
            raise SandboxRequestError("a change is an object with `object`, `op` and what it needs")
        return json_response(self._simulator.mutate(change))

    async def _schema(self, request: Request) -> Response:
        given = orjson.loads(await request.body())
        changes = given if isinstance(given, list) else [given]
        if not changes or not all(isinstance(each, dict) for each in changes):
            raise SandboxRequestError("a change of the schema is an object with `object`, `op` and what it needs")
        if not isinstance(self._simulator, Reshapable):
            raise SandboxRequestError(f"{self._simulator.name} has no schema to change")
        return json_response([self._simulator.reshape(each) for each in changes][-1])

    async def _day(self, request: Request) -> Response:
        given = orjson.loads(await request.body())
        wanted = {"seconds": (int, float), "calls": (int,)}
        if not isinstance(given, dict) or not given.keys() <= wanted.keys():
            raise SandboxRequestError("what passes of a day is an object with `seconds` and `calls`")
        for name, value in given.items():
            if type(value) not in wanted[name] or not 0 <= value < float("inf"):
                raise SandboxRequestError(f"`{name}` is a number from 0: no clock goes back")
        if not isinstance(self._simulator, Metered):
            raise SandboxRequestError(f"{self._simulator.name} counts no calls of a day")
        return json_response(self._simulator.pass_day(given.get("seconds", 0), given.get("calls", 0)))

    async def _webhooks(self, request: Request) -> Response:
        simulator = self._simulator
        if not isinstance(simulator, Announcing):
            raise SandboxRequestError(f"{simulator.name} sends no webhooks")
        if request.method == "POST":
            given = orjson.loads(await request.body())
            if not isinstance(given, dict):
                raise SandboxRequestError("webhooks are an object with `url` and `secret`, or {}")
            courier = Courier(Subscription.read(given), simulator.voice) if given else None
            self._end_webhooks()
            if courier is not None:
                self._courier = courier
                simulator.announce_to(courier.announce)
        return json_response({"url": None} if self._courier is None else self._courier.as_json())

    def _end_webhooks(self) -> None:
        if self._courier is not None and isinstance(self._simulator, Announcing):
            self._simulator.announce_to(None)
            self._courier.end()
            self._courier = None


def _refusing(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The handler with 400 for what it refuses."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (SandboxRequestError, orjson.JSONDecodeError) as exc:
            return json_response({"error": str(exc)}, 400)

    return answer


async def _records_json(kind: str, records: Iterable[Mapping[str, Any]], fields: list[str]) -> AsyncIterator[bytes]:
    """The answer of `/_sandbox/records` in pieces, so that a million records need no gigabytes."""
    yield b'{"object":' + orjson.dumps(kind) + b',"records":['
    total = 0
    remaining = iter(records)
    while piece := list(islice(remaining, _RECORDS_A_PIECE)):
        shown = [{name: each.get(name) for name in fields} for each in piece] if fields else piece
        yield (b"," if total else b"") + orjson.dumps(shown)[1:-1]
        total += len(piece)
    yield b'],"total":%d}' % total
