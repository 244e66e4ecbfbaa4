"""Trying a call again: one layer of retries for the LMS and the CRM, for reads and writes alike.

Trouble that passes is waited out with growing, jittered waits, a few times. A rate limit is no failure: it is waited out
as the other side says, or for the length of its window, and uses up no try.
"""

from collections.abc import Iterator

import stamina

from lms_crm_assets.errors import RateLimitedError, RetryableError

TRIES = 5
_WAIT_MAX_SECONDS = 30.0
_RATE_WINDOW_SECONDS = 10.0
_RATE_WAIT_MIN_SECONDS = 0.5
_RATE_LIMITS = 60


class _Patience:
    """Decides after each failure of one call whether and when it is made again."""

    def __init__(self) -> None:
        self._failures = 0
        self._limited = 0

    def __call__(self, exc: Exception) -> bool | float:
        if isinstance(exc, RateLimitedError):
            self._limited += 1
            wait = exc.retry_after_seconds
            return self._limited < _RATE_LIMITS and (
                _RATE_WINDOW_SECONDS if wait is None else max(wait, _RATE_WAIT_MIN_SECONDS)
            )
        if not isinstance(exc, RetryableError):
            return False
        self._failures += 1
        if self._failures >= TRIES:
            return False
        return True if exc.retry_after_seconds is None else exc.retry_after_seconds


def patiently() -> Iterator[stamina.Attempt]:
    """Attempts at one call, each to be entered as a context; the last failure comes through."""
    yield from stamina.retry_context(on=_Patience(), attempts=None, timeout=3600.0, wait_max=_WAIT_MAX_SECONDS)
