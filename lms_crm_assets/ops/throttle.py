"""A limit on calls in a sliding window, shared by everything in one process that talks to the same system."""

import hashlib
import threading
import time
from collections import deque

_shared: dict[tuple[str, str, int | None, float], "Throttle"] = {}
_making = threading.Lock()

# The other side counts arrivals, we count departures: a little more than its window keeps jitter within the limit.
_JITTER_SECONDS = 0.25


def shared_throttle(address: str, credential: str, calls: int | None, window_seconds: float = 10.0) -> "Throttle":
    """The process's one throttle for a system and a credential: neighbouring steps share the system's window."""
    key = (address, hashlib.sha256(credential.encode()).hexdigest(), calls, window_seconds)
    with _making:
        return _shared.setdefault(key, Throttle(calls, window_seconds + _JITTER_SECONDS))


class Throttle:
    """At most `calls` calls in any `window_seconds`; callers wait for their turn. None: as many as they like."""

    def __init__(self, calls: int | None, window_seconds: float) -> None:
        self._calls = calls
        self._window_seconds = window_seconds
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when a call may be made."""
        while (pause_seconds := self._take()) > 0:
            time.sleep(pause_seconds)

    def _take(self) -> float:
        """Take a place, or say how long until the next one is free."""
        if self._calls is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - self._window_seconds:
                self._recent.popleft()
            if len(self._recent) < self._calls:
                self._recent.append(now)
                return 0.0
            return self._recent[0] + self._window_seconds - now
