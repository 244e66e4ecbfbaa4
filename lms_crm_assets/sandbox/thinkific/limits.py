"""The limit of requests in a minute of the clock, and the headers that tell of it.

Thinkific documentation, "Rate limits": 429, and `RateLimit-Reset` is the epoch second from which requests count anew.
"""

import time
from collections.abc import Callable

from lms_crm_assets.sandbox.thinkific.wire import ThinkificError

_MINUTE = 60


class MinuteLimit:
    """Counts the requests of one site."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Start with none."""
        self._clock = clock
        self._minute = 0
        self._used = 0

    def admit(self, most: int | None) -> dict[str, str]:
        """Count a request and give its headers; `ThinkificError` 429 when there were that many already."""
        if most is None:
            return {}
        minute = int(self._clock() // _MINUTE)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        admitted = self._used < most
        self._used += admitted
        headers = {
            "RateLimit-Limit": str(most),
            "RateLimit-Remaining": str(max(0, most - self._used)),
            "RateLimit-Reset": str((minute + 1) * _MINUTE),
        }
        if not admitted:
            raise ThinkificError(429, {"error": "Rate limit exceeded"}, headers)
        return headers

    def clear(self) -> None:
        """Forget what was counted."""
        self._used = 0
