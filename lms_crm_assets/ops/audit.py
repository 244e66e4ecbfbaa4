"""What people did beside the runs: who, when, what, of which tenant, and why.

Owns the table `audit`, to which rows are only ever added. What runs wrote is told by the warehouse (`lms_crm_assets.audit`);
here stands what no run tells of. No secret and no value of a learner is in it: a record is named by its key, which is
masked where it is made of learner data.
"""

import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lms_crm_assets.ops.database import Run
from lms_crm_assets.ops.store import OperationalStore

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that was done. `action` is `<what>.<done>`, as `switches.set`; `subject` what it was done to."""

    at: datetime
    actor: str
    action: str
    tenant: str
    subject: str
    reason: str


@dataclass(frozen=True)
class AuditLog:
    """The deeds in a store."""

    store: OperationalStore

    def note(self, actor: str, action: str, tenant: str, subject: str, reason: str = "") -> None:
        """Add one deed; it is on the disk when this returns."""
        with self.store.transaction(on=tenant, durable=True) as run:
            note_in(run, self.store.clock(), (actor, action, tenant, subject, reason))

    def deeds(self, tenant: str, since: float = 0.0) -> Iterator[Deed]:
        """A tenant's deeds since a moment, the oldest first."""
        last = 0
        while rows := self.store.read(
            "SELECT number, at, actor, action, tenant, subject, reason FROM audit"
            " WHERE tenant = ? AND at >= ? AND number > ? ORDER BY number LIMIT ?",
            (tenant, since, last, _PAGE),
        ):
            last = rows[-1][0]
            for row in rows:
                yield Deed(datetime.fromtimestamp(row[1], UTC), *row[2:])


def note_in(run: Run, at: float, deed: tuple[str, str, str, str, str]) -> None:
    """Add a deed (actor, action, tenant, subject, reason) within the transaction that does it."""
    run("INSERT INTO audit (at, actor, action, tenant, subject, reason) VALUES (?, ?, ?, ?, ?, ?)", (at, *deed))


def person(environ: Mapping[str, str] = os.environ) -> str:
    """Who is at the command line: `LMS_CRM_ACTOR`, or else the user of the operating system."""
    if named := environ.get("LMS_CRM_ACTOR", "").strip():
        return f"cli:{named}"
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without an entry
        return f"cli:uid {os.getuid()}"
