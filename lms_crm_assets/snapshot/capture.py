"""Capturing one object from the CRM: pages to NDJSON, then one short load.

Owns the tables `crm_snapshot.<object>`: `external_id, crm_id`, a column for each mapped CRM field in the CRM's own
spelling, `parent_<object>` with the CRM ids of the linked parents joined by `;`, `captured_at`, and the row's
`fingerprint` (`crm/fingerprint.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import orjson
import structlog

from lms_crm_assets import interrupt
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.fingerprint import fingerprint, signature
from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.suppression import Marks
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, quoted, scalar

_log = structlog.get_logger(__name__)

_OVERLAP = timedelta(minutes=5)


def parent_column(parent: CrmObject) -> str:
    """The snapshot's column with the CRM ids of the linked parents."""
    return f"parent_{parent}"


def land_records(
    pages: Iterable[list[CrmRecord]], file: Path, progress: Callable[[int], None] = lambda _rows: None
) -> int:
    """Write the CRM's records to `file`, holding one page in memory; gives their number."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    rows = 0
    with file.open("wb") as lines:
        for records in pages:
            lines.writelines(
                orjson.dumps(
                    {
                        "external_id": record.external_id,
                        "crm_id": record.crm_id,
                        **record.values,
                        **{parent_column(parent): ";".join(ids) or None for parent, ids in record.parents.items()},
                        "line": line,
                    },
                    option=orjson.OPT_APPEND_NEWLINE,
                )
                for line, record in enumerate(records, rows)
            )
            rows += len(records)
            progress(rows)
            interrupt.check()
    _log.info("crm_read", rows=rows)
    return rows


def without_forgotten(pages: Iterable[list[CrmRecord]], obj: CrmObject, marks: Marks) -> Iterable[list[CrmRecord]]:
    """The CRM's records without those of forgotten learners, which were left there: they are not ours to look at."""
    if not marks:
        return pages
    return ([each for each in page if not marks.hold(obj.entity, each.external_id)] for page in pages)


def load_snapshot(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, file: Path, captured_at: datetime) -> None:
    """Replace `crm_snapshot.<object>` by what landed, which was read from `captured_at` on.

    Rows that are younger stay: a run of events has read or written them meanwhile, and what it archived stays away.
    `FatalError` when two records of the CRM hold the same match key: no delta can be right then.
    """
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in snapshot_columns(spec))
    with transaction(con):
        younger = _keep_younger(con, spec, captured_at)
        con.execute(
            f"CREATE OR REPLACE TABLE crm_snapshot.{spec.object} AS SELECT *, $captured_at AS captured_at,"
            f" {fingerprint(spec)} AS fingerprint FROM read_json($file,"
            f" format = 'newline_delimited', columns = {{{columns}}})",
            {"file": str(file), "captured_at": captured_at},
        )
        con.execute("DELETE FROM crm_snapshot.captures WHERE object = $1", [spec.object])
        _note_capture(con, spec, captured_at)
        if younger:
            con.execute(f"DELETE FROM crm_snapshot.{spec.object} s USING younger y WHERE s.crm_id = y.crm_id")
            replace_rows(con, spec, "younger", "FROM younger WHERE crm_id IS NOT NULL")
        _refuse_duplicates(con, spec)


def _keep_younger(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, since: datetime) -> bool:
    """Make the temp table `younger` of what is younger in the snapshot, and of archived keys without a record.

    False where there is nothing of the kind, or the snapshot is one of something else.
    """
    same = "SELECT count(*) FROM crm_snapshot.captures WHERE object = $1 AND signature = $2 AND captured_from = $3"
    if not scalar(con, same, [spec.object, _signature(spec), _captured_from(spec)]):
        return False
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE younger AS SELECT * EXCLUDE fingerprint FROM crm_snapshot.{spec.object}"
        " WHERE captured_at > $1",
        [since],
    )
    con.execute(
        "INSERT INTO younger BY NAME SELECT DISTINCT external_id FROM sync.outcomes WHERE object = $1"
        " AND operation = 'archive' AND status = 'succeeded' AND synced_at > $2"
        " AND external_id NOT IN (SELECT external_id FROM younger)",
        [spec.object, since],
    )
    return scalar(con, "SELECT count(*) FROM younger") > 0


def refresh_snapshot(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, file: Path, keys: Sequence[str]) -> None:
    """Replace the snapshot's rows of these match keys by the records that were read anew; missing ones are gone."""
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in snapshot_columns(spec))
    con.execute("CREATE OR REPLACE TEMP TABLE reread AS SELECT unnest($1::VARCHAR[]) AS external_id", [list(keys)])
    replace_rows(
        con,
        spec,
        "reread",
        f"SELECT *, now() AS captured_at FROM read_json({literal(str(file))}, format = 'newline_delimited',"
        f" columns = {{{columns}}}) SEMI JOIN reread USING (external_id)",
    )
    con.execute("DROP TABLE reread")


def not_younger(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, keys: Sequence[str], read_at: datetime) -> list[str]:
    """Those of the match keys whose rows are not younger than a reading that began then."""
    query = f"SELECT external_id FROM crm_snapshot.{spec.object} WHERE captured_at > $1"
    younger = {row[0] for row in con.execute(query, [read_at]).fetchall()}
    return [key for key in keys if key not in younger]


def merge_changes(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, file: Path, read_at: datetime) -> int:
    """Take the records that changed in the CRM into its snapshot; gives their number.

    Rows of the same record under another match key go, and those stay that are younger. `read_at`: when the reading
    began, where the next one begins.
    """
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in snapshot_columns(spec))
    with transaction(con):
        ensure_snapshot(con, spec)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE changed AS SELECT * EXCLUDE line, $read_at AS captured_at FROM read_json($file,"
            f" format = 'newline_delimited', columns = {{{columns}, line: 'BIGINT'}})"
            " QUALIFY row_number() OVER (PARTITION BY crm_id ORDER BY line DESC) = 1",
            {"file": str(file), "read_at": read_at},
        )
        con.execute(
            f"DELETE FROM changed USING crm_snapshot.{spec.object} s WHERE s.crm_id = changed.crm_id"
            " AND s.captured_at > $1",
            [read_at],
        )
        con.execute(
            "DELETE FROM changed WHERE external_id IN (SELECT external_id FROM sync.outcomes WHERE object = $1"
            " AND operation = 'archive' AND status = 'succeeded' AND synced_at > $2)",
            [spec.object, read_at],
        )
        con.execute(f"DELETE FROM crm_snapshot.{spec.object} s USING changed c WHERE s.crm_id = c.crm_id")
        replace_rows(con, spec, "changed", "FROM changed")
        _refuse_duplicates(con, spec)
        con.execute("UPDATE crm_snapshot.captures SET changes_read_at = $1 WHERE object = $2", [read_at, spec.object])
        rows = scalar(con, "SELECT count(*) FROM changed")
        con.execute("DROP TABLE changed")
    return int(rows)


def known_until(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> datetime | None:
    """The moment from which on the CRM's changes are to be read; None before the first capture.

    It lies some minutes before the last reading: clocks differ, and a change may be seen only later than it is stamped.
    """
    ensure_snapshot(con, spec)
    found = con.execute(
        "SELECT greatest(captured_at, changes_read_at) FROM crm_snapshot.captures WHERE object = $1", [spec.object]
    ).fetchone()
    return found[0] - _OVERLAP if found and found[0] else None


def replace_rows(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, keys: str, rows: str) -> None:
    """Replace the snapshot's rows with the `external_id`s of the table `keys` by those of the query `rows`.

    `rows` gives the columns of the snapshot by name, but for the fingerprint.
    """
    table, names = f"crm_snapshot.{spec.object}", ", ".join(quoted(name) for name in snapshot_columns(spec))
    con.execute(f"DELETE FROM {table} USING {keys} WHERE {table}.external_id = {keys}.external_id")
    con.execute(
        f"INSERT INTO {table} ({names}, captured_at, fingerprint) SELECT {names}, captured_at, {fingerprint(spec)}"
        f" FROM ({rows})"
    )


def ensure_snapshot(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Make an empty snapshot table where there is none yet; the fingerprints anew where the contract changed.

    `FatalError` when the contract names fields that the snapshot lacks: what the CRM holds there is not known.
    """
    columns = ", ".join(f"{quoted(name)} VARCHAR" for name in snapshot_columns(spec))
    con.execute(
        f"CREATE TABLE IF NOT EXISTS crm_snapshot.{spec.object}"
        f" ({columns}, captured_at TIMESTAMPTZ, fingerprint UBIGINT)"
    )
    there = {str(row[0]) for row in con.execute(f"DESCRIBE crm_snapshot.{spec.object}").fetchall()}
    if lacking := [name for name in snapshot_columns(spec) if name not in there]:
        raise FatalError(
            f"the contract names {', '.join(lacking)} of {spec.object} since the CRM was captured last: "
            "run a full reconciliation first"
        )
    query = "SELECT captured_from, signature FROM crm_snapshot.captures WHERE object = $1"
    held = con.execute(query, [spec.object]).fetchall()
    if not held:
        _note_capture(con, spec, None)
    elif held[0][0] != _captured_from(spec):
        raise FatalError(
            f"the contract names another CRM, object, match key or parent for {spec.object} than was captured last: "
            "run a full reconciliation first"
        )
    elif held[0][1] != _signature(spec):
        # A column that is no longer named is not kept up to date: naming it again needs a new capture.
        for name in there - {*snapshot_columns(spec), "captured_at", "fingerprint"}:
            con.execute(f"ALTER TABLE crm_snapshot.{spec.object} DROP COLUMN {quoted(name)}")
        con.execute(f"UPDATE crm_snapshot.{spec.object} SET fingerprint = {fingerprint(spec)}")
        con.execute(
            "UPDATE crm_snapshot.captures SET signature = $1 WHERE object = $2", [_signature(spec), spec.object]
        )


def snapshot_columns(spec: ObjectSpec) -> list[str]:
    """The text columns of an object's snapshot, in order."""
    return ["external_id", "crm_id", *spec.fields, *(parent_column(parent) for parent in spec.parents)]


def _note_capture(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, captured_at: datetime | None) -> None:
    con.execute(
        "INSERT INTO crm_snapshot.captures VALUES ($1, $2, $3, $4, NULL)",
        [spec.object, captured_at, _captured_from(spec), _signature(spec)],
    )


def _captured_from(spec: ObjectSpec) -> str:
    """What a snapshot is a snapshot of."""
    parents = [f"{parent} {of.to} {of.match_key} {of.relation}" for parent, of in spec.parents.items()]
    return " | ".join([spec.crm, spec.to, spec.match_key, *parents])


def _signature(spec: ObjectSpec) -> str:
    return signature(fingerprint(spec))


def _refuse_duplicates(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    keys = scalar(
        con,
        f"SELECT count(*) FROM (SELECT external_id FROM crm_snapshot.{spec.object} GROUP BY ALL HAVING count(*) > 1)",
    )
    if keys:
        raise FatalError(
            f"{keys} values of {literal(spec.match_key)} stand on several {spec.to} records in the CRM: "
            "make the field unique there and merge the records"
        )
