"""The HTTP server: uvicorn, with a deadline for what comes before a body.

uvicorn waits for a request's head as long as its sender likes, and each that dawdles holds a connection.
"""

import asyncio
import json
import signal
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog
import uvicorn
from fastapi import FastAPI

from lms_crm_assets.receiver.direct import Direct
from lms_crm_assets.receiver.limits import BEGAN, RECEIPT_SECONDS
from lms_crm_assets.receiver.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HttpProtocol
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol

# Requests under way get so long when the server is told to stop; a commit takes milliseconds.
_GRACE_SECONDS = 10
_BACKLOG = 2048
_TURN_SECONDS = 0.0005


_log = structlog.get_logger(__name__)


class DeadlineProtocol(HttpProtocol):
    """Closes a connection that has not sent a request's whole head in time, whether it sent some of it or nothing."""

    _timer: asyncio.TimerHandle | None = None
    _began = 0.0

    def connection_made(self, transport: Any) -> None:
        """A connection that stays silent counts as one that dawdles."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Watch the time from a head's first byte to its last."""
        if self._timer is None and not self._answers():
            self._begin()
        super().data_received(data)
        if self._answers():
            self._end()
            # The request's task begins after this, and its body has what is left of the time.
            cast("dict[str, Any]", self.scope).setdefault(BEGAN, self._began)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to watch any more."""
        self._end()
        super().connection_lost(exc)

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin(self) -> None:
        self._began = self.loop.time()
        self._timer = self.loop.call_later(RECEIPT_SECONDS, self._too_late)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing() or self._answers():
            return
        self._end_with(Problem(408, f"the request has to arrive within {RECEIPT_SECONDS:.0f} seconds"))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words may quote what was sent
        """What is no HTTP is answered with a problem too."""
        self._end_with(Problem(400, "the request is no HTTP", code="INVALID_REQUEST"))

    def _end_with(self, problem: Problem) -> None:
        body = bytes(problem.response().body)
        head = (
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def serve(app: FastAPI, host: str, port: int, port_file: Path | None = None) -> bool:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way; false when the port could not be had.

    `port_file` gets the port as JSON.
    """
    # Between two statements the writer's thread waits for its turn as long as this; 5 ms by default.
    sys.setswitchinterval(_TURN_SECONDS)
    # uvicorn repeats the signal when all is finished, which would look as if it had not been.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = server_of(app, host, port, port_file)
    try:
        server.run()
    except SystemExit:
        # How uvicorn ends when it can't listen; it has logged the reason.
        return server.started
    return True


def server_of(app: FastAPI, host: str, port: int, port_file: Path | None = None) -> uvicorn.Server:
    """The server, to be run."""
    config = uvicorn.Config(
        Direct(app),
        host=host,
        port=port,
        http=DeadlineProtocol,
        ws="none",
        lifespan="on",
        # Addresses may hold a token, and problems are logged where they happen.
        access_log=False,
        # Its own lines go the way of all others (telemetry.logs).
        log_config=None,
        log_level="warning",
        server_header=False,
        # Nobody asks who the client is.
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return _Server(config, port_file)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, port_file: Path | None) -> None:
        super().__init__(config)
        self._port_file = port_file

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        port = self.servers[0].sockets[0].getsockname()[1]
        _log.info("receiver_listens", host=self.config.host, port=port)
        if self._port_file is not None:
            # Whole or not at all for whoever waits for it.
            unfinished = self._port_file.with_suffix(".part")
            unfinished.write_text(json.dumps({"port": port}), encoding="utf-8")
            unfinished.replace(self._port_file)
