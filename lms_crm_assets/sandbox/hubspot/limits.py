"""Request limits: rolling windows an app, a second's worth of searches an account, and the day's quota.

HubSpot documentation, "API usage guidelines". A refused request does not count against the window.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lms_crm_assets.sandbox.hubspot.auth import App
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError
from lms_crm_assets.sandbox.hubspot.options import Options

WINDOW_SECONDS = 10.0
DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Window:
    """The requests of the last `seconds`, counted without a limit too: one that is set later looks back."""

    seconds: float
    _times: deque[float] = field(default_factory=deque)

    def admits(self, now: float, most: int | None) -> bool:
        """Whether one more request fits under `most`; None: always."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return most is None or len(self._times) < most

    def count(self, now: float) -> None:
        """Note a request."""
        self._times.append(now)

    def remaining(self, most: int) -> int:
        """What was left at the last look."""
        return max(0, most - len(self._times))


class Limits:
    """All limits of the account. `options` may be replaced at any time: the windows keep what they counted."""

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self._clock = clock
        self._ahead_seconds = 0.0
        self._general: dict[App, Window] = {"private": Window(WINDOW_SECONDS), "oauth": Window(WINDOW_SECONDS)}
        self._associations: dict[App, Window] = {"private": Window(WINDOW_SECONDS), "oauth": Window(WINDOW_SECONDS)}
        self._searches = Window(1.0)
        self._day_started = clock()
        self.daily_used = 0

    def admit(self, app: App, bucket: str) -> dict[str, str]:
        """Count one request and return its rate-limit headers; `HubSpotError` 429 when a limit is reached.

        Searches have a limit of their own and no headers. The daily ones are absent for OAuth apps.
        """
        now = self._now()
        if bucket == "search":
            windows = [(self._searches, self.options.searches_per_second)]
        else:
            windows = [(self._general[app], self._most(app))]
            if bucket == "associations":
                lifted = self.options.requests_per_10_seconds is None
                most = None if lifted else self.options.associations_per_10_seconds
                windows.append((self._associations[app], most))
        admitted = all(window.admits(now, most) for window, most in windows)
        if self.daily_used >= self.options.daily_limit:
            raise _limited("DAILY", self._headers(app, bucket))
        if not admitted:
            raise _limited("SECONDLY" if bucket == "search" else "TEN_SECONDLY_ROLLING", self._headers(app, bucket))
        for window, _ in windows:
            window.count(now)
        self.daily_used += 1
        return self._headers(app, bucket)

    def pass_day(self, seconds: float, calls: int) -> dict[str, int]:
        """Move the clock on, and let other apps of the account use calls of the day; gives those used and allowed."""
        self._ahead_seconds += seconds
        self._now()
        self.daily_used += max(0, min(calls, self.options.daily_limit - self.daily_used))
        return {"used": self.daily_used, "allowed": self.options.daily_limit}

    def _now(self) -> float:
        """The clock, and the turn of the day that it brings."""
        now = self._clock() + self._ahead_seconds
        if now - self._day_started >= DAY_SECONDS:
            self._day_started, self.daily_used = now, 0
        return now

    def _most(self, app: App) -> int | None:
        """The app's ten-second limit."""
        of_private = self.options.requests_per_10_seconds
        if app == "private" or of_private is None:
            return of_private
        return self.options.oauth_requests_per_10_seconds

    def _headers(self, app: App, bucket: str) -> dict[str, str]:
        most = self._most(app)
        if bucket == "search" or most is None:
            return {}
        headers = {
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(self._general[app].remaining(most)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        if app == "private":
            left = max(0, self.options.daily_limit - self.daily_used)
            headers["X-HubSpot-RateLimit-Daily"] = str(self.options.daily_limit)
            headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(left)
        return headers


def _limited(policy: str, headers: dict[str, str]) -> HubSpotError:
    return HubSpotError(
        429,
        f"You have reached your {policy.lower()} limit.",
        more={"errorType": "RATE_LIMIT", "policyName": policy},
        headers=headers,
    )
