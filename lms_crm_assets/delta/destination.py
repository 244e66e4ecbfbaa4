"""The records that the CRM, as its schema was discovered, would refuse: they are taken out of a delta before it is sent.

Owns the table `delta.refused`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from lms_crm_assets.checks import destination_codes as codes
from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.codes import Code
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.delta.compare import ALLOWED, UNREADABLE
from lms_crm_assets.domain import Action, CrmObject, RuleSeverity
from lms_crm_assets.masking import masked, safe_key, shortened
from lms_crm_assets.warehouse.sql import literal, quoted

_TEXTS = frozenset({Kind.TEXT, Kind.EMAIL})


@dataclass(frozen=True)
class Refusals:
    """Records by code: those that are not sent, and those of which a field is left out."""

    records: int
    by_code: Mapping[str, int]
    left_out: int


def refuse(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, schema: CrmSchema | None, now: datetime) -> None:
    """Move what the CRM would refuse from the temp table `different` to `delta.refused`.

    `desired` has what we want of all records that differ. Without a schema nothing but the types that the contract gives
    is looked at. A record that hangs on a refused one waits with it.
    """
    con.execute(
        "CREATE OR REPLACE TEMP TABLE verdict (external_id VARCHAR, code VARCHAR, field VARCHAR, value VARCHAR)"
    )
    for query in _verdicts(spec, schema):
        con.execute(f"INSERT INTO verdict {query}")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE refused AS SELECT v.*, "
        f"CASE WHEN v.code = {literal(codes.UNREADABLE.code)} THEN 'warn' ELSE 'error' END AS severity,"
        " r.first_seen_at, coalesce(r.attempts, 0) + 1 AS attempts FROM (SELECT DISTINCT * FROM verdict) v"
        f" LEFT JOIN (FROM delta.refused WHERE object = {literal(spec.object)}) r USING (external_id, code, field)"
    )
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
    [(records, left_out)] = con.execute(
        "SELECT count(DISTINCT external_id) FILTER (severity = 'error'), count(DISTINCT external_id)"
        " FILTER (severity = 'warn') FROM delta.refused WHERE object = $1",
        [obj],
    ).fetchall()
    return Refusals(records, dict(rows), left_out)


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
            "value": masked(value) if mask and _is_personal(spec, field) else safe_key(shortened(value)),
            "attempts": attempts,
            "first_seen": first_seen,
            "remedy": CATALOGUE[code].remedy,
        }
        for external_id, code, severity, field, value, attempts, first_seen in rows
    ]


def _is_personal(spec: ObjectSpec, field: str) -> bool:
    found = spec.fields.get(field)
    return found is not None and found.pii


def _verdicts(spec: ObjectSpec, schema: CrmSchema | None) -> Iterator[str]:
    """Queries of `external_id, code, field, value`, one row a fault."""
    writes = [action for action in (Action.CREATE, Action.UPDATE) if action in ALLOWED[spec.mode]]
    if not writes:
        return
    written = f"(FROM different WHERE action IN ({', '.join(map(literal, writes))}))"
    changes = f"(SELECT external_id, action, unnest(changes) AS c FROM {written})"
    yield _rows(codes.UNREADABLE, "c.field", "c.new", changes, f"c.class = '{UNREADABLE}'")
    yield from _orphans(spec, written)
    if schema is None:
        return
    held = {name: schema.fields[name] for name in spec.fields if name in schema.fields}
    for code, conditions in (
        (codes.TOO_LONG, _too_long(held)),
        (codes.NOT_A_CHOICE, _no_choices(held)),
        (codes.TOO_LARGE, _too_large(held)),
        (codes.NEEDED, [_of(name, "c.new IS NULL") for name, field in held.items() if field.required]),
        (codes.TAKEN, _taken(spec, held)),
    ):
        if conditions:
            yield _rows(code, "c.field", "c.new", changes, f"c.written AND ({' OR '.join(conditions)})")
    if Action.CREATE in writes:
        yield from _creates(spec, schema)


def _creates(spec: ObjectSpec, schema: CrmSchema) -> Iterator[str]:
    """What only new records are refused for: a match key that doesn't fit, and a needed field without a value."""
    created = f"(FROM different WHERE action = '{Action.CREATE}')"
    key = schema.fields.get(spec.match_key)
    if key is not None and key.length is not None:
        condition = f"length(external_id) > {key.length:d}"
        yield _rows(codes.TOO_LONG, literal(spec.match_key), "external_id", created, condition)
    relations = {parent.relation for parent in spec.parents.values()}
    filled = "list_transform(list_filter(changes, lambda c: c.written AND c.new IS NOT NULL), lambda c: c.field)"
    for name, field in schema.fields.items():
        if field.required and name != spec.match_key and field.relationship not in relations:
            condition = f"NOT list_contains({filled}, {literal(name)})"
            yield _rows(codes.NEEDED, literal(name), "NULL", created, condition)


def _orphans(spec: ObjectSpec, written: str) -> Iterator[str]:
    """Records that are to be linked to one that is refused and not in the CRM."""
    for parent in spec.parents:
        waiting = (
            f"SELECT external_id FROM delta.refused WHERE object = {literal(parent)} AND severity = '{RuleSeverity.ERROR}'"
            f" AND external_id NOT IN (SELECT external_id FROM crm_snapshot.{parent})"
        )
        linked = f"parents[{literal(parent)}]"
        yield _rows(codes.WITHOUT_PARENT, literal(parent), linked, written, f"{linked} IN ({waiting})")


def _rows(code: Code, field: str, value: str, rows: str, condition: str) -> str:
    return f"SELECT external_id, {literal(code.code)}, {field}, {value} FROM {rows} x WHERE {condition}"


def _of(name: str, condition: str) -> str:
    return f"(c.field = {literal(name)} AND {condition})"


def _too_long(held: Mapping[str, CrmField]) -> list[str]:
    return [
        _of(name, f"length(c.new) > {field.length:d}")
        for name, field in held.items()
        if field.kind in _TEXTS and field.length is not None
    ]


def _no_choices(held: Mapping[str, CrmField]) -> list[str]:
    return [
        _of(name, _no_choice(field)) for name, field in held.items() if field.kind is Kind.PICKLIST and field.restricted
    ]


def _no_choice(field: CrmField) -> str:
    """SQL of whether a picklist lacks the value; in another case it has it, for which a CRM may keep its own spelling."""
    known = _list(sorted({word.lower() for word in field.picklist}))
    words = "string_split(lower(c.new), ';')" if field.multiple else "[lower(c.new)]"
    return f"len(list_filter({words}, lambda w: NOT list_contains({known}, trim(w)))) > 0"


def _too_large(held: Mapping[str, CrmField]) -> list[str]:
    return [
        _of(name, f"abs(TRY_CAST(c.new AS DOUBLE)) >= 1e{field.digits:d}")
        for name, field in held.items()
        if field.kind is Kind.NUMBER and field.digits is not None
    ]


def _taken(spec: ObjectSpec, held: Mapping[str, CrmField]) -> list[str]:
    """Values of unique fields that two of our records get, or that another record in the CRM holds already."""
    found = []
    for name, field in held.items():
        if not field.unique or name == spec.match_key:
            continue
        column, theirs = quoted(name), normal_form(quoted(name), spec.fields[name])
        twice = f"SELECT lower({column}) FROM desired WHERE {column} IS NOT NULL GROUP BY ALL HAVING count(*) > 1"
        others = f"(SELECT external_id, lower({theirs}) AS v FROM crm_snapshot.{spec.object})"
        found.append(
            _of(
                name,
                f"(lower(c.new) IN ({twice}) OR EXISTS (SELECT 1 FROM {others} o WHERE o.v = lower(c.new)"
                " AND o.external_id <> x.external_id))",
            )
        )
    return found


def _list(words: Iterable[str]) -> str:
    return f"[{', '.join(literal(word) for word in words)}]::VARCHAR[]"


def blamed(found: Refusals) -> Sequence[str]:
    """What is refused, a phrase a code."""
    return [f"{code} {CATALOGUE[code].rule} × {n}: {CATALOGUE[code].meaning}" for code, n in found.by_code.items()]
