"""The simulators as servers of one process, each on a port of its own on loopback."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import uvicorn

from lms_crm_assets.sandbox.canvas import CanvasSimulator
from lms_crm_assets.sandbox.core import SandboxRequestError, Simulator, build_app
from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.moodle import MoodleSimulator
from lms_crm_assets.sandbox.oneroster import OneRosterSimulator
from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from lms_crm_assets.sandbox.school import SchoolSimulator
from lms_crm_assets.sandbox.school.layout import Size
from lms_crm_assets.sandbox.thinkific import ThinkificSimulator

_PORTS_FILE = "ports.json"


@dataclass(frozen=True)
class SandboxOptions:
    """What the sandbox is started with.

    How large the generated school is, how strict HubSpot's limit, where the state is kept (None: nowhere), and the port
    of each system by its name; one that is not named takes a free one.
    """

    school: Size = field(default_factory=Size)
    hubspot_calls_per_10_seconds: int | None = 190
    latency_seconds: float = 0.0
    state_dir: Path | None = None
    ports: Mapping[str, int] = field(default_factory=dict)


def simulators(options: SandboxOptions) -> dict[str, Simulator]:
    """The simulators by name; all LMSs but `moodle`, the recorded one, are made from the same school."""
    latency, school = options.latency_seconds, asdict(options.school)
    return {
        "moodle": MoodleSimulator(latency_seconds=latency),
        "moodle_school": MoodleSimulator(latency_seconds=latency, school=options.school),
        "school": SchoolSimulator(latency_seconds=latency, **school),
        "canvas": CanvasSimulator(latency_seconds=latency, **school),
        "oneroster": OneRosterSimulator(latency_seconds=latency, **school),
        "thinkific": ThinkificSimulator(latency_seconds=latency, **school),
        "salesforce": SalesforceSimulator(latency_seconds=latency),
        "hubspot": HubSpotSimulator(
            requests_per_10_seconds=options.hubspot_calls_per_10_seconds, latency_seconds=latency
        ),
    }


def serve(options: SandboxOptions, ready_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the addresses are printed as one JSON line, and written to `ready_file`.

    With a state folder, the simulators take up what they held when they were stopped, at the same addresses where these are
    free: to whoever kept them another address is another system.
    """
    asyncio.run(_serve(options, ready_file))


async def _serve(options: SandboxOptions, ready_file: Path | None) -> None:
    running = simulators(options)
    if unknown := options.ports.keys() - running.keys():
        raise SandboxRequestError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(running)}")
    for name, simulator in running.items():
        _load(name, simulator, options.state_dir)
    before = _ports_before(options.state_dir)
    servers: list[_Server] = []
    addresses: dict[str, str] = {}
    tasks: list[asyncio.Task[None]] = []
    for name, simulator in running.items():
        listening = _listening(options.ports.get(name), before.get(name))
        addresses[name] = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = _Server(
            uvicorn.Config(build_app(simulator), log_level="critical", access_log=False, lifespan="off", ws="none")
        )
        servers.append(server)
        tasks.append(asyncio.create_task(server.serve(sockets=[listening])))
    if options.state_dir is not None:
        options.state_dir.mkdir(parents=True, exist_ok=True)
        ports = {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}
        (options.state_dir / _PORTS_FILE).write_bytes(orjson.dumps(ports))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    _announce(addresses, ready_file)
    await stop.wait()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)
    for name, simulator in running.items():
        _save(name, simulator, options.state_dir)


def _listening(port: int | None, before: int | None) -> socket.socket:
    """A socket at the port that was asked for, or else the one of before, or a free one."""
    if port is None and before is not None:
        with contextlib.suppress(OSError):
            return _bound(before)
    return _bound(port or 0)


def _bound(port: int) -> socket.socket:
    # With the protocol left at 0 asyncio doesn't recognise TCP and leaves Nagle on: 40 ms for each larger answer.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.listen(1024)
    return found


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to `_serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take no signals."""
        yield


def _ports_before(state_dir: Path | None) -> dict[str, int]:
    if state_dir is None or not (file := state_dir / _PORTS_FILE).is_file():
        return {}
    found: dict[str, int] = orjson.loads(file.read_bytes())
    return found


def _announce(addresses: Mapping[str, str], ready_file: Path | None) -> None:
    line = orjson.dumps(addresses).decode()
    if ready_file is not None:
        unfinished = ready_file.with_suffix(".part")
        unfinished.write_text(line, encoding="utf-8")
        unfinished.replace(ready_file)
    print(line, flush=True)  # noqa: T201 - the answer to whoever started the sandbox


def _load(name: str, simulator: Simulator, state_dir: Path | None) -> None:
    if state_dir is not None and (file := state_dir / f"{name}.json").is_file():
        simulator.load(orjson.loads(file.read_bytes()))


def _save(name: str, simulator: Simulator, state_dir: Path | None) -> None:
    if state_dir is not None:
        state_dir.mkdir(parents=True, exist_ok=True)
        (state_dir / f"{name}.json").write_bytes(orjson.dumps(simulator.dump()))
