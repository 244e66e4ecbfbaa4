"""The calls that a system allows a day, as its answers tell; a share of them is kept for everybody else."""

import math
from dataclasses import dataclass

from lms_crm_assets.ops.store import OperationalStore

# What was told longer ago says little: one call may ask again.
_OLD_SECONDS = 600.0


@dataclass(frozen=True)
class Quota:
    """The quota of the system `name`."""

    store: OperationalStore
    name: str

    def told(self, used: int, allowed: int) -> None:
        """An answer says how many calls were used of how many."""
        with self.store.transaction(on=self.name) as run:
            run(
                "INSERT INTO quotas (name, used, allowed, told_at) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
                " DO UPDATE SET used = excluded.used, allowed = excluded.allowed, told_at = excluded.told_at",
                (self.name, used, allowed, self.store.clock()),
            )

    def known(self, within_seconds: float = math.inf) -> tuple[int, int] | None:
        """Calls used and allowed a day, as told last; None when nobody was told within so many seconds."""
        found = self.store.read("SELECT used, allowed, told_at FROM quotas WHERE name = ?", (self.name,))
        if not found or self.store.clock() - found[0][2] > within_seconds:
            return None
        return found[0][0], found[0][1]

    def exhausted(self) -> None:
        """The system refused a call since the day's calls are used up."""
        used, allowed = self.known() or (1, 1)
        self.told(max(used, allowed), allowed)

    def is_used_up(self, share: float, within_seconds: float = _OLD_SECONDS) -> tuple[int, int] | None:
        """Used and allowed calls when more than `share` of them are used, as far as was told of late."""
        found = self.store.read(
            "SELECT used, allowed FROM quotas WHERE name = ? AND used >= allowed * ? AND abs(told_at - ?) < ?",
            (self.name, share, self.store.clock(), within_seconds),
        )
        return (found[0][0], found[0][1]) if found else None
