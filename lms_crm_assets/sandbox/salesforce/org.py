"""The org that the handlers work on: its records, its statistics, its open cursors and its daily allowance of calls."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from lms_crm_assets.sandbox.core import Stats

from .auth import Tokens
from .cursors import Cursors
from .errors import ApiError, no_such_id, not_found
from .http import Call
from .schema import Field, SObject, find_object
from .store import Store

_SECONDS_A_DAY = 86_400


@dataclass
class Org:
    """One simulated org. `clock` gives seconds since 1970; the allowance starts anew with each UTC day."""

    clock: Callable[[], float]
    daily_limit: int
    latency_seconds: float
    store: Store
    tokens: Tokens
    cursors: Cursors
    stats: Stats
    calls: int = 0
    day: int = 0

    def become(self, other: "Org") -> None:
        """Take over all that another org holds; the routes that know this one go on with it."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))

    def count_call(self) -> None:
        """Use one call of the day; `ApiError` 403 when none is left."""
        today = int(self.clock() // _SECONDS_A_DAY)
        if today != self.day:
            self.day, self.calls = today, 0
        if self.calls >= self.daily_limit:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.calls += 1

    @property
    def limit_info(self) -> str:
        """The header `Sforce-Limit-Info`."""
        return f"api-usage={self.calls}/{self.daily_limit}"

    def limits(self) -> dict[str, Any]:
        """The answer of `/limits`; only the API requests are used up here."""
        fixed = {
            "ConcurrentAsyncGetReportInstances": 200,
            "ConcurrentSyncReportRuns": 20,
            "DailyAsyncApexExecutions": 250_000,
            "DailyBulkApiBatches": 15_000,
            "DailyBulkV2QueryFileStorageMB": 976_562,
            "DailyBulkV2QueryJobs": 10_000,
            "DailyStreamingApiEvents": 200_000,
            "DataStorageMB": 1_024,
            "FileStorageMB": 1_024,
            "SingleEmail": 5_000,
        }
        used = {"DailyApiRequests": {"Max": self.daily_limit, "Remaining": self.daily_limit - self.calls}}
        return used | {name: {"Max": most, "Remaining": most} for name, most in fixed.items()}


def object_of(call: Call) -> SObject:
    """The object in the path; `ApiError` 404 when there is none of that name."""
    found = find_object(call.params["sobject"])
    if found is None:
        raise not_found()
    return found


def key_of(call: Call, sobject: SObject) -> Field:
    """The external-id field in the path; `ApiError` 404 when it is none."""
    found = sobject.field(call.params["field"])
    if found is None or not found.is_key:
        raise no_such_id(call.params["field"])
    return found
