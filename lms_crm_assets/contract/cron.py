"""Cron expressions: five fields, in UTC."""

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

_FIELDS = 5


def check_cron(text: str) -> str:
    """The text as it is when it is a cron expression that comes due; `ValueError` otherwise."""
    if len(text.split()) != _FIELDS:
        raise ValueError("must have five fields: minute, hour, day of month, month, day of week, as in '0 2 * * *'")
    try:
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as exc:
        raise ValueError(f"is no cron expression: {str(exc)[:1].lower()}{str(exc)[1:]}") from exc
    except StopIteration:
        raise ValueError("is a cron expression that never comes due") from None
    return text


def last_due(cron: str, now: datetime) -> datetime:
    """The newest moment up to `now` at which a valid expression came due."""
    return next(CronSim(cron, now.astimezone(UTC) + timedelta(seconds=1), reverse=True))
