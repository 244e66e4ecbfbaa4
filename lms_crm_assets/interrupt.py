"""A person's wish to stop: long work looks here between two calls and ends cleanly."""

import threading

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
