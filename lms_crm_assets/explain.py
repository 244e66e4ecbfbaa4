"""One learner's story: what the LMS said, what the checks found, what was planned, sent and answered, with times."""

from collections.abc import Iterator
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import duckdb
import orjson

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.delivery_codes import delivery_code
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.delta.show import plan_lines
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.errors import FatalError
from lms_crm_assets.staging.build import is_staged
from lms_crm_assets.warehouse.sql import literal, table_exists

_CHILDREN = (LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES)


def explain(
    con: duckdb.DuckDBPyConnection, contract: Contract, learner: str, *, at: datetime | None = None
) -> dict[str, Any]:
    """Everything that is known of a learner and of their records, as JSON-able data.

    `learner` is the LMS's id, an e-mail or a user name. With `at` everything is told as it was known then, but for the LMS's rows, of which only the newest are kept.
    """
    until = at.replace(tzinfo=at.tzinfo or UTC) if at else datetime.now(UTC)
    key, raw = _learner(con, learner, until)
    keys = {CrmObject.CONTACT: [key]}
    for obj in contract.in_order():
        if obj is not CrmObject.CONTACT and obj.entity in _CHILDREN:
            keys[obj] = _keys_of(con, obj, key)
    objects = [
        {"object": obj.value, "external_id": external_id, **_record(con, obj, external_id, until)}
        for obj, external_ids in keys.items()
        for external_id in external_ids
    ]
    return {"tenant": contract.tenant, "learner": key, "at": until.isoformat(), "raw": raw, "records": objects}


def _learner(con: duckdb.DuckDBPyConnection, learner: str, until: datetime) -> tuple[str, dict[str, Any]]:
    rows = (
        con.execute(
            "SELECT source_id, payload, is_deleted, observed_at FROM raw_lms.learners WHERE source_id = $1"
            " OR lower(payload->>'email') = lower($1) OR lower(payload->>'username') = lower($1)"
            " ORDER BY (source_id = $1) DESC, source_id",
            [learner],
        ).fetchall()
        if table_exists(con, "raw_lms", LmsEntity.LEARNERS)
        else []
    )
    if not rows:
        raise FatalError("the LMS has given no learner with that id, e-mail or user name")
    if len(rows) > 1 and rows[0][0] != learner:
        raise FatalError(f"several learners fit: {', '.join(row[0] for row in rows)}; name one by its id")
    key, payload, is_deleted, observed_at = rows[0]
    return key, _seen((payload, is_deleted, observed_at), until)


def _keys_of(con: duckdb.DuckDBPyConnection, obj: CrmObject, learner: str) -> list[str]:
    """The keys of the learner's rows: valid ones, and those that were planned for them before."""
    table = obj.entity.staging_table
    # Before its first whole run a tenant has not all tables.
    staged = f"SELECT source_id FROM staging.{table} WHERE learner_id = $1 UNION" if is_staged(con, obj.entity) else ""
    found = con.execute(
        f"{staged} SELECT external_id FROM delta.plan_rows WHERE object = {literal(obj)} AND parents['contact'] = $1 UNION"
        f" SELECT source_id FROM staging.quarantine WHERE entity = {literal(obj.entity)} AND source_id IS NOT NULL"
        " AND json_extract_string(\"row\", 'learner_id') = $1"
        " ORDER BY ALL",
        [learner],
    ).fetchall()
    return [row[0] for row in found]


def _record(con: duckdb.DuckDBPyConnection, obj: CrmObject, key: str, until: datetime) -> dict[str, Any]:
    refused = con.execute(
        'SELECT code, rule, "column", "value", first_seen_at, last_seen_at FROM staging.quarantine'
        " WHERE entity = $1 AND source_id = $2 AND first_seen_at <= $3 ORDER BY ALL",
        [obj.entity, key, until],
    ).fetchall()
    withheld = con.execute(
        "SELECT code, severity, field, value, first_seen_at, last_seen_at, attempts FROM delta.refused"
        " WHERE object = $1 AND external_id = $2 AND first_seen_at <= $3 ORDER BY ALL",
        [obj, key, until],
    ).fetchall()
    plans = con.execute(
        f"SELECT p.created_at, p.plan_id, p.status, list_contains(p.sent, {literal(obj)}), r.action, r.class, r.changes, to_json(r.parents),"
        " to_json(r.parents_before) FROM delta.plan_rows r JOIN delta.plans p USING (plan_id)"
        f" WHERE r.object = {literal(obj)} AND r.external_id = $1 AND p.created_at <= $2 ORDER BY p.created_at",
        [key, until],
    ).fetchall()
    outcomes = con.execute(
        "SELECT synced_at, operation, status, crm_id, code, message, batch_id, sync_run_id FROM sync.outcomes"
        f" WHERE object = {literal(obj)} AND external_id = $1 AND synced_at <= $2 ORDER BY synced_at",
        [key, until],
    ).fetchall()
    ledger = con.execute(
        "SELECT crm_id, applied, synced_at FROM (SELECT *, NULL AS replaced_at FROM sync.ledger UNION ALL BY NAME"
        f" FROM sync.ledger_history) WHERE object = {literal(obj)} AND external_id = $1 AND synced_at <= $2"
        " AND (replaced_at IS NULL OR replaced_at > $2)",
        [key, until],
    ).fetchall()
    return {
        "raw": None if obj is CrmObject.CONTACT else _raw(con, obj.entity, key, until),
        "refused": _named(("code", "rule", "column", "value", "first_seen_at", "last_seen_at"), refused),
        "withheld": _named(
            ("code", "severity", "field", "value", "first_seen_at", "last_seen_at", "attempts"), withheld
        ),
        "planned": [
            {**row, "parents": orjson.loads(row["parents"]), "parents_before": orjson.loads(row["parents_before"])}
            for row in _named(
                ("at", "plan_id", "status", "was_sent", "action", "class", "changes", "parents", "parents_before"),
                plans,
            )
        ],
        "sent": _named(("at", "operation", "status", "crm_id", "code", "message", "batch_id", "run"), outcomes),
        "applied": [
            {**row, "values": orjson.loads(row["values"])} for row in _named(("crm_id", "values", "at"), ledger)
        ],
    }


def _raw(con: duckdb.DuckDBPyConnection, entity: LmsEntity, key: str, until: datetime) -> dict[str, Any] | None:
    """What the LMS said of a row, unless that was seen later only; None where the row is not known."""
    if not table_exists(con, "raw_lms", entity):
        return None
    rows = con.execute(
        f"SELECT payload, is_deleted, observed_at FROM raw_lms.{entity} WHERE source_id = $1", [key]
    ).fetchall()
    return _seen(rows[0], until) if rows else None


def _seen(row: tuple[str | None, bool, datetime], until: datetime) -> dict[str, Any]:
    payload, is_deleted, observed_at = row
    given = orjson.loads(payload) if payload and observed_at <= until else None
    return {"observed_at": observed_at.isoformat(), "is_deleted": is_deleted, "payload": given}


def _named(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def story_lines(story: dict[str, Any]) -> Iterator[str]:
    """The story as lines for a terminal."""
    yield f"Learner {story['learner']} of {story['tenant']}, as known at {_time(story['at'])}"
    yield from _raw_lines(story["raw"])
    for record in story["records"]:
        yield f"{record['object']} {record['external_id']}"
        if record["raw"]:
            yield from _raw_lines(record["raw"])
        for _, lines in sorted(_happened(record), key=itemgetter(0)):
            yield from lines
        for entry in record["applied"]:
            values = ", ".join(f"{name} = {value!r}" for name, value in entry["values"].items())
            yield f"  written to the CRM record {entry['crm_id']}, so since {_time(entry['at'])}: {values or 'links only'}"
        if not any(record[part] for part in ("refused", "withheld", "planned", "sent", "applied")):
            yield "  nothing is known to have been done"


def _happened(record: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What the checks, the plans and the deliveries did with a record: when, and in which lines it is told."""
    for entry in record["refused"]:
        at = _time(entry["first_seen_at"])
        told = f"refused by our checks: {entry['code']} {entry['rule']} ({entry['column']} = {entry['value']!r})"
        yield at, [f"  {at}  {told}"]
    for entry in record["withheld"]:
        at = _time(entry["first_seen_at"])
        what = "not sent" if entry["severity"] == "error" else "noted"
        known = CATALOGUE[entry["code"]]
        told = f"the CRM would refuse it: {entry['code']} {known.rule} ({entry['field']} = {entry['value']!r}). {known.remedy}"
        yield at, [f"  {at}  {what}, {told}"]
    for entry in record["planned"]:
        at = _time(entry["at"])
        fate = "sent" if entry["was_sent"] else "not sent" if entry["status"] == "approved" else entry["status"]
        row = {**entry, "object": record["object"], "external_id": record["external_id"]}
        yield at, [f"  {at}  planned in {entry['plan_id']} ({fate}):", *(f"    {line}" for line in plan_lines([row]))]
    for entry in record["sent"]:
        at = _time(entry["at"])
        ours = delivery_code(entry["code"], entry["message"]).code
        why = f": {ours} {entry['code']} {entry['message'] or ''}".rstrip() if entry["code"] else ""
        crm_id = f" as {entry['crm_id']}" if entry["crm_id"] else ""
        yield at, [f"  {at}  {entry['operation']} {entry['status']}{crm_id} in {entry['batch_id']}{why}"]


def _raw_lines(raw: dict[str, Any]) -> Iterator[str]:
    if raw["payload"] is None:
        yield f"  What the LMS said then is not kept; it was read last {_time(raw['observed_at'])}."
    else:
        yield f"  LMS, seen {_time(raw['observed_at'])}{' (deleted there)' if raw['is_deleted'] else ''}:"
        yield f"    {orjson.dumps(raw['payload']).decode()}"


def _time(moment: datetime | str) -> str:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
