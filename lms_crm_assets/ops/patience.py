"""Trying a call again: one layer of retries for the LMS and the CRM, for reads and writes alike.

Trouble that passes is waited out a few times, with full jitter between zero and a growing bound. A rate limit is no
failure: the gate lets the call through in its turn, and it uses up no try.
"""

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import stamina
import structlog

from lms_crm_assets.errors import PausedError, RateLimitedError, RetryableError

_log = structlog.get_logger(__name__)
T = TypeVar("T")

# The gate counts what was tried again; a line a try would drown what a run says.
stamina.instrumentation.set_on_retry_hooks(())

TRIES = 5
_FIRST_WAIT_SECONDS = 0.5
_WAIT_MAX_SECONDS = 30.0
_RATE_LIMITS = 60


class _Patience:
    """Decides after each failure of one call whether and when it is made again."""

    def __init__(self) -> None:
        self._failures = 0
        self._limited = 0

    def __call__(self, exc: Exception) -> bool | float:
        if isinstance(exc, RateLimitedError):
            self._limited += 1
            # The gate keeps everybody waiting for as long as the other side said.
            told = exc.retry_after_seconds is not None
            return self._limited < _RATE_LIMITS and _logged(exc, self._limited, _jittered(1 if told else self._limited))
        if not isinstance(exc, RetryableError) or isinstance(exc, PausedError):
            return False
        self._failures += 1
        if self._failures >= TRIES:
            return False
        if exc.retry_after_seconds is not None:
            return _logged(exc, self._failures, exc.retry_after_seconds)
        return _logged(exc, self._failures, _jittered(self._failures))


def _logged(exc: Exception, tries: int, seconds: float) -> float:
    _log.info("retry", error=type(exc).__name__, tries=tries, wait_seconds=round(seconds, 2))
    return seconds


def _jittered(times: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return random.uniform(0, min(_WAIT_MAX_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (times - 1)))  # noqa: S311 - jitter


def patiently() -> Iterator[stamina.Attempt]:
    """Attempts at one call, each to be entered as a context; the last failure comes through."""
    yield from stamina.retry_context(on=_Patience(), attempts=None, timeout=None)


def patient(call: Callable[[], T]) -> T:
    """What the call gives, in the end; the last failure comes through."""
    for attempt in patiently():
        with attempt:
            return call()
    raise AssertionError("patience either returns or raises")  # pragma: no cover
