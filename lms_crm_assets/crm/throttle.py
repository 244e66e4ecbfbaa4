"""A limit on calls in a sliding window, shared by the threads of one process."""

import threading
import time
from collections import deque


class Throttle:
    """At most `calls` calls in any `window_seconds`; callers wait for their turn."""

    def __init__(self, calls: int, window_seconds: float = 10.0) -> None:
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
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - self._window_seconds:
                self._recent.popleft()
            if len(self._recent) < self._calls:
                self._recent.append(now)
                return 0.0
            return self._recent[0] + self._window_seconds - now
