"""What passes between us and the two systems, for whoever listens: `lms-crm record`.

The adapters tell of each exchange in the one place where their calls pass, but for requests of tokens, of which nothing
is told. As a rule nobody listens, and then nothing is kept.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Side = Literal["lms", "crm"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, with all that is secret and personal in them: never to be logged.

    `sent` is the request's body, `media` what it is. Of the request's headers nothing is told.
    """

    side: Side
    method: str
    url: str
    media: str
    sent: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


_lock = threading.Lock()
_listeners: list[Callable[[Exchange], None]] = []


def heard() -> bool:
    """Whether anybody listens."""
    return bool(_listeners)


def tell(exchange: Exchange) -> None:
    """Tell of an exchange; those of several threads one after the other."""
    with _lock:
        for listener in _listeners:
            listener(exchange)


@contextmanager
def listening(listener: Callable[[Exchange], None]) -> Iterator[None]:
    """Hear of every exchange of this process meanwhile."""
    _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)
