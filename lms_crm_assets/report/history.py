"""The facts of the runs so far, for reports of past runs and for the trend. Owns the table `reports` of the operational store.

Each run that read everything, or changed something, is kept. A pull that left everything as it was takes the place of the
one before it: every five minutes there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.report.facts import RunFacts, as_text, from_text

TREND_RUNS = 30
"""So many runs are in a trend."""


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One run's figures: records that did not agree at its end, that it changed, that were refused."""

    ended_at: datetime
    disagreeing: int
    changed: int
    refused: int


def keep(store: OperationalStore, facts: RunFacts) -> bool:
    """Keep a run's facts; gives whether it was more than a pull that left everything as it was."""
    figures = (facts.disagreeing, facts.sum_of("changed"), facts.refused_in_all)
    tenant, ended_at = facts.tenant, facts.ended_at.timestamp()
    with store.transaction(on=tenant) as run:
        newest = run(
            "SELECT disagreeing, refused FROM reports WHERE tenant = ? ORDER BY ended_at DESC LIMIT 1", (tenant,)
        )
        as_before = bool(newest) and tuple(newest[0]) == (figures[0], figures[2])
        is_quiet = facts.is_pull and as_before and not figures[1] and not facts.problems
        if is_quiet:
            run("DELETE FROM reports WHERE tenant = ? AND is_quiet = 1", (tenant,))
        run(
            "INSERT INTO reports (tenant, run_id, ended_at, is_quiet, disagreeing, changed, refused, facts)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, run_id) DO UPDATE SET ended_at = excluded.ended_at,"
            " is_quiet = excluded.is_quiet, disagreeing = excluded.disagreeing, changed = excluded.changed,"
            " refused = excluded.refused, facts = excluded.facts",
            (tenant, facts.run_id, ended_at, int(is_quiet), *figures, as_text(facts)),
        )
    return not is_quiet


def facts_of(store: OperationalStore, tenant: str, run_id: str = "") -> RunFacts:
    """The facts of a run, by its id or how that begins, or of the newest one; `FatalError` when there is none."""
    found = store.read(
        "SELECT facts FROM reports WHERE tenant = ? AND substr(run_id, 1, ?) = ? ORDER BY ended_at DESC LIMIT 1",
        (tenant, len(run_id), run_id),
    )
    if not found:
        which = f"run {run_id}" if run_id else "run"
        raise FatalError(
            f"no {which} of {tenant} is known that read everything or changed something; lms-crm reconcile --tenant"
            f" {tenant} makes one, and they are kept for the contract's retention_days"
        )
    return from_text(found[0][0])


def trend(store: OperationalStore, tenant: str, until: datetime, runs: int = TREND_RUNS) -> Sequence[TrendPoint]:
    """The newest runs that had ended by then, the oldest first."""
    rows = store.read(
        "SELECT ended_at, disagreeing, changed, refused FROM reports WHERE tenant = ? AND ended_at <= ?"
        " ORDER BY ended_at DESC LIMIT ?",
        (tenant, until.timestamp(), runs),
    )
    return [TrendPoint(datetime.fromtimestamp(ended_at, UTC), *figures) for ended_at, *figures in reversed(rows)]


def drop_facts(store: OperationalStore, tenant: str | None, oldest: datetime, *, dry_run: bool = False) -> int:
    """Forget the runs that ended before, of a tenant or of all; gives how many."""
    where = "ended_at < ?"
    values: list[float | str] = [oldest.timestamp()]
    if tenant is not None:
        where += " AND tenant = ?"
        values.append(tenant)
    number = int(store.read(f"SELECT count(*) FROM reports WHERE {where}", values)[0][0])
    if number and not dry_run:
        with store.transaction(on=tenant) as run:
            run(f"DELETE FROM reports WHERE {where}", tuple(values))
    return number
