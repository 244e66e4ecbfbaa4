"""What can be set on the simulated Canvas."""

from dataclasses import dataclass
from typing import Any

from lms_crm_assets.sandbox.school.options import Options, amount, amount_or_none, option, positive_or_none


def _refusal(value: Any) -> int:
    if type(value) is not int or value not in {403, 429}:
        raise ValueError("403 or 429")
    return value


@dataclass(frozen=True)
class CanvasOptions(Options):
    """Throttling is off without `rate_limit`; tokens from a refresh live an hour, as Canvas's do."""

    rate_limit: float | None = option(amount_or_none, None)
    """How much a token's bucket holds before requests are refused; Canvas's own is 600."""
    rate_limit_outflow: float = option(amount, 10.0)
    """What leaks from a bucket in a second."""
    request_cost: float = option(amount, 1.0)
    """What a request adds to its bucket; Canvas takes the seconds of CPU and database."""
    up_front_cost: float = option(amount, 50.0)
    """What a request adds beside that while it is worked on, so that parallel ones cost more."""
    rate_limit_status: int = option(_refusal, 403)
    """How a refusal is answered: 403, or 429 as sites with `send_429_response` do."""
    token_seconds: float = option(amount, 3600.0)
    """How long a token from a refresh lives; for those given out from then on."""
    token_calls: int | None = option(positive_or_none, None)
    """How many calls it lives, none without bound; likewise."""
