"""Push or pull: where events are too many or the CRM too slow, a tenant's events wait for its scheduled runs.

Owns the table `modes`. The contract says the mode that is wished for; backpressure switches to pull at the first window
that is beyond its limits, and back after three good ones in a row.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

from lms_crm_assets.contract.webhooks import Backpressure
from lms_crm_assets.ops.store import OperationalStore

_log = structlog.get_logger(__name__)

GOOD_WINDOWS = 3


class Mode(StrEnum):
    """How a tenant's changes arrive."""

    PUSH = "push"
    PULL = "pull"
    HYBRID = "hybrid"


@dataclass(frozen=True)
class Sample:
    """How things stand: events that wait, how long the oldest does, how the CRM answers (None: hardly asked)."""

    depth: int
    oldest_seconds: float
    crm_p95_seconds: float | None = None
    breaker_open: bool = False


@dataclass(frozen=True)
class Standing:
    """A tenant's place: whether it is switched to pull, why, since when, and how many good windows in a row it had."""

    switched: bool = False
    reason: str = ""
    since: float = 0.0
    looked_at: float = 0.0
    good: int = 0

    def mode(self, wished: Mode) -> Mode:
        """The mode that counts, where the contract wishes for that one."""
        return Mode.PULL if self.switched else wished


def beyond(sample: Sample, limits: Backpressure) -> str:
    """Which limit is passed, in plain words; empty where none is."""
    if sample.breaker_open:
        return "the CRM does not answer"
    if sample.crm_p95_seconds is not None and sample.crm_p95_seconds > limits.crm_p95_seconds:
        return f"the CRM's answers take {sample.crm_p95_seconds:.1f} s at the 95th percentile"
    if sample.depth > limits.depth:
        return f"{sample.depth:,} events wait"
    if sample.oldest_seconds > limits.oldest_seconds:
        return f"the oldest event waits for {sample.oldest_seconds:.0f} s"
    return ""


def following(standing: Standing, sample: Sample, limits: Backpressure, now: float) -> Standing:
    """The place after one more look; looks within a window of a good one count as one."""
    if why := beyond(sample, limits):
        since = standing.since if standing.switched else now
        return Standing(switched=True, reason=why, since=since, looked_at=now)
    if not standing.switched:
        return standing
    if now - standing.looked_at < limits.window_seconds:
        return standing
    good = standing.good + 1
    if good >= GOOD_WINDOWS:
        return Standing(since=now, looked_at=now)
    return replace(standing, good=good, looked_at=now)


@dataclass(frozen=True)
class Modes:
    """The tenants' places in a store."""

    store: OperationalStore

    def standing(self, tenant: str) -> Standing:
        """The tenant's place as it was looked at last."""
        found = self.store.read(
            "SELECT switched, reason, since, looked_at, good FROM modes WHERE tenant = ?", (tenant,)
        )
        if not found:
            return Standing()
        switched, reason, since, looked_at, good = found[0]
        return Standing(bool(switched), reason, since, looked_at, good)

    def now(self, tenant: str, wished: Mode) -> Mode:
        """The mode that counts, as it was looked at last."""
        return self.standing(tenant).mode(wished)

    def look(self, tenant: str, wished: Mode, sample: Sample, limits: Backpressure) -> Mode:
        """Look once more; the mode that counts now."""
        before = self.standing(tenant)
        after = following(before, sample, limits, self.store.clock())
        if after != before:
            with self.store.transaction(on=tenant) as run:
                run(
                    "INSERT INTO modes (tenant, switched, reason, since, looked_at, good) VALUES (?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (tenant) DO UPDATE SET switched = excluded.switched, reason = excluded.reason,"
                    " since = excluded.since, looked_at = excluded.looked_at, good = excluded.good",
                    (tenant, int(after.switched), after.reason, after.since, after.looked_at, after.good),
                )
        if after.switched != before.switched:
            mode = after.mode(wished).value
            _log.warning("mode_switched", tenant=tenant, mode=mode, reason=after.reason, events=sample.depth)
        return after.mode(wished)
