"""The audit trail: who or what changed which field of which CRM record, from what to what, when, by which run, and how it ended.

Nothing is kept for it twice: it is read from the outcomes, with the plans and runs that they belong to (`sync.outcomes`,
`delta.plan_rows`, `sync.runs`), beside what people did outside of runs (`ops.audit`). It lasts as long as the outcomes do,
which is the contract's `retention_days`; deeds of people are kept for good.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import duckdb

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.masking import masked, safe_key, shortened
from lms_crm_assets.ops.audit import Deed
from lms_crm_assets.warehouse.sql import table_exists

_PAGE = 1000
_NO_RUNS = (
    "(SELECT NULL::VARCHAR AS sync_run_id, NULL::VARCHAR AS plan_id, NULL::VARCHAR AS started_by, []::VARCHAR[] AS events,"
    " true AS links_apart, NULL::TIMESTAMPTZ AS began_at WHERE false)"
)
_NONE_UNSENT = "(SELECT NULL AS object, NULL AS external_id, NULL AS sync_run_id, NULL::VARCHAR AS field WHERE false)"


class AuditRow(NamedTuple):
    """One line of the trail.

    `kind`: write (one field of a record that a run sent, or a link, where `field` is the parent's object), run (one that
    sent something; `subject` is its plan, `reason` its events by their delivery ids) or deed (of a person, outside of runs).
    `actor` is who or what started the run, or did the deed. Of a link `old` are CRM ids and `new` is the parent's external id.
    `status` is the outcome: only `succeeded` changed the CRM.
    """

    at: datetime
    kind: str
    actor: str | None
    action: str
    object: str | None
    external_id: str | None
    crm_id: str | None
    field: str | None
    old: str | None
    new: str | None
    status: str | None
    code: str | None
    class_: str | None
    batch_id: str | None
    plan_id: str | None
    sync_run_id: str | None
    subject: str | None
    reason: str | None


COLUMNS = tuple(name.rstrip("_") for name in AuditRow._fields)
"""The columns as they are called in files and tables."""


@dataclass(frozen=True)
class Asked:
    """Which lines: everything by default. `run` is a run's id or how it begins."""

    obj: CrmObject | None = None
    record: str | None = None
    since: datetime | None = None
    run: str | None = None


def trail(
    con: duckdb.DuckDBPyConnection,
    deeds: Iterable[Deed],
    asked: Asked = Asked(),
    *,
    newest_first: bool = False,
    limit: int | None = None,
) -> Iterator[AuditRow]:
    """The lines in the order of time, read page by page from the warehouse, with whole values."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE deeds (happened TIMESTAMPTZ, actor VARCHAR, action VARCHAR, subject VARCHAR, reason VARCHAR)"
    )
    rows = [[deed.at, deed.actor, deed.action, deed.subject, deed.reason] for deed in deeds]
    if rows:
        con.executemany("INSERT INTO deeds VALUES ($1, $2, $3, $4, $5)", rows)
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    order = "DESC" if newest_first else "ASC"
    found = con.execute(
        f"SELECT {names} FROM ({_writes(con)} UNION ALL BY NAME {_runs(con)} UNION ALL BY NAME"
        " SELECT happened AS \"at\", 'deed' AS kind, actor, action, subject, reason FROM deeds)"
        " WHERE ($object IS NULL OR object = $object) AND ($record IS NULL OR external_id = $record)"
        ' AND ($since IS NULL OR "at" >= $since) AND ($run IS NULL OR starts_with(sync_run_id, $run))'
        f" ORDER BY \"at\" {order}, kind = 'write' {order}, sync_run_id, object, external_id, action, field"
        + (f" LIMIT {limit:d}" if limit is not None else ""),
        {"object": asked.obj, "record": asked.record, "since": asked.since, "run": asked.run},
    )
    while page := found.fetchmany(_PAGE):
        yield from (AuditRow(row[0].astimezone(UTC), *row[1:]) for row in page)


def shown(row: AuditRow, plain: Mapping[str, frozenset[str]]) -> AuditRow:
    """The line without learner data: values only of fields that are `plain`, by object."""

    def value(text: str | None) -> str | None:
        if text is None:
            return None
        if row.field in set(CrmObject):
            return safe_key(text)
        return shortened(text) if row.field in plain.get(row.object or "", ()) else masked(text)

    key = None if row.external_id is None else safe_key(row.external_id)
    return row._replace(external_id=key, old=value(row.old), new=value(row.new))


def plain_fields(contract: Contract) -> dict[str, frozenset[str]]:
    """The fields of each object that hold nothing of a learner, by the contract as it is now."""
    specs = {obj: object_spec(contract, obj) for obj in contract.in_order()}
    return {obj.value: frozenset(n for n, f in spec.fields.items() if not f.pii) for obj, spec in specs.items()}


def _writes(con: duckdb.DuckDBPyConnection) -> str:
    """One row a field that was sent, or a link; a record of which no field changed, as an archived one, has one without."""
    runs = "sync.runs" if table_exists(con, "sync", "runs") else _NO_RUNS
    unsent = "sync.unsent" if table_exists(con, "sync", "unsent") else _NONE_UNSENT
    sent = (
        "list_transform(list_filter(w.changes, lambda c: c.written AND NOT list_contains(coalesce(u.fields, []), c.field)),"
        " lambda c: {'field': c.field, 'old': c.old, 'new': c.new, 'class': c.class})"
    )
    linked = (
        "list_transform(map_keys(w.parents), lambda k: {'field': k, 'old': w.parents_before[k], 'new': w.parents[k],"
    )
    linked += " 'class': NULL::VARCHAR})"
    parent = "split_part(o.operation, ' ', 2)"
    link = f"[{{'field': {parent}, 'old': w.parents_before[{parent}], 'new': CASE WHEN o.operation LIKE 'link %' THEN"
    link += f" w.parents[{parent}] END, 'class': NULL::VARCHAR}}]"
    changes = (
        f"CASE WHEN o.operation = 'archive' THEN NULL WHEN o.operation <> 'upsert' THEN {link}"
        f" WHEN coalesce(r.links_apart, true) THEN {sent} ELSE list_concat({sent}, {linked}) END"
    )
    return (
        "SELECT happened AS \"at\", 'write' AS kind, actor, action, object, external_id, crm_id, c.field AS field,"
        " c.old AS old, c.new AS new, status, code, c.class AS class, batch_id, plan_id, sync_run_id FROM (SELECT * EXCLUDE (changes),"
        " unnest(CASE WHEN len(changes) > 0 THEN changes ELSE [NULL] END) AS c FROM (SELECT o.synced_at AS happened,"
        " r.started_by AS actor, CASE o.operation WHEN 'upsert' THEN o.action ELSE o.operation END AS action, o.object,"
        " o.external_id, coalesce(o.crm_id, w.crm_id) AS crm_id, o.status, o.code, o.batch_id, o.sync_run_id,"
        f" coalesce(r.plan_id, p.plan_id) AS plan_id, {changes} AS changes FROM sync.outcomes o"
        f" LEFT JOIN {runs} r ON r.sync_run_id = o.sync_run_id"
        # Of runs that are older than `sync.runs`.
        " LEFT JOIN (SELECT sync_run_id, any_value(plan_id) AS plan_id FROM delta.plans GROUP BY ALL) p"
        " ON p.sync_run_id = o.sync_run_id AND r.plan_id IS NULL"
        " LEFT JOIN delta.plan_rows w ON w.plan_id = coalesce(r.plan_id, p.plan_id) AND w.object = o.object"
        " AND w.external_id = o.external_id"
        f" LEFT JOIN (SELECT object, external_id, sync_run_id, list(field) AS fields FROM {unsent} GROUP BY ALL) u"
        " ON u.object = o.object AND u.external_id = o.external_id AND u.sync_run_id = o.sync_run_id))"
    )


def _runs(con: duckdb.DuckDBPyConnection) -> str:
    runs = "sync.runs" if table_exists(con, "sync", "runs") else _NO_RUNS
    return (
        "SELECT began_at AS \"at\", 'run' AS kind, started_by AS actor, 'run' AS action, plan_id, sync_run_id,"
        f" plan_id AS subject, array_to_string(events, ' ') AS reason FROM {runs}"
    )
