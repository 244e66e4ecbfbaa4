"""A plan: what one run found to do for all objects, kept by id, so that exactly it can be read, approved and sent.

Owns the tables `delta.plans` and `delta.plan_rows`.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb
import orjson
import structlog

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.delta.compare import UNREADABLE
from lms_crm_assets.delta.forecast import Forecast
from lms_crm_assets.delta.incomplete import INCOMPLETE
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError
from lms_crm_assets.masking import safe_key
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_log = structlog.get_logger(__name__)

_COLUMNS = "external_id, crm_id, action, class, changes, parents, parents_before"
_WRITES = "('create', 'update', 'archive')"
_NAMED = 5


@dataclass(frozen=True)
class Plan:
    """A stored plan; `sent` are the objects that were delivered, `withheld` says why a dry run or canaries keep it."""

    plan_id: str
    status: str
    created_at: datetime
    forecast: dict[str, Any]
    breaches: list[str]
    sent: list[str]
    withheld: str = ""


def record_plan(
    con: duckdb.DuckDBPyConnection,
    specs: Sequence[ObjectSpec],
    *,
    forecast: Forecast,
    breaches: list[str],
    auto_apply: bool,
    sync_run_id: str,
    now: datetime,
    lane: Lane = Lane.FULL,
) -> Plan:
    """Keep the deltas of all objects as a plan, approved unless a guardrail or the contract wants a person first.

    With nothing to send there is nothing that a person could want to read.
    """
    plan_id = f"p-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    status = "refused" if breaches else "approved" if auto_apply or not forecast.records else "waiting"
    with transaction(con):
        for spec in specs:
            con.execute(
                f"INSERT INTO delta.plan_rows SELECT $1, {literal(spec.object)}, {_COLUMNS} FROM delta.{spec.object}",
                [plan_id],
            )
        con.execute(
            "INSERT INTO delta.plans (plan_id, sync_run_id, status, created_at, approved_at, forecast, breaches, sent, lane)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, [], $8)",
            [
                plan_id,
                sync_run_id,
                status,
                now,
                now if status == "approved" else None,
                orjson.dumps(asdict(forecast)).decode(),
                breaches,
                lane,
            ],
        )
    _log.info("plan_made", plan_id=plan_id, status=status, records=forecast.records, breaches=len(breaches))
    return find_plan(con, plan_id)


def drop_plans(con: duckdb.DuckDBPyConnection, before: datetime) -> None:
    """Forget the plans that were made before, but those that are needed to tell what a run wrote."""
    with transaction(con):
        con.execute(
            "CREATE OR REPLACE TEMP TABLE outdated AS SELECT plan_id FROM delta.plans WHERE created_at < $1"
            " AND plan_id NOT IN (SELECT plan_id FROM sync.runs)",
            [before],
        )
        for table in ("delta.plan_rows", "delta.plans", "sync.canaries"):
            con.execute(f"DELETE FROM {table} WHERE plan_id IN (FROM outdated)")
        con.execute("DROP TABLE outdated")


def find_plan(con: duckdb.DuckDBPyConnection, plan_id: str) -> Plan:
    """A plan by its id; `FatalError` when there is none."""
    rows = con.execute(
        "SELECT plan_id, status, created_at, forecast, breaches, sent, coalesce(withheld, '') FROM delta.plans"
        " WHERE plan_id = $1",
        [plan_id],
    ).fetchall()
    if not rows:
        raise FatalError(
            f"there is no plan {plan_id!r} for this tenant (plans are kept for the contract's retention): lms-crm plan makes a new one"
        )
    found = rows[0]
    return Plan(found[0], found[1], found[2], orjson.loads(found[3]), list(found[4]), list(found[5]), found[6])


def check_sendable(plan: Plan, *, despite_guardrails: bool) -> None:
    """`FatalError` of a plan that was sent, or that the guardrails refuse, whatever the two sides hold now."""
    if plan.sent:
        raise FatalError(f"the plan {plan.plan_id} was sent already; make a new one")
    if plan.breaches and not despite_guardrails:
        raise FatalError(
            f"the guardrails refuse the plan {plan.plan_id}: {'; '.join(plan.breaches)}; --despite-guardrails sends it all the same"
        )


def approve(
    con: duckdb.DuckDBPyConnection,
    plan_id: str,
    specs: Sequence[ObjectSpec],
    *,
    sync_run_id: str,
    despite_guardrails: bool,
    now: datetime,
) -> Plan:
    """Approve a stored plan if it still is what has to be done: each of its rows against the delta of this moment.

    It becomes the plan of the run that sends it.
    `FatalError` names the rows whose source or CRM record changed since, or says that it was sent or refused.
    """
    check_sendable(find_plan(con, plan_id), despite_guardrails=despite_guardrails)
    stale = [row for spec in specs for row in _stale_rows(con, plan_id, spec.object)]
    if stale:
        named = ", ".join(stale[:_NAMED]) + (f" and {len(stale) - _NAMED} more" if len(stale) > _NAMED else "")
        raise FatalError(f"the plan {plan_id} is stale, the LMS or the CRM changed since: {named}; make a new plan")
    con.execute(
        "UPDATE delta.plans SET status = 'approved', approved_at = $1, sync_run_id = $2, withheld = '' WHERE plan_id = $3",
        [now, sync_run_id, plan_id],
    )
    return find_plan(con, plan_id)


def _stale_rows(con: duckdb.DuckDBPyConnection, plan_id: str, obj: CrmObject) -> list[str]:
    rows = con.execute(
        f"SELECT p.external_id FROM delta.plan_rows p LEFT JOIN delta.{obj} d USING (external_id)"
        f" WHERE p.plan_id = $1 AND p.object = {literal(obj)} AND p.action IN {_WRITES}"
        " AND (d.external_id IS NULL OR d.action <> p.action OR d.crm_id IS DISTINCT FROM p.crm_id"
        " OR d.parents <> p.parents OR d.parents_before <> p.parents_before"
        " OR list_transform(d.changes, lambda c: {'f': c.field, 'o': c.old, 'n': c.new, 'w': c.written})"
        " <> list_transform(p.changes, lambda c: {'f': c.field, 'o': c.old, 'n': c.new, 'w': c.written})) ORDER BY ALL",
        [plan_id],
    ).fetchall()
    return [f"{obj} {safe_key(row[0])}" for row in rows]


def plan_to_send(con: duckdb.DuckDBPyConnection, sync_run_id: str, lane: Lane = Lane.FULL) -> Plan | None:
    """The run's own plan, or else the newest of its lane, if it is approved; None when it waits for a person."""
    plan = newest_plan(con, lane, sync_run_id)
    return plan if plan and plan.status == "approved" else None


def newest_plan(con: duckdb.DuckDBPyConnection, lane: Lane, sync_run_id: str = "") -> Plan | None:
    """The plan that was made or approved last in the lane, but first of all that of the run; None where there is none."""
    rows = con.execute(
        # A person may approve a plan of the other lane, and the run that does so sends it.
        "SELECT plan_id FROM delta.plans WHERE lane = $2 OR sync_run_id = $1"
        " ORDER BY sync_run_id = $1 DESC, coalesce(approved_at, created_at) DESC, plan_id DESC LIMIT 1",
        [sync_run_id, lane],
    ).fetchall()
    return find_plan(con, rows[0][0]) if rows else None


def plans_for(con: duckdb.DuckDBPyConnection, plan_id: str, obj: CrmObject) -> int:
    """How many records of an object the plan tells of."""
    return scalar(con, "SELECT count(*) FROM delta.plan_rows WHERE plan_id = $1 AND object = $2", [plan_id, obj])


def superseded(con: duckdb.DuckDBPyConnection, plan_id: str, obj: CrmObject, sync_run_id: str) -> set[str]:
    """The plan's records that are not to be sent as it says: since then our row changed, or another run sent them."""
    rows = con.execute(
        "WITH plan AS (SELECT coalesce(approved_at, created_at) AS made_at FROM delta.plans WHERE plan_id = $1)"
        f" SELECT p.external_id FROM delta.plan_rows p LEFT JOIN delta.desired_{obj} d USING (external_id)"
        f" WHERE p.plan_id = $1 AND p.object = {literal(obj)} AND CASE p.action"
        " WHEN 'archive' THEN d.external_id IS NOT NULL OR p.external_id IN"
        f" (SELECT source_id FROM staging.quarantine WHERE entity = {literal(obj.entity)})"
        " WHEN 'unchanged' THEN false"
        " ELSE d.external_id IS NULL OR d.mapped_at > (SELECT made_at FROM plan) END"
        f" UNION SELECT external_id FROM sync.outcomes WHERE object = {literal(obj)} AND sync_run_id <> $2"
        " AND status = 'succeeded' AND synced_at > (SELECT made_at FROM plan)",
        [plan_id, sync_run_id],
    ).fetchall()
    return {row[0] for row in rows}


def mark_sent(con: duckdb.DuckDBPyConnection, plan_id: str, obj: CrmObject) -> None:
    """Note that an object's part of the plan was delivered: it is not sent a second time."""
    con.execute("UPDATE delta.plans SET sent = list_append(sent, $1) WHERE plan_id = $2", [obj, plan_id])


def withhold(
    con: duckdb.DuckDBPyConnection, plan_id: str, why: str, status: Literal["withheld", "dry_run"] = "withheld"
) -> Plan:
    """Send nothing more of a plan, whoever approved it; one that the guardrails refuse stays so."""
    con.execute(
        "UPDATE delta.plans SET status = CASE status WHEN 'refused' THEN status ELSE $1 END, withheld = $2,"
        " approved_at = NULL WHERE plan_id = $3",
        [status, why, plan_id],
    )
    return find_plan(con, plan_id)


def plan_rows(
    con: duckdb.DuckDBPyConnection, plan_id: str, obj: CrmObject | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """A plan's rows for people and files: in the order of delivery, what others changed in the CRM first."""
    where = "plan_id = $1" + (f" AND object = {literal(obj)}" if obj else "")
    order = " ".join(f"WHEN {literal(o)} THEN {n}" for n, o in enumerate(CrmObject))
    rows = con.execute(
        "SELECT object, external_id, crm_id, action, class, changes, to_json(parents), to_json(parents_before)"
        f" FROM delta.plan_rows WHERE {where} ORDER BY CASE object {order} END, class = 'ours', action, external_id"
        + (f" LIMIT {limit:d}" if limit is not None else ""),
        [plan_id],
    ).fetchall()
    names = ("object", "external_id", "crm_id", "action", "class", "changes")
    return [
        {
            **dict(zip(names, row[:6], strict=True)),
            "parents": orjson.loads(row[6]),
            "parents_before": orjson.loads(row[7]),
        }
        for row in rows
    ]


@dataclass(frozen=True)
class PlanTotals:
    """A plan's records by what is done, and among them those that others changed.

    `left_alone`: with fields that are not written, since their value can't be read or one of their rows is refused.
    """

    create: int
    update: int
    archive: int
    drift: int
    conflict: int
    left_alone: int

    @property
    def written(self) -> int:
        """How many records the plan writes."""
        return self.create + self.update + self.archive


def plan_totals(con: duckdb.DuckDBPyConnection, plan_id: str, obj: CrmObject | None = None) -> PlanTotals:
    """The totals of a plan, or of its part for one object."""
    counted = [f"count(*) FILTER (action = '{action}')" for action in ("create", "update", "archive")]
    counted += [f"count(*) FILTER (class = '{kind}' AND action IN {_WRITES})" for kind in ("drift", "conflict")]
    left_alone = f"c.class IN ('{UNREADABLE}', '{INCOMPLETE}')"
    counted.append(f"count(*) FILTER (len(list_filter(changes, lambda c: {left_alone})) > 0)")
    where = "plan_id = $1" + (f" AND object = {literal(obj)}" if obj else "")
    rows = con.execute(f"SELECT {', '.join(counted)} FROM delta.plan_rows WHERE {where}", [plan_id]).fetchall()
    return PlanTotals(*rows[0])


def has_delta(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> bool:
    """Whether the object's delta was built."""
    return table_exists(con, "delta", obj)
