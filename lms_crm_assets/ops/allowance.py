"""How often somebody may call us: a token bucket a name, in one row that every process sees (GCRA).

Unlike `pace`, which waits for a turn towards others, this answers at once whether a call is allowed. Owns `allowances`.
"""

import math
from dataclasses import dataclass

from lms_crm_assets.ops.store import OperationalStore

TABLES = """
CREATE TABLE IF NOT EXISTS allowances (name TEXT PRIMARY KEY, full_at DOUBLE PRECISION NOT NULL);
"""

_SET_BACK_SECONDS = 1.0

# `full_at`: when the bucket is full again. Each call moves it by one interval; a second further ahead
# than the bucket is deep it can only be after a clock was set back.
_TAKE = """
UPDATE allowances SET full_at = ? + CASE WHEN full_at > ? AND full_at <= ? THEN full_at ELSE ? END
WHERE name = ? AND (full_at <= ? OR full_at > ?) RETURNING full_at
"""


@dataclass(frozen=True)
class Taken:
    """Whether a call is allowed, how many more are, and in how many seconds all are again.

    `retry_after_seconds`: when the next one is, after a refusal.
    """

    allowed: bool
    remaining: int
    full_in_seconds: float
    retry_after_seconds: float = 0.0


@dataclass(frozen=True)
class Allowance:
    """`per_second` calls of `name`, of which `burst` may come at once."""

    store: OperationalStore
    name: str
    per_second: float
    burst: int

    @property
    def window_seconds(self) -> int:
        """In which an empty bucket fills."""
        return max(1, math.ceil(self.burst / self.per_second))

    def take(self) -> Taken:
        """Ask for one call."""
        interval = 1 / self.per_second
        depth = self.burst * interval
        with self.store.transaction(on=self.name) as run:
            # Not before it is our turn: what waited would take others' calls for ones of the future.
            now = self.store.clock()
            latest, far = now + depth - interval, now + depth + _SET_BACK_SECONDS
            run("INSERT INTO allowances (name, full_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (self.name, now))
            taken = run(_TAKE, (interval, now, far, now, self.name, latest, far))
            [[full_at]] = taken or run("SELECT full_at FROM allowances WHERE name = ?", (self.name,))
        remaining = max(0, math.floor((now + depth - full_at) / interval + 1e-6))
        return Taken(bool(taken), remaining, full_at - now, 0.0 if taken else full_at - latest)
