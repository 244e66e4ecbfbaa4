"""What sending a plan will take: calls, minutes, and the share of the day's quota."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from lms_crm_assets.delta.build import DeltaCounts
from lms_crm_assets.domain import CrmObject

# Bulk API 2.0: create, upload, close, a few looks at the state, three results.
_CALLS_A_JOB = 10
# What a job of ordinary records gets through; the org's own automation may make it slower.
_JOB_RECORDS_PER_SECOND = 500


@dataclass(frozen=True)
class Pace:
    """How a CRM takes writes: records a call, links a call (0: links cost none), calls a second at most.

    `bulk`: from how many records on jobs carry them, and records a job; None where there are no jobs.
    """

    batch_size: int
    link_batch_size: int
    calls_per_second: float
    bulk: tuple[int, int] | None = None


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
    calls = records = in_jobs = 0
    for obj, count in counts.items():
        upserts = count.create + count.update
        records += upserts + count.archive
        if pace.bulk is not None and upserts >= pace.bulk[0]:
            calls += _CALLS_A_JOB * ceil(upserts / pace.bulk[1])
            in_jobs += upserts
        else:
            calls += ceil(upserts / pace.batch_size)
        calls += ceil(count.archive / pace.batch_size)
        if pace.link_batch_size:
            calls += parents[obj] * ceil(upserts / pace.link_batch_size)
    share = (quota.used + calls) / quota.allowed if quota and quota.allowed else None
    seconds = calls / pace.calls_per_second + in_jobs / _JOB_RECORDS_PER_SECOND
    return Forecast(records, calls, seconds / 60, share)
