"""The org that the handlers work on: its records, its statistics, its open cursors and its daily allowance of calls."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from lms_crm_assets.sandbox.core import Stats

from .auth import Tokens
from .bulk.jobs import Jobs
from .cursors import Cursors
from .errors import ApiError, no_such_id, not_found
from .guard import Guard
from .http import Call
from .options import Options
from .schema import Field, SObject
from .store import Store

_SECONDS_A_DAY = 86_400
_QUERY_JOBS_A_DAY = 10_000


@dataclass
class Org:
    """One simulated org. `clock` gives seconds since 1970; the allowance starts anew with each UTC day."""

    clock: Callable[[], float]
    options: Options
    store: Store
    guard: Guard
    tokens: Tokens
    cursors: Cursors
    jobs: Jobs
    stats: Stats
    calls: int = 0
    batches: int = 0
    query_jobs: int = 0
    day: int = 0
    ahead_seconds: float = 0.0

    def become(self, other: "Org") -> None:
        """Take over all that another org holds; the routes that know this one go on with it."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))

    def count_call(self) -> None:
        """Use one call of the day; `ApiError` 403 when none is left."""
        self._turn_the_day()
        if self.calls >= self.options.daily_limit:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.calls += 1

    def use_bulk_batch(self) -> bool:
        """Use one internal batch of the day; whether there was one left."""
        self._turn_the_day()
        if self.batches >= self.options.bulk_batches_a_day:
            return False
        self.batches += 1
        return True

    def use_query_job(self) -> bool:
        """Use one query job of the day; whether there was one left."""
        self._turn_the_day()
        if self.query_jobs >= _QUERY_JOBS_A_DAY:
            return False
        self.query_jobs += 1
        return True

    def bulk_batches_left(self) -> bool:
        """Whether the day has an internal batch left."""
        self._turn_the_day()
        return self.batches < self.options.bulk_batches_a_day

    @property
    def limit_info(self) -> str:
        """The header `Sforce-Limit-Info`."""
        return f"api-usage={self.calls}/{self.options.daily_limit}"

    def limits(self) -> dict[str, Any]:
        """The answer of `/limits`; only requests and bulk jobs use something up here."""
        fixed = {
            "ConcurrentAsyncGetReportInstances": 200,
            "ConcurrentSyncReportRuns": 20,
            "DailyAsyncApexExecutions": 250_000,
            "DailyBulkV2QueryFileStorageMB": 976_562,
            "DailyStreamingApiEvents": 200_000,
            "DataStorageMB": 1_024,
            "FileStorageMB": 1_024,
            "SingleEmail": 5_000,
        }
        used = {
            "DailyApiRequests": _left(self.options.daily_limit, self.calls),
            "DailyBulkApiBatches": _left(self.options.bulk_batches_a_day, self.batches),
            "DailyBulkV2QueryJobs": _left(_QUERY_JOBS_A_DAY, self.query_jobs),
        }
        return used | {name: {"Max": most, "Remaining": most} for name, most in fixed.items()}

    def pass_day(self, seconds: float, calls: int) -> dict[str, int]:
        """Move the day's clock on, and let others use calls of it; gives those used and allowed."""
        self.ahead_seconds += seconds
        self._turn_the_day()
        self.calls += max(0, min(calls, self.options.daily_limit - self.calls))
        return {"used": self.calls, "allowed": self.options.daily_limit}

    def _turn_the_day(self) -> None:
        today = int((self.clock() + self.ahead_seconds) // _SECONDS_A_DAY)
        if today != self.day:
            self.day, self.calls, self.batches, self.query_jobs = today, 0, 0, 0


def _left(most: int, used: int) -> dict[str, int]:
    return {"Max": most, "Remaining": max(most - used, 0)}


def object_of(org: Org, call: Call) -> SObject:
    """The object in the path; `ApiError` 404 when there is none of that name."""
    found = org.store.schema.find(call.params["sobject"])
    if found is None:
        raise not_found()
    return found


def key_of(call: Call, sobject: SObject) -> Field:
    """The external-id field in the path; `ApiError` 404 when it is none."""
    found = sobject.field(call.params["field"])
    if found is None or not found.is_key:
        raise no_such_id(call.params["field"])
    return found
