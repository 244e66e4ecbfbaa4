"""The ledger after a restore: what the CRM holds now counts once as what we last wrote.

A ledger from a backup says what we wrote before it. What we wrote since would look as if somebody had edited the CRM: a
record that the LMS changed twice would be a conflict, one that it changed back would be drift. Nobody can tell our writes
from those of others any more, so the CRM's values of the fields that we had written are taken for ours. Whose record it is
stays as the ledger says: none is archived that we are not known to have made.
"""

from math import ceil

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.delta.compare import live_side
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.warehouse.sql import literal, quoted, scalar

RESTORED_BY = "restore"
"""What stands in the ledger in place of the run that wrote."""

# The maps of a million records at once need more than a warehouse's memory.
_PART_ROWS = 200_000


def note_restored(con: duckdb.DuckDBPyConnection) -> None:
    """The warehouse came from a backup just now: the next delta of each object catches up."""
    con.execute("DELETE FROM sync.restored")
    con.execute("INSERT INTO sync.restored SELECT unnest($1::VARCHAR[]), now()", [[str(obj) for obj in CrmObject]])


def catch_up(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> int:
    """Take the CRM's values into an object's ledger, if it came from a backup; gives the records that it is about.

    Needs a snapshot of the CRM that is newer than the restore, inside a transaction.
    """
    here = literal(spec.object)
    if not scalar(con, f"SELECT count(*) FROM sync.restored WHERE object = {here}"):
        return 0
    parts = max(1, ceil(scalar(con, f"SELECT count(*) FROM sync.ledger WHERE object = {here}") / _PART_ROWS))
    caught_up = sum(_catch_up_part(con, spec, f"hash(external_id) % {parts} = {part}") for part in range(parts))
    con.execute(f"DELETE FROM sync.restored WHERE object = {here}")
    return caught_up


def _catch_up_part(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, part: str) -> int:
    here = literal(spec.object)
    names = ", ".join(literal(name) for name in spec.fields)
    values = ", ".join(f"l.{quoted(name)}" for name in spec.fields)
    held = f"MAP([{names}]::VARCHAR[], [{values}]::VARCHAR[])"
    # Only what we had written, and what the contract still names: all else never was ours.
    ours = "list_filter(map_keys(g.was), lambda k: map_contains(g.held, k))"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE caught_up AS SELECT g.external_id, to_json(map_concat(g.was,"
        f" map_from_entries(list_transform({ours}, lambda k: {{'key': k, 'value': g.held[k]}})))) AS applied"
        f" FROM (SELECT external_id, applied::MAP(VARCHAR, VARCHAR) AS was, {held} AS held FROM sync.ledger"
        f" JOIN ({live_side(spec, part)}) l USING (external_id) WHERE object = {here} AND {part}) g"
    )
    con.execute(
        f"DELETE FROM caught_up USING sync.ledger g WHERE g.object = {here} AND g.external_id = caught_up.external_id"
        " AND g.applied = caught_up.applied"
    )
    con.execute(
        "INSERT INTO sync.ledger_history SELECT g.*, now() FROM sync.ledger g"
        f" SEMI JOIN caught_up USING (external_id) WHERE object = {here}"
    )
    con.execute(
        f"UPDATE sync.ledger SET applied = c.applied, sync_run_id = {literal(RESTORED_BY)}, synced_at = now()"
        f" FROM caught_up c WHERE object = {here} AND ledger.external_id = c.external_id"
    )
    found = scalar(con, "SELECT count(*) FROM caught_up")
    con.execute("DROP TABLE caught_up")
    return found
