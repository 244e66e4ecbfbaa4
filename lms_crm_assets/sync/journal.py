"""The journal: what became of each record, durable before the next batch counts as done.

A line a record in an NDJSON file, flushed to the disk batch by batch while the warehouse is closed; folded into the
warehouse when the delivery ends, or before the next one when it was killed. Owns `sync.ledger`, `sync.ledger_history`,
`sync.outcomes` and, with `rejections`, `sync.rejections`.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import orjson

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import Action, CrmObject, Outcome, OutcomeStatus
from lms_crm_assets.snapshot.capture import ensure_snapshot, parent_column, replace_rows
from lms_crm_assets.sync.rejections import note_rejections
from lms_crm_assets.sync.runs import drop_runs, note_unsent
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, quoted

_LINES = (
    "read_json($file, format = 'newline_delimited', ignore_errors = true, columns = {external_id: 'VARCHAR',"
    " operation: 'VARCHAR', action: 'VARCHAR', status: 'VARCHAR', crm_id: 'VARCHAR', code: 'VARCHAR',"
    " message: 'VARCHAR', 'values': 'MAP(VARCHAR, VARCHAR)', parents: 'MAP(VARCHAR, VARCHAR)', payload: 'VARCHAR', batch_id: 'VARCHAR',"
    " sync_run_id: 'VARCHAR', synced_at: 'TIMESTAMPTZ'})"
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent of one record: `values` by CRM field, `parents` by object → external id."""

    operation: str
    action: Action
    values: Mapping[str, str | None]
    parents: Mapping[str, str]
    crm_id: str = ""

    @property
    def payload(self) -> str:
        """What tells whether a record is sent with the same values again; of an archive, whether it is the same record."""
        target = self.crm_id if self.action is Action.ARCHIVE else ""
        text = orjson.dumps([dict(self.values), dict(self.parents), target], option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(text, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One outcome with what was sent."""

    outcome: Outcome
    sent: Sent


class Journal:
    """The open journal of one phase of a delivery: upserts, or the links to one parent."""

    def __init__(self, file: Path, sync_run_id: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file = file
        self._sync_run_id = sync_run_id
        self._lines = file.open("ab")
        # Whoever recovers journals leaves those alone that somebody still writes.
        fcntl.flock(self._lines, fcntl.LOCK_EX)

    def note(self, batch_id: str, entries: Iterable[Entry], now: datetime) -> None:
        """Write one batch's outcomes through to the disk."""
        for entry in entries:
            line = {
                "external_id": entry.outcome.external_id,
                "operation": entry.sent.operation,
                "action": entry.sent.action,
                "status": entry.outcome.status,
                "crm_id": entry.outcome.crm_id,
                "code": entry.outcome.code,
                "message": entry.outcome.message,
                "values": entry.sent.values,
                "parents": entry.sent.parents,
                # Only a refused record is compared with what is sent later.
                "payload": entry.sent.payload if entry.outcome.status is OutcomeStatus.REJECTED else None,
                "batch_id": batch_id,
                "sync_run_id": self._sync_run_id,
                "synced_at": now,
            }
            self._lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._lines.close()


def fold(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, file: Path) -> None:
    """Take a journal into outcomes and ledger, and what is younger than the snapshot into that; then remove it.

    A line cut short by a kill is left out: its batch is in doubt, and the next snapshot tells.
    """
    with transaction(con):
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE folded AS SELECT * FROM {_LINES} WHERE external_id IS NOT NULL",
            {"file": str(file)},
        )
        con.execute(
            f"INSERT INTO sync.outcomes SELECT {literal(spec.object)}, external_id, operation, action, status, crm_id,"
            " code, message, batch_id, sync_run_id, synced_at FROM folded"
        )
        note_rejections(con, spec.object)
        note_unsent(con, spec)
        # A record has a line for each link that was taken away, which is no state of its own.
        con.execute(
            "CREATE OR REPLACE TEMP TABLE folded AS FROM folded WHERE status = 'succeeded' AND operation NOT LIKE 'unlink %'"
            " QUALIFY row_number() OVER (PARTITION BY external_id ORDER BY synced_at DESC) = 1"
        )
        ensure_snapshot(con, spec)
        _forget_archived(con, spec)
        _update_ledger(con, spec.object)
        _update_snapshot(con, spec)
        con.execute("DROP TABLE folded")
    file.unlink()


def recover(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, folder: Path) -> int:
    """Fold the journals that killed deliveries of this object left behind; gives their number."""
    left = [file for file in sorted(folder.glob(f"{spec.object}.*.ndjson")) if not is_written(file)]
    for file in left:
        fold(con, spec, file)
    return len(left)


def drop_older(con: duckdb.DuckDBPyConnection, oldest: datetime) -> None:
    """Forget the outcomes, with the runs that have no others, and the replaced states of the ledger from before `oldest`."""
    con.execute("DELETE FROM sync.outcomes WHERE synced_at < $1", [oldest])
    drop_runs(con, oldest)
    con.execute("DELETE FROM sync.ledger_history WHERE replaced_at < $1", [oldest])


def is_written(file: Path) -> bool:
    """Whether somebody holds the file to write on: its delivery is alive."""
    with file.open("rb") as lines:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _forget_archived(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Archived records are no longer ours: they leave the ledger, and the snapshot with them."""
    archived = "(SELECT external_id FROM folded WHERE operation = 'archive')"
    con.execute(
        "INSERT INTO sync.ledger_history SELECT g.*, f.synced_at FROM sync.ledger g JOIN folded f USING (external_id)"
        f" WHERE g.object = {literal(spec.object)} AND f.operation = 'archive'"
    )
    con.execute(f"DELETE FROM sync.ledger WHERE object = {literal(spec.object)} AND external_id IN {archived}")
    con.execute(
        f"DELETE FROM crm_snapshot.{spec.object} s USING folded f WHERE f.operation = 'archive'"
        " AND s.external_id = f.external_id AND f.synced_at > s.captured_at"
    )
    con.execute("DELETE FROM folded WHERE operation = 'archive'")


def _update_ledger(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> None:
    """Take up what is new to the ledger; what it said before goes into its history."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE entry AS SELECT * EXCLUDE (old_id, old_applied) FROM ("
        f"SELECT {literal(obj)} AS object, f.external_id, coalesce(f.crm_id, g.crm_id) AS crm_id,"
        " to_json(map_concat(coalesce(g.applied, '{}')::MAP(VARCHAR, VARCHAR), f.values)) AS applied,"
        " f.sync_run_id, f.synced_at, g.crm_id AS old_id, g.applied AS old_applied FROM folded f"
        f" LEFT JOIN sync.ledger g ON g.object = {literal(obj)} AND g.external_id = f.external_id)"
        " WHERE old_applied IS DISTINCT FROM applied OR old_id IS DISTINCT FROM crm_id"
    )
    con.execute(
        "INSERT INTO sync.ledger_history"
        " SELECT g.*, e.synced_at FROM sync.ledger g JOIN entry e USING (object, external_id)"
    )
    replace_entries(con, obj)
    con.execute("DROP TABLE entry")


def replace_entries(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> None:
    """Put the rows of the temp table `entry` in the place of what the ledger says of these records, in a transaction.

    To delete and insert takes a fraction of a MERGE's time and leaves a smaller file (`benchmarks/state.py`).
    """
    con.execute(
        f"DELETE FROM sync.ledger g USING entry e WHERE g.object = {literal(obj)} AND g.external_id = e.external_id"
    )
    con.execute("INSERT INTO sync.ledger BY NAME FROM entry")


def _update_snapshot(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Bring the snapshot to what the CRM acknowledged since, so that the next delta needs no new one."""
    table = f"crm_snapshot.{spec.object}"
    fields = "".join(
        f", CASE WHEN map_contains(f.values, {literal(name)}) THEN f.values[{literal(name)}]"
        f" ELSE s.{quoted(name)} END AS {quoted(name)}"
        for name in spec.fields
    )
    parents = "".join(
        f", coalesce(p_{parent}.crm_id, s.{parent_column(parent)}) AS {parent_column(parent)}"
        for parent in spec.parents
    )
    joins = "".join(
        f" LEFT JOIN crm_snapshot.{parent} p_{parent} ON p_{parent}.external_id = f.parents[{literal(parent)}]"
        for parent in spec.parents
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE fresh AS SELECT f.external_id, coalesce(f.crm_id, s.crm_id) AS crm_id"
        f"{fields}{parents}, f.synced_at AS captured_at FROM folded f LEFT JOIN {table} s USING (external_id){joins}"
        # What was read of the CRM since is newer than what we sent.
        " WHERE f.synced_at > coalesce((SELECT greatest(captured_at, changes_read_at) FROM crm_snapshot.captures WHERE"
        f" object = {literal(spec.object)}), TIMESTAMPTZ '1970-01-01 00:00:00+00')"
        " AND f.synced_at > coalesce(s.captured_at, TIMESTAMPTZ '1970-01-01 00:00:00+00')"
    )
    replace_rows(con, spec, "fresh", "FROM fresh")
    con.execute("DROP TABLE fresh")
