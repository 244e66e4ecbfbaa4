"""Reading `sync.outcomes`: what became of the records of one run."""

from dataclasses import dataclass, field

import duckdb

from lms_crm_assets.checks.delivery_codes import TELLING, delivery_code
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.masking import safe_key


@dataclass
class DeliveryCounts:
    """Records by what became of them, and the write calls that it took.

    `reasons` are our code, its rule and the CRM's word. `superseded` were not sent, since a run of events had to do with them after the plan was made.
    """

    created: int = 0
    updated: int = 0
    archived: int = 0
    rejected: int = 0
    failed: int = 0
    skipped: int = 0
    superseded: int = 0
    write_calls: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of one record that the CRM holds, by its id there."""

    external_id: str
    crm_id: str
    action: str
    status: str


def records_in_crm(con: duckdb.DuckDBPyConnection, obj: CrmObject, sync_run_id: str, limit: int) -> list[RecordOutcome]:
    """Some of a run's records that have an id in the CRM, those that it did not take first; keys of learner data are masked."""
    rows = con.execute(
        "SELECT external_id, crm_id, action, status FROM (SELECT external_id,"
        f" coalesce(any_value(o.crm_id), any_value(s.crm_id)) AS crm_id, any_value(action) AS action,"
        " coalesce(any_value(status) FILTER (status <> 'succeeded'), 'succeeded') AS status"
        f" FROM sync.outcomes o LEFT JOIN crm_snapshot.{obj} s USING (external_id)"
        " WHERE object = $1 AND sync_run_id = $2 AND action <> 'archive' GROUP BY external_id)"
        " WHERE crm_id IS NOT NULL ORDER BY status = 'succeeded', action <> 'update', len(external_id), external_id LIMIT $3",
        [obj, sync_run_id, limit],
    ).fetchall()
    return [RecordOutcome(safe_key(key), crm_id, action, status) for key, crm_id, action, status in rows]


def lag_seconds(con: duckdb.DuckDBPyConnection, obj: CrmObject, sync_run_id: str) -> float | None:
    """How long the newest of the LMS's changes that a run delivered was under way; None where the LMS tells no moment."""
    staged = f"staging.{obj.entity.staging_table}"
    rows = con.execute(
        "SELECT epoch(max_by(o.synced_at, s.source_updated_at) - max(s.source_updated_at)) FROM sync.outcomes o"
        f" JOIN {staged} s ON s.source_id = o.external_id WHERE o.object = $1 AND o.sync_run_id = $2"
        " AND o.operation = 'upsert' AND o.status = 'succeeded' AND s.source_updated_at <= o.synced_at",
        [obj, sync_run_id],
    ).fetchall()
    seconds = rows[0][0]
    return None if seconds is None else float(seconds)


def failed_keys(con: duckdb.DuckDBPyConnection, sync_run_id: str) -> set[str]:
    """The external ids of one run's records that may be taken when they are sent again; a missing parent is not awaited."""
    query = "SELECT external_id FROM sync.outcomes WHERE sync_run_id = $1 AND status = 'failed' AND code <> 'PARENT_MISSING'"
    return {row[0] for row in con.execute(query, [sync_run_id]).fetchall()}


def outcome_counts(con: duckdb.DuckDBPyConnection, obj: CrmObject, sync_run_id: str) -> DeliveryCounts:
    """What became of an object's records in one run: a record counts once, by its worst outcome."""
    worst = (
        "SELECT external_id, bool_or(action = 'create') AS created, bool_or(action = 'archive') AS archived,"
        " bool_or(status = 'rejected') AS rejected,"
        " bool_or(status = 'failed') AS failed, bool_or(status = 'skipped') AS skipped FROM sync.outcomes WHERE object = $1 AND sync_run_id = $2 GROUP BY ALL"
    )
    created, updated, archived, rejected, failed, skipped = con.execute(
        "SELECT count(*) FILTER (taken AND created), count(*) FILTER (taken AND NOT created AND NOT archived),"
        " count(*) FILTER (taken AND archived), count(*) FILTER (rejected), count(*) FILTER (failed AND NOT rejected),"
        " count(*) FILTER (skipped AND NOT rejected AND NOT failed)"
        f" FROM (SELECT *, NOT rejected AND NOT failed AND NOT skipped AS taken FROM ({worst}))",
        [obj, sync_run_id],
    ).fetchall()[0]
    return DeliveryCounts(
        created, updated, archived, rejected, failed, skipped, reasons=_reasons(con, obj, sync_run_id)
    )


def _reasons(con: duckdb.DuckDBPyConnection, obj: CrmObject, sync_run_id: str) -> dict[str, int]:
    """Records by our code and the CRM's own word; of messages, which quote data, one for each kind is looked at."""
    rows = con.execute(
        "SELECT code, any_value(message), count(DISTINCT external_id) FROM sync.outcomes"
        " WHERE object = $1 AND sync_run_id = $2 AND status <> 'succeeded'"
        " GROUP BY code, regexp_extract(lower(message), $3) ORDER BY ALL",
        [obj, sync_run_id, TELLING],
    ).fetchall()
    found: dict[str, int] = {}
    for word, message, records in rows:
        code = delivery_code(word, message)
        reason = f"{code.code} {code.rule}" + (f" ({word})" if word else "")
        found[reason] = found.get(reason, 0) + records
    return found


def refused_outcomes(
    con: duckdb.DuckDBPyConnection, obj: CrmObject, sync_run_id: str, limit: int
) -> list[dict[str, str]]:
    """A sample of what was not delivered; the CRM's message may hold learner data and stays in the warehouse."""
    rows = con.execute(
        "SELECT external_id, status, code, message, batch_id FROM sync.outcomes"
        " WHERE object = $1 AND sync_run_id = $2 AND status <> 'succeeded' ORDER BY ALL LIMIT $3",
        [obj, sync_run_id, limit],
    ).fetchall()
    found = [(row, delivery_code(row[2], row[3])) for row in rows]
    return [
        {
            "external_id": safe_key(key),
            "status": status,
            "code": code.code,
            "crm_code": crm_code or "",
            "batch_id": batch_id,
            "remedy": code.remedy,
        }
        for (key, status, crm_code, _, batch_id), code in found
    ]
