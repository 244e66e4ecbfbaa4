"""The circuit breaker of one system: after many failing calls in a row nobody asks it for a while, then one call probes.

Shared by processes: what one run found out, the next one knows.
"""

from dataclasses import dataclass
from enum import Enum

import structlog

from lms_crm_assets.ops.store import OperationalStore

_log = structlog.get_logger(__name__)

FAILING_CALLS = 20
"""In a row (facts: reliability, "opens within 20 failing calls"); half of all calls failing by chance is a millionth of it."""

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
# A probe that nobody heard of again (its process was killed) gives the place free.
_PROBE_SECONDS = 180.0


class Verdict(Enum):
    """Whether a call may be made."""

    PASS = "pass"  # noqa: S105 - no password
    PROBE = "probe"
    WAIT = "wait"


@dataclass(frozen=True)
class State:
    """Where the breaker stands: how long to wait, for how long the system has not answered, whether a probe is under way."""

    verdict: Verdict
    wait_seconds: float = 0.0
    down_seconds: float = 0.0
    is_probed: bool = False


@dataclass(frozen=True)
class Breaker:
    """The breaker of the system `name`."""

    store: OperationalStore
    name: str

    def ask(self) -> State:
        """Whether a call may be made now; of all who ask while it is open, one gets the probe."""
        found = self.store.read("SELECT opened_at FROM breakers WHERE name = ?", (self.name,))
        if not found or found[0][0] is None:
            return State(Verdict.PASS)
        now = self.store.clock()
        with self.store.transaction(on=self.name) as run:
            found = run("SELECT opened_at, closed_until, probing_until FROM breakers WHERE name = ?", (self.name,))
            if not found or found[0][0] is None:
                return State(Verdict.PASS)  # closed by an answer since we looked
            opened_at, until, probing_until = found[0]
            down = max(0.0, now - opened_at)
            if now < until <= now + _LONGEST_PAUSE_SECONDS:
                return State(Verdict.WAIT, until - now, down)
            if probing_until is not None and now < probing_until <= now + _PROBE_SECONDS:
                return State(Verdict.WAIT, 1.0, down, is_probed=True)
            run("UPDATE breakers SET probing_until = ? WHERE name = ?", (now + _PROBE_SECONDS, self.name))
            return State(Verdict.PROBE, 0.0, down)

    def give_back(self) -> None:
        """The probe's call is not made: somebody else may probe."""
        with self.store.transaction(on=self.name) as run:
            run("UPDATE breakers SET probing_until = NULL WHERE name = ?", (self.name,))

    def down_seconds(self) -> float | None:
        """For how long the breaker has been open, None when it is closed; asking makes nobody the probe."""
        found = self.store.read("SELECT opened_at FROM breakers WHERE name = ?", (self.name,))
        return max(0.0, self.store.clock() - found[0][0]) if found and found[0][0] is not None else None

    def succeeded(self) -> None:
        """A call was answered."""
        known = self.store.read("SELECT 1 FROM breakers WHERE name = ? AND failures > 0", (self.name,))
        if known:
            with self.store.transaction(on=self.name) as run:
                gone = run("DELETE FROM breakers WHERE name = ? RETURNING opened_at", (self.name,))
            if gone and gone[0][0] is not None:
                down_seconds = round(max(0.0, self.store.clock() - gone[0][0]))
                _log.warning("breaker_closed", system=self.name, down_seconds=down_seconds)

    def failed(self) -> None:
        """A call was not answered, or with an error of the system's own."""
        now = self.store.clock()
        with self.store.transaction(on=self.name) as run:
            run("INSERT INTO breakers (name, failures) VALUES (?, 0) ON CONFLICT (name) DO NOTHING", (self.name,))
            failures, opened_at, pause, probing_until = run(
                "UPDATE breakers SET failures = failures + 1 WHERE name = ?"
                " RETURNING failures, opened_at, pause, probing_until",
                (self.name,),
            )[0]
            if opened_at is None and failures >= FAILING_CALLS:
                opened_at, pause = now, _FIRST_PAUSE_SECONDS
                _log.warning("breaker_opened", system=self.name, failures=failures)
            elif opened_at is not None and probing_until is not None:
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return  # not open, or a call that was under way when it opened
            run(
                "UPDATE breakers SET opened_at = ?, pause = ?, closed_until = ?, probing_until = NULL WHERE name = ?",
                (opened_at, pause, now + pause, self.name),
            )
