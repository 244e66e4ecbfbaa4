"""How a tenant stands at one moment: what its runs told, and what the operational store and the inbox hold.

Plain values; `defs` reads them from Dagster's history, `conditions` judges them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from lms_crm_assets.contract.alerts import Alerts
from lms_crm_assets.contract.cron import last_due
from lms_crm_assets.ops.inbox import Depth

FRESH, STALE, NEVER, NO_FULL = "fresh", "stale", "never reconciled", "no full reconciliation"


class Reading(StrEnum):
    """What a run reads: `full` everything, `pull` what changed, `events` the rows that events name."""

    FULL = "full"
    PULL = "pull"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class CheckTold:
    """What one check of a run said; `figures` are its counts, `codes` how often the CRM gave which code.

    `stops`: it held the run back.
    """

    asset: str
    name: str
    passed: bool
    stops: bool = False
    figures: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunTold:
    """What a run that is over told.

    `failures`: how many runs of its kind in a row have failed, this one among them. `error`: the class of `errors` that
    ended it, and `told` that error's line; both empty where it ended otherwise. `drifted`: records that others changed in the
    CRM though the LMS has the say, None where the run compared nothing.
    """

    run_id: str
    reading: Reading
    ended_at: float
    succeeded: bool
    failures: int = 0
    checks: Sequence[CheckTold] = ()
    drifted: int | None = None
    error: str = ""
    told: str = ""

    def said(self, *names: str) -> list[CheckTold]:
        """What the checks of these names said."""
        return [check for check in self.checks if check.name in names]


@dataclass(frozen=True, slots=True)
class Freshness:
    """When runs last ended with everything sent and taken, and how old that may be.

    `begun_at`: when the first run was over, where none has ended so yet.
    """

    agreed_at: datetime | None
    full_at: datetime | None
    age_minutes: int | None
    promised_minutes: int | None
    begun_at: datetime | None = None
    is_stale: bool = False
    misses_full: bool = False

    @property
    def word(self) -> str:
        """The state in a word or two."""
        if self.age_minutes is None:
            return NEVER
        if self.is_stale:
            return STALE
        return NO_FULL if self.misses_full else FRESH


@dataclass(frozen=True, slots=True)
class Expiry:
    """Something that ends on a day, and what to do about it."""

    what: str
    on: date
    todo: str


@dataclass(frozen=True, slots=True)
class Since:
    """Something that has been so since a moment (seconds since 1970), and why."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant at one moment. `problem`: why its contract can't be read, empty when it can; `alerts`: what it says of alerts.

    `newest` holds the newest run of each kind that is over, `quota` the day's calls used and allowed where the CRM told of
    late, `switched` why backpressure has its events wait, `paused` why a person has its runs wait, and
    `switches` all that people switched, in plain words.
    """

    tenant: str
    now: datetime
    freshness: Freshness
    problem: str = ""
    alerts: Alerts = field(default_factory=Alerts)
    mode: str = ""
    newest: Mapping[Reading, RunTold] = field(default_factory=dict)
    depth: Depth = field(default_factory=Depth)
    quota: tuple[int, int] | None = None
    expiries: Sequence[Expiry] = ()
    switched: Since | None = None
    paused: Since | None = None
    switches: str = ""

    @property
    def comparing(self) -> RunTold | None:
        """The newest run that looked at all records, or at all that changed: one of events says nothing of the others."""
        found = [run for reading, run in self.newest.items() if reading is not Reading.EVENTS]
        return max(found, key=lambda run: run.ended_at, default=None)


def freshness(
    agreed_at: datetime | None,
    full_at: datetime | None,
    promised_minutes: int | None,
    full: str,
    now: datetime,
    *,
    begun_at: datetime | None = None,
) -> Freshness:
    """How fresh a tenant is; `full` is the cron expression of its full reconciliations.

    Without a promise (the contract can't be read) nothing is judged, nor is a tenant of which nothing has run yet.
    """
    age = int((now - agreed_at).total_seconds() // 60) if agreed_at else None
    if promised_minutes is None:
        return Freshness(agreed_at, full_at, age, promised_minutes)
    if age is None:
        too_long = begun_at is not None and now - begun_at > timedelta(minutes=promised_minutes)
        return Freshness(agreed_at, full_at, age, promised_minutes, begun_at, is_stale=too_long)
    # The newest time may still be under way; the one before it is over.
    missed = last_due(full, last_due(full, now) - timedelta(seconds=1))
    return Freshness(
        agreed_at,
        full_at,
        age,
        promised_minutes,
        is_stale=age > promised_minutes,
        misses_full=full_at is None or full_at < missed,
    )
