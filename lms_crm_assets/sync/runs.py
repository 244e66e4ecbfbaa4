"""The runs that send: which plan each sent, who or what started it, and what it left of the plan.

Owns the tables `sync.runs` and `sync.unsent`. With the plans and outcomes they tell who changed what (`lms_crm_assets.audit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.warehouse.sql import literal


@dataclass(frozen=True)
class SyncRun:
    """A run that is about to send a plan; `events` are the delivery ids of the events that it took."""

    sync_run_id: str
    plan_id: str
    started_by: str
    events: Sequence[str]
    links_apart: bool
    began_at: datetime


def note_run(con: duckdb.DuckDBPyConnection, run: SyncRun) -> None:
    """Keep a run before its first call; it sends one plan, and after its first object it is known already."""
    con.execute(
        "INSERT INTO sync.runs SELECT $1, $2, $3, $4::VARCHAR[], $5, $6"
        " WHERE NOT EXISTS (SELECT 1 FROM sync.runs WHERE sync_run_id = $1)",
        [run.sync_run_id, run.plan_id, run.started_by, list(run.events), run.links_apart, run.began_at],
    )


def note_unsent(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Keep which planned fields the journal's lines in the table `folded` don't have: only those that are filled while empty."""
    if not spec.only_filled:
        return
    names = ", ".join(literal(name) for name in sorted(spec.only_filled))
    con.execute(
        f"INSERT INTO sync.unsent SELECT {literal(spec.object)}, external_id, sync_run_id, c.field FROM"
        " (SELECT f.external_id, f.sync_run_id, f.values, unnest(p.changes) AS c FROM folded f"
        " JOIN sync.runs r USING (sync_run_id) JOIN delta.plan_rows p ON p.plan_id = r.plan_id"
        f" AND p.object = {literal(spec.object)} AND p.external_id = f.external_id WHERE f.operation = 'upsert')"
        f" WHERE c.written AND c.field IN ({names}) AND NOT map_contains(values, c.field)"
    )


def drop_runs(con: duckdb.DuckDBPyConnection, oldest: datetime) -> None:
    """Forget the runs that began before `oldest` and have no outcomes any more."""
    con.execute(
        "DELETE FROM sync.runs WHERE began_at < $1 AND sync_run_id NOT IN (SELECT sync_run_id FROM sync.outcomes)",
        [oldest],
    )
    con.execute("DELETE FROM sync.unsent WHERE sync_run_id NOT IN (SELECT sync_run_id FROM sync.runs)")
