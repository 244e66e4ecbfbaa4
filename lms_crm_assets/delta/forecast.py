"""What sending a plan will take: calls, minutes, and the share of the day's quota."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from lms_crm_assets.delta.build import DeltaCounts
from lms_crm_assets.domain import CrmObject


@dataclass(frozen=True)
class Pace:
    """How a CRM takes writes: records a call, links a call (0: links cost none), calls a second at most."""

    batch_size: int
    link_batch_size: int
    calls_per_second: float


@dataclass(frozen=True)
class Quota:
    """The CRM's allowance for a day: calls used and allowed."""

    used: int
    allowed: int


@dataclass(frozen=True)
class Forecast:
    """Write calls, minutes at the configured rate, and the day's quota after it as a share (None: not known)."""

    records: int
    calls: int
    minutes: float
    quota_share_after: float | None


def forecast(
    counts: Mapping[CrmObject, DeltaCounts], parents: Mapping[CrmObject, int], pace: Pace, quota: Quota | None
) -> Forecast:
    """Forecast a plan; `parents` is the number of parents that each object links to."""
    calls = records = 0
    for obj, count in counts.items():
        upserts = count.create + count.update
        records += upserts + count.archive
        calls += ceil(upserts / pace.batch_size) + ceil(count.archive / pace.batch_size)
        if pace.link_batch_size:
            calls += parents[obj] * ceil(upserts / pace.link_batch_size)
    share = (quota.used + calls) / quota.allowed if quota and quota.allowed else None
    return Forecast(records, calls, calls / pace.calls_per_second / 60, share)
