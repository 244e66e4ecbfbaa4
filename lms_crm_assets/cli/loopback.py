"""The address on this machine to which a browser brings the answer to a request for approval."""

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from lms_crm_assets.errors import FatalError

_CALLBACK = "/callback"
# A browser that opens a connection and says nothing must not keep others waiting.
_SILENT_SECONDS = 5
_PAGE = b"<!doctype html><title>lms-crm</title><p>The answer has arrived; see the terminal. This page can be closed."


class Loopback:
    """Listens on 127.0.0.1 for one answer; `host` is how the app's redirect address calls this machine."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Port 0 takes a free one; `FatalError` when the port is taken."""
        self._answer: dict[str, str] | None = None
        try:
            self._server = HTTPServer(("127.0.0.1", port), self._handler())
        except OSError as exc:
            raise FatalError(
                f"port {port} of this machine can't be listened on ({exc.strerror}): name another one with --port, and"
                " register it with the app"
            ) from exc
        self.redirect_uri = f"http://{host}:{self._server.server_port}{_CALLBACK}"

    def answer(self, patience_seconds: float) -> dict[str, str]:
        """The parameters of the answer; `FatalError` when nobody brings one in time."""
        until = time.monotonic() + patience_seconds
        while self._answer is None:
            left = until - time.monotonic()
            if left <= 0:
                raise FatalError(
                    f"nobody brought an answer to {self.redirect_uri} within {patience_seconds:.0f} s: nothing was kept; run"
                    " connect again, with a larger --timeout if need be"
                )
            self._server.timeout = left
            self._server.handle_request()
        return self._answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _SILENT_SECONDS

            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                if asked.path != _CALLBACK:
                    self.send_error(404)
                    return
                ours._answer = dict(parse_qsl(asked.query, max_num_fields=20))
                self.send_response(200)
                for name, value in (
                    ("Content-Type", "text/html; charset=utf-8"),
                    ("Content-Length", str(len(_PAGE))),
                    ("Cache-Control", "no-store"),
                    ("Referrer-Policy", "no-referrer"),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(_PAGE)

            def log_message(self, *_: Any) -> None:
                """The address holds the code: nothing is logged."""

        return Handler
