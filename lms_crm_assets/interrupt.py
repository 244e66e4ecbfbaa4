"""A person's wish to stop: long work looks here between two calls and ends cleanly."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lms_crm_assets.errors import FatalError

requested = threading.Event()


class StoppedError(FatalError):
    """The work was stopped by a person."""

    def __init__(self) -> None:
        super().__init__("stopped by a person; what was delivered is in the ledger, the rest is sent by the next run")


def check() -> None:
    """Raise `StoppedError` if a person wants to stop."""
    if requested.is_set():
        raise StoppedError


@contextmanager
def heard() -> Iterator[None]:
    """Ctrl-C asks for an end while the block runs; a second one kills the process, which the journals allow for.

    An exception out of nowhere, as Ctrl-C is otherwise, hits libraries in the midst of their own clean-up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    before = signal.signal(signal.SIGINT, _ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def heard_from_now_on() -> None:
    """The same for the rest of the process, and for SIGTERM too."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ask)


def _ask(number: int, _frame: object) -> None:
    requested.set()
    signal.signal(number, signal.SIG_DFL)
