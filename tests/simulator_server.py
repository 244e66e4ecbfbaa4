"""A simulator over real HTTP for the tests of one module."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from lms_crm_assets.sandbox.core import Simulator, build_app


@contextmanager
def serving(simulator: Simulator, around: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> Iterator[str]:
    """The simulator's address while it is served from a thread, on a free port; `around` wraps its application."""
    app = around(build_app(simulator))
    with running(uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))) as address:
        yield address


@contextmanager
def running(server: uvicorn.Server) -> Iterator[str]:
    """The server's address while it runs in a thread."""
    thread = threading.Thread(target=server.run)
    thread.start()
    give_up_at = time.monotonic() + 120
    while not server.started:
        assert time.monotonic() < give_up_at
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
