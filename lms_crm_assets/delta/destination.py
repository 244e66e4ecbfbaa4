"""The records that the CRM, as its schema was discovered, would refuse: they are taken out of a delta before it is sent.

Owns the table `delta.refused`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from lms_crm_assets.checks import destination_codes as codes
from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.delta.incomplete import leave_incomplete
from lms_crm_assets.delta.verdicts import verdicts
from lms_crm_assets.domain import CrmObject, RuleSeverity
from lms_crm_assets.masking import masked, safe_key, shortened
from lms_crm_assets.warehouse.sql import literal, scalar

# Of these the field alone is not written.
_LEFT_ALONE = frozenset({codes.UNREADABLE.code, codes.PARTLY_REFUSED.code})

Strictness = Callable[[str, str], RuleSeverity]
"""How strict a code is on a CRM field; `warn`: it is noted, and the record sent."""


@dataclass(frozen=True)
class Refusals:
    """Records that are not sent, records that are sent though something was noted of them, and both by code.

    `at_fault` are those among the first that don't merely hang on another one.
    """

    records: int
    at_fault: int
    warned: int
    by_code: Mapping[str, int]


def strictness(policy: ChecksPolicy) -> Strictness:
    """How strict a contract is; of two changes of one rule the later counts."""

    def of(code: str, field: str) -> RuleSeverity:
        severity = RuleSeverity.WARN if code in _LEFT_ALONE else RuleSeverity.ERROR
        for change in policy.rules:
            if change.code == code and change.column in (None, field) and change.severity is not None:
                severity = change.severity
        return severity

    return of


def refuse(
    con: duckdb.DuckDBPyConnection,
    spec: ObjectSpec,
    schema: CrmSchema | None,
    now: datetime,
    strict: Strictness,
    unsent: Collection[CrmObject] = frozenset(),
) -> None:
    """Move what the CRM would refuse from the temp table `different` to `delta.refused`.

    `desired` has what we want of all records that differ. Without a schema nothing but the types that the contract gives
    is looked at. A record that hangs on a refused one waits with it, and so does one that hangs on a record which is not in
    the CRM and of an object that is `unsent`.
    """
    if not scalar(con, "SELECT count(*) FROM different"):
        con.execute("DELETE FROM delta.refused WHERE object = $1", [spec.object])
        return
    leave_incomplete(con, spec)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE verdict (external_id VARCHAR, code VARCHAR, field VARCHAR, value VARCHAR)"
    )
    for query in verdicts(spec, schema, unsent):
        con.execute(f"INSERT INTO verdict {query}")
    known = f"(FROM delta.refused WHERE object = {literal(spec.object)})"
    con.execute(
        "CREATE OR REPLACE TEMP TABLE refused AS SELECT v.*, '' AS severity, r.first_seen_at, coalesce(r.attempts, 0) + 1"
        f" AS attempts FROM (SELECT DISTINCT * FROM verdict) v LEFT JOIN {known} r USING (external_id, code, field)"
    )
    for code, field in con.execute("SELECT DISTINCT code, field FROM refused").fetchall():
        update = "UPDATE refused SET severity = $1 WHERE code = $2 AND field = $3"
        con.execute(update, [strict(code, field), code, field])
    con.execute("DELETE FROM refused WHERE severity = $1", [RuleSeverity.OFF])
    con.execute("DELETE FROM delta.refused WHERE object = $1", [spec.object])
    con.execute(
        "INSERT INTO delta.refused BY NAME SELECT $object AS object, external_id, code, severity, field, value,"
        " coalesce(first_seen_at, $now::TIMESTAMPTZ) AS first_seen_at, $now::TIMESTAMPTZ AS last_seen_at, attempts"
        " FROM refused",
        {"object": spec.object, "now": now},
    )
    con.execute(
        "DELETE FROM different WHERE external_id IN (SELECT external_id FROM refused WHERE severity = 'error');"
        " DROP TABLE refused; DROP TABLE verdict"
    )


def refusals(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> Refusals:
    """What stands in `delta.refused` of an object."""
    rows = con.execute(
        "SELECT code, count(DISTINCT external_id) FROM delta.refused WHERE object = $1 GROUP BY ALL ORDER BY ALL", [obj]
    ).fetchall()
    [(records, at_fault, warned)] = con.execute(
        "SELECT count(*) FILTER (refused), count(*) FILTER (at_fault), count(*) FILTER (NOT refused) FROM (SELECT"
        " bool_or(severity = 'error') AS refused, bool_or(severity = 'error' AND code <> $2) AS at_fault"
        " FROM delta.refused WHERE object = $1 GROUP BY external_id)",
        [obj, codes.WITHOUT_PARENT.code],
    ).fetchall()
    return Refusals(records, at_fault, warned, dict(rows))


def refused_by_code(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> dict[str, int]:
    """How many of an object's records are not sent, by code; one can be refused for several."""
    rows = con.execute(
        "SELECT code, count(DISTINCT external_id) FROM delta.refused WHERE object = $1 AND severity = 'error'"
        " GROUP BY ALL ORDER BY ALL",
        [obj],
    ).fetchall()
    return dict(rows)


def refused_records(
    con: duckdb.DuckDBPyConnection, spec: ObjectSpec, limit: int, *, mask: bool
) -> list[dict[str, str | int]]:
    """A sample of what is refused, of every code some; with `mask` the values of personal fields don't show."""
    rows = con.execute(
        "SELECT external_id, code, severity, field, value, attempts, strftime(first_seen_at, '%Y-%m-%d %H:%M') FROM"
        " (SELECT *, row_number() OVER (PARTITION BY code, field ORDER BY len(external_id), external_id) AS n"
        " FROM delta.refused WHERE object = $1 ORDER BY severity, n, code LIMIT $2)"
        " ORDER BY severity, code, field, len(external_id), external_id",
        [spec.object, limit],
    ).fetchall()
    return [
        {
            "external_id": safe_key(external_id),
            "code": code,
            "severity": severity,
            "field": field,
            "value": masked(value) if mask and _is_personal(spec, field) else shortened(safe_key(value)),
            "attempts": attempts,
            "first_seen": first_seen,
            "remedy": CATALOGUE[code].remedy,
        }
        for external_id, code, severity, field, value, attempts, first_seen in rows
    ]


def _is_personal(spec: ObjectSpec, field: str) -> bool:
    found = spec.fields.get(field)
    return found is not None and found.pii


def blamed(found: Refusals) -> Sequence[str]:
    """What is refused, a phrase a code."""
    return [f"{code} {CATALOGUE[code].rule} × {n}: {CATALOGUE[code].meaning}" for code, n in found.by_code.items()]
