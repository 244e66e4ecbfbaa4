"""Reading back what was written: the proof that the CRM holds what the plan said, value by value.

What is read replaces the acknowledged values in the snapshot, so that the next delta starts from the truth.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.delta.compare import live_side
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.masking import masked, safe_key, shortened
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.snapshot.capture import land_records, parent_column, refresh_snapshot
from lms_crm_assets.telemetry.logs import carried
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, quoted, scalar

MOST_RECORDS = 10_000
"""Of larger deliveries so many records are read back, spread evenly over the keys."""

# Two calls to either CRM, so that a few hundred records are read side by side too.
_CHUNK = 200


@dataclass(frozen=True)
class Convergence:
    """How many written records were read back, and a sample of the fields that are not as they were written.

    `records_differing`: how many records these are. `standing`: of how many other records the same was found before and has
    not changed since.
    """

    written: int
    read: int
    differing: list[dict[str, str]]
    standing: int = 0
    records_differing: int = 0


def read_back(
    crm: CrmAdapter,
    spec: ObjectSpec,
    plan_id: str,
    sync_run_id: str,
    open_warehouse: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
    folder: Path,
    *,
    lane: Lane = Lane.FULL,
) -> Convergence:
    """Read the records that this run wrote and compare them with the plan.

    A full run knows of every record that it need not write that it is as it should be; a run of events of its own alone.
    """
    file = folder / f"{spec.object}.{sync_run_id}.back"
    with open_warehouse() as con:
        written, keys = _written(con, spec, sync_run_id)
        if lane is Lane.FULL:
            con.execute("DELETE FROM sync.unconverged WHERE object = $1", [spec.object])
        if not keys:
            return Convergence(written, 0, [], standing_differences(con, spec.object))
    chunks = [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)]
    try:
        with ThreadPoolExecutor(max_workers=crm.concurrency, thread_name_prefix="back") as pool:
            try:
                land_records(pool.map(carried(partial(crm.read, spec)), chunks), file)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        with open_warehouse() as con, transaction(con):
            con.execute("CREATE OR REPLACE TEMP TABLE asked AS SELECT unnest($1::VARCHAR[]) AS external_id", [keys])
            refresh_snapshot(con, spec, file, keys)
            differing = _differing(con, spec, plan_id)
            ours = _note_unconverged(con, spec.object)
            standing = standing_differences(con, spec.object) - ours
            con.execute("DROP TABLE asked; DROP TABLE differing")
    finally:
        file.unlink(missing_ok=True)
    return Convergence(written, len(keys), differing, standing, ours)


def standing_differences(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> int:
    """How many records did not hold what was written when they were read back, and are not known to hold it since."""
    return int(scalar(con, "SELECT count(*) FROM sync.unconverged WHERE object = $1", [obj]))


def _note_unconverged(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> int:
    """Of what was `asked` the records that are `differing` are kept; gives how many those are."""
    con.execute("DELETE FROM sync.unconverged WHERE object = $1 AND external_id IN (FROM asked)", [obj])
    con.execute("INSERT INTO sync.unconverged SELECT DISTINCT $1, external_id FROM differing", [obj])
    return int(scalar(con, "SELECT count(DISTINCT external_id) FROM differing"))


def _written(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, sync_run_id: str) -> tuple[int, list[str]]:
    done = (
        f"(SELECT external_id FROM sync.outcomes WHERE object = {literal(spec.object)} AND sync_run_id = $1"
        " AND operation <> 'archive' GROUP BY ALL HAVING bool_and(status = 'succeeded'))"
        # What another run has written since is that one's to read back.
        f" ANTI JOIN (SELECT external_id FROM sync.outcomes WHERE object = {literal(spec.object)} AND sync_run_id <> $1"
        " AND synced_at > (SELECT min(synced_at) FROM sync.outcomes WHERE sync_run_id = $1)) USING (external_id)"
    )
    written = scalar(con, f"SELECT count(*) FROM {done}", [sync_run_id])
    chosen = f"SELECT external_id FROM {done} ORDER BY hash(external_id) LIMIT {MOST_RECORDS}"
    return written, [row[0] for row in con.execute(chosen, [sync_run_id]).fetchall()]


def _differing(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, plan_id: str) -> list[dict[str, str]]:
    """Make the temp table `differing` of fields and links of the plan that the CRM does not hold; gives a sample."""
    keys = ", ".join(literal(name) for name in spec.fields)
    values = ", ".join(f"l.{quoted(name)}" for name in spec.fields)
    fields = (
        "SELECT external_id, c.field, c.new AS wrote, held[c.field] AS holds FROM (SELECT p.external_id,"
        f" unnest(list_filter(p.changes, lambda c: c.written)) AS c, map([{keys}], [{values}]::VARCHAR[]) AS held"
        " FROM planned p LEFT JOIN live l USING (external_id)) WHERE held[c.field] IS DISTINCT FROM c.new"
    )
    links = [
        f"SELECT p.external_id, {literal(parent)}, p.parents[{literal(parent)}],"
        f" coalesce(o.external_id, l.{parent_column(parent)}) FROM planned p LEFT JOIN live l USING (external_id)"
        f" LEFT JOIN crm_snapshot.{parent} o ON o.crm_id = l.{parent_column(parent)}"
        f" WHERE p.parents[{literal(parent)}] IS NOT NULL AND o.external_id IS DISTINCT FROM p.parents[{literal(parent)}]"
        for parent in spec.parents
    ]
    con.execute(
        "CREATE OR REPLACE TEMP TABLE differing AS WITH planned AS (SELECT * FROM delta.plan_rows SEMI JOIN asked USING (external_id)"
        f" WHERE plan_id = $1 AND object = {literal(spec.object)}),"
        f" live AS ({live_side(spec, 'external_id IN (SELECT external_id FROM asked)')}) "
        + " UNION ALL ".join([fields, *links]),
        [plan_id],
    )
    rows = con.execute("FROM differing ORDER BY 1, 2 LIMIT 50").fetchall()
    personal = {name for name, field in spec.fields.items() if field.pii}
    return [
        {
            "external_id": safe_key(key),
            "field": field,
            "wrote": masked(wrote) if field in personal else shortened(wrote),
            "holds": masked(holds) if field in personal else shortened(holds),
        }
        for key, field, wrote, holds in rows
    ]
