"""Canvas's throttling: a leaky bucket for each token (Canvas source, `request_throttle.rb`).

A bucket is full from `rate_limit` on, holds up to a third more, and leaks all the time. While a request is worked on
it weighs `up_front_cost`; that is given back and its cost stays.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import PlainTextResponse, Response

from lms_crm_assets.sandbox.canvas.options import CanvasOptions

_PHRASES = {403: "Forbidden", 429: "Too Many Requests"}
_MAXIMUM_SHARE = 800 / 600


@dataclass(slots=True)
class _Bucket:
    count: float
    touched: float


class Throttle:
    """The buckets of one site."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with empty ones."""
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def admit(self, client: str, options: CanvasOptions) -> bool:
        """Whether this request may go on; what it weighs is in the bucket until `finish`, also when it may not."""
        return options.rate_limit is None or self._add(client, options.up_front_cost, options) < options.rate_limit

    def finish(self, client: str, options: CanvasOptions, response: Response, *, admitted: bool) -> None:
        """Settle the request's cost and tell it in the headers; a refused one costs nothing."""
        if admitted:
            response.headers["X-Request-Cost"] = str(options.request_cost)
        if options.rate_limit is not None:
            cost = options.request_cost if admitted else 0.0
            count = self._add(client, cost - options.up_front_cost, options)
            response.headers["X-Rate-Limit-Remaining"] = str(options.rate_limit - count)

    def clear(self) -> None:
        """Empty all buckets."""
        self._buckets.clear()

    def _add(self, client: str, amount: float, options: CanvasOptions) -> float:
        now = self._clock()
        bucket = self._buckets.setdefault(client, _Bucket(0.0, now))
        leaked = (now - bucket.touched) * options.rate_limit_outflow
        most = (options.rate_limit or 0.0) * _MAXIMUM_SHARE
        bucket.count = min(max(0.0, max(0.0, bucket.count - leaked) + amount), most)
        bucket.touched = now
        return bucket.count


def refusal(options: CanvasOptions) -> Response:
    """The answer to a throttled request: plain text."""
    status = options.rate_limit_status
    return PlainTextResponse(f"{status} {_PHRASES[status]} (Rate Limit Exceeded)\n", status)
