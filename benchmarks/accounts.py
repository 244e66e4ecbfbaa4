"""`python -m benchmarks.accounts READY_FILE HUBSPOT SALESFORCE`: so many CRM accounts of the sandbox in one process.

Each has a port of its own, its records and its limits. The addresses are written to the ready file as two lists.
"""

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from lms_crm_assets.sandbox.core import Simulator, build_app
from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.salesforce import SalesforceSimulator

_BACKLOG = 128


class Accounts:
    """One application for all ports: which account is meant says the port that was called."""

    def __init__(self) -> None:
        """Start with none."""
        self.sockets: list[socket.socket] = []
        self._apps: dict[int, ASGIApp] = {}

    def add(self, simulator: Simulator) -> str:
        """One more account; its address."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        port = listening.getsockname()[1]
        self.sockets.append(listening)
        self._apps[port] = build_app(simulator)
        return f"http://127.0.0.1:{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._apps[scope["server"][1]](scope, receive, send)


async def serve(accounts: Accounts, ready: Path, addresses: str) -> None:
    """Serve until SIGTERM; `addresses` is written to the ready file once all answer."""
    config = uvicorn.Config(accounts, log_level="critical", access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    task = asyncio.create_task(server.serve(sockets=accounts.sockets))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    part = ready.with_suffix(".part")
    part.write_text(addresses, encoding="utf-8")
    part.rename(ready)
    await task


def main(ready: Path, hubspot: int, salesforce: int) -> None:
    """Make them and serve them."""
    accounts = Accounts()
    addresses = {
        "hubspot": [accounts.add(HubSpotSimulator(daily_limit=250_000)) for _ in range(hubspot)],
        "salesforce": [accounts.add(SalesforceSimulator(daily_limit=100_000)) for _ in range(salesforce)],
    }
    asyncio.run(serve(accounts, ready, json.dumps(addresses)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
