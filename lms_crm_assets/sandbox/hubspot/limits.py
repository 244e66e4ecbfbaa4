"""Request limits: rolling windows an app, a second's worth of searches an account, and the day's quota.

HubSpot documentation, "API usage guidelines". A refused request does not count against the window.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lms_crm_assets.sandbox.hubspot.auth import App
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError

WINDOW_SECONDS = 10.0
DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Window:
    """At most `most` requests in any `seconds`; None: no limit."""

    most: int | None
    seconds: float
    _times: deque[float] = field(default_factory=deque)

    def admits(self, now: float) -> bool:
        """Whether one more request fits."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return self.most is None or len(self._times) < self.most

    def count(self, now: float) -> None:
        """Note a request."""
        if self.most is not None:
            self._times.append(now)

    @property
    def remaining(self) -> int:
        """What is left after the last look."""
        return 0 if self.most is None else self.most - len(self._times)


class Limits:
    """All limits of the account; `requests_per_10_seconds` None lifts the ten-second ones."""

    def __init__(
        self,
        *,
        requests_per_10_seconds: int | None = 190,
        associations_per_10_seconds: int | None = 150,
        searches_per_second: int | None = 5,
        daily_limit: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._most = requests_per_10_seconds
        associations = None if requests_per_10_seconds is None else associations_per_10_seconds
        self._general: dict[App, Window] = {
            "private": Window(requests_per_10_seconds, WINDOW_SECONDS),
            "oauth": Window(requests_per_10_seconds, WINDOW_SECONDS),
        }
        self._associations: dict[App, Window] = {
            "private": Window(associations, WINDOW_SECONDS),
            "oauth": Window(associations, WINDOW_SECONDS),
        }
        self._searches = Window(searches_per_second, 1.0)
        self._day_started = clock()
        self.daily_limit = daily_limit
        self.daily_used = 0

    def admit(self, app: App, bucket: str) -> dict[str, str]:
        """Count one request and return its rate-limit headers; `HubSpotError` 429 when a limit is reached.

        Searches have a limit of their own and no headers. The daily ones are absent for OAuth apps.
        """
        now = self._clock()
        if now - self._day_started >= DAY_SECONDS:
            self._day_started, self.daily_used = now, 0
        if bucket == "search":
            windows = [self._searches]
        elif bucket == "associations":
            windows = [self._general[app], self._associations[app]]
        else:
            windows = [self._general[app]]
        admitted = all(window.admits(now) for window in windows)
        if self.daily_used >= self.daily_limit:
            raise _limited("DAILY", self._headers(app, bucket))
        if not admitted:
            raise _limited("SECONDLY" if bucket == "search" else "TEN_SECONDLY_ROLLING", self._headers(app, bucket))
        for window in windows:
            window.count(now)
        self.daily_used += 1
        return self._headers(app, bucket)

    def _headers(self, app: App, bucket: str) -> dict[str, str]:
        if bucket == "search" or self._most is None:
            return {}
        headers = {
            "X-HubSpot-RateLimit-Max": str(self._most),
            "X-HubSpot-RateLimit-Remaining": str(self._general[app].remaining),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        if app == "private":
            headers["X-HubSpot-RateLimit-Daily"] = str(self.daily_limit)
            headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(self.daily_limit - self.daily_used)
        return headers


def _limited(policy: str, headers: dict[str, str]) -> HubSpotError:
    return HubSpotError(
        429,
        f"You have reached your {policy.lower()} limit.",
        more={"errorType": "RATE_LIMIT", "policyName": policy},
        headers=headers,
    )
