"""The header `Retry-After`, as every system may send it (RFC 9110, section 10.2.3)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_SECONDS = 3600.0
# 2001: no wait is as long as the epoch was then.
_FIRST_EPOCH = 1_000_000_000


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the other side asks us to wait, an hour at most; None when it doesn't say, or nothing that can be read.

    A date is taken by the other side's clock where the answer tells it. Without the header, the moment counts at which
    `RateLimit-Reset` says that the window ends (Thinkific). `headers` are looked up without regard to case.
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return _until_reset(headers.get("RateLimit-Reset", "").strip())
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_SECONDS)
    try:
        until = _moment(value)
        now = _moment(headers["Date"]) if "Date" in headers else datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max((until - now).total_seconds(), 0.0), _LONGEST_SECONDS)


def _until_reset(value: str) -> float | None:
    """Seconds until an epoch; where it is no epoch it is a number of seconds."""
    if not (value.isascii() and value.isdigit()):
        return None
    seconds = float(value) - (datetime.now(UTC).timestamp() if float(value) >= _FIRST_EPOCH else 0)
    return min(max(seconds, 0.0), _LONGEST_SECONDS)


def _moment(text: str) -> datetime:
    found = parsedate_to_datetime(text)
    return found.replace(tzinfo=found.tzinfo or UTC)
