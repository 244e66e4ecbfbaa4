"""How fast one system is asked: a limit on calls in a sliding window, shared by processes, that learns from refusals.

Each call reserves the next free turn and waits for it, so that whoever comes first goes first and nobody polls. The
limit is the lower one of the contract's and of what the system's headers tell; a refusal cuts it by 0.7 and lets it grow
back slowly (facts: reliability, "Rate limiting: measured").
"""

from dataclasses import dataclass

from lms_crm_assets.ops.store import OperationalStore, Run

# The other side counts arrivals, we count departures: a little more than its window keeps jitter within the limit.
_JITTER_SECONDS = 0.2
_CUT = 0.7
# Of the limit, a second: 0.25 calls/s of 19/s.
_GROWTH = 0.0125
# Turns further ahead than this are left from a clock that was set back.
_FURTHEST_SECONDS = 3600.0


@dataclass(frozen=True)
class Pace:
    """At most `calls` calls in any `window_seconds` towards the system `name`; None: as many as its answers allow."""

    store: OperationalStore
    name: str
    calls: int | None
    window_seconds: float = 10.0

    def turn(self) -> float:
        """Take the next free turn; gives the seconds until then."""
        now = self.store.clock()
        window = self.window_seconds + _JITTER_SECONDS
        with self.store.transaction(on=self.name) as run:
            limit, not_before = self._limit(run, now)
            if limit is None and not_before <= now:
                return 0.0
            run(
                "DELETE FROM turns WHERE name = ? AND (at < ? OR at > ?)",
                (self.name, now - window, now + _FURTHEST_SECONDS),
            )
            at = max(now, not_before)
            if limit is not None:
                found = run(
                    "SELECT at FROM turns WHERE name = ? ORDER BY at DESC LIMIT 1 OFFSET ?", (self.name, limit - 1)
                )
                at = max(at, found[0][0] + window) if found else at
            run("INSERT INTO turns (name, at) VALUES (?, ?)", (self.name, at))
        return float(at - now)

    def told(self, calls: int) -> None:
        """The system's headers say how many calls its window holds."""
        known = self.store.read("SELECT told FROM pace WHERE name = ?", (self.name,))
        if known and known[0][0] == calls:
            return
        with self.store.transaction(on=self.name) as run:
            self._ensure(run)
            run("UPDATE pace SET told = ? WHERE name = ?", (calls, self.name))

    def refused(self, retry_after_seconds: float | None) -> None:
        """The system refused a call for its rate: everybody waits for so long, and goes on more slowly.

        Of the refusals that one burst gets only the first cuts the limit.
        """
        now = self.store.clock()
        with self.store.transaction(on=self.name) as run:
            self._ensure(run)
            limit, _ = self._limit(run, now)
            (cut_at,) = run("SELECT cut_at FROM pace WHERE name = ?", (self.name,))[0]
            if limit is not None and (cut_at is None or now - cut_at > self.window_seconds / 2 or cut_at > now):
                run(
                    "UPDATE pace SET level = ?, level_at = ?, cut_at = ? WHERE name = ?",
                    (max(1.0, limit * _CUT), now, now, self.name),
                )
            if retry_after_seconds:
                self._wait_until(run, now + retry_after_seconds)

    def hold(self, seconds: float) -> None:
        """Everybody waits for so long; the limit stays as it is."""
        with self.store.transaction(on=self.name) as run:
            self._ensure(run)
            self._wait_until(run, self.store.clock() + seconds)

    def _wait_until(self, run: Run, moment: float) -> None:
        run(
            "UPDATE pace SET not_before = ? WHERE name = ? AND coalesce(not_before, 0) < ?",
            (moment, self.name, moment),
        )

    def _limit(self, run: Run, now: float) -> tuple[int | None, float]:
        """The calls that the window may hold now, and the moment before which there are none."""
        found = run("SELECT told, level, level_at, not_before FROM pace WHERE name = ?", (self.name,))
        told, level, level_at, not_before = found[0] if found else (None, None, None, None)
        ceiling = min((n for n in (self.calls, told) if n is not None), default=None)
        if not_before is None or not_before > now + _FURTHEST_SECONDS:
            not_before = 0.0
        if ceiling is None or level is None:
            return ceiling, not_before
        grown = level + ceiling * _GROWTH * max(0.0, now - (level_at or now))
        return max(1, min(ceiling, int(grown))), not_before

    def _ensure(self, run: Run) -> None:
        run("INSERT INTO pace (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (self.name,))
