"""A plan for people: as rows of a table, and as lines the way infrastructure plans are read."""

from collections.abc import Iterable, Iterator
from typing import Any

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import Action, Owner
from lms_crm_assets.masking import masked, safe_key, shortened

_MARKS = {Action.CREATE: "+", Action.UPDATE: "~", Action.ARCHIVE: "-", Action.UNCHANGED: "·"}


def change_rows(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, limit: int) -> list[dict[str, str]]:
    """Some changes of the delta, one row a field, with the values of personal fields masked."""
    rows = con.execute(
        "SELECT external_id, action, c.field, c.old, c.new, c.class, c.owner FROM (SELECT external_id, action,"
        f" unnest(changes) AS c FROM (FROM delta.{spec.object} WHERE action <> 'create'"
        " ORDER BY action DESC, len(external_id), external_id LIMIT $1))"
        " UNION ALL SELECT external_id, action, '(new record with ' || len(changes) || ' fields)',"
        f" '', '', class, '' FROM (FROM delta.{spec.object} WHERE action = 'create'"
        " ORDER BY len(external_id), external_id LIMIT $1)"
        " LIMIT $1",
        [limit],
    ).fetchall()
    names = ("external_id", "action", "field", "old", "new", "class", "owner")
    return [{**_masked(dict(zip(names, row, strict=True)), spec), "external_id": safe_key(row[0])} for row in rows]


def _masked(row: dict[str, Any], spec: ObjectSpec) -> dict[str, str]:
    field = spec.fields.get(row["field"])
    if field is None or not field.pii:
        return {name: shortened(value) for name, value in row.items()}
    return {name: masked(value) if name in {"old", "new"} else shortened(value) for name, value in row.items()}


def plan_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A plan's rows as lines: a mark and the record, then a line a field, old → new.

    `rows` are those of `plan.plan_rows`. Values are shown as they are given, see `veil`.
    """
    for row in rows:
        action = Action(row["action"])
        note = "" if row["class"] == "ours" else f"  ({row['class']})"
        yield f"{_MARKS[action]} {row['object']} {row['external_id']}{note}"
        for change in row["changes"]:
            yield f"    {change['field']}: {_change(action, change)}"
        for parent, external_id in row["parents"].items():
            before = row["parents_before"].get(parent)
            yield f"    → {parent}: {external_id}" + (f" (was linked to {before})" if before else "")


def _change(action: Action, change: dict[str, Any]) -> str:
    old, new = ("(empty)" if change[side] is None else repr(change[side]) for side in ("old", "new"))
    extra = [] if change["class"] == "ours" else [change["class"]]
    if not change["written"]:
        extra.append("observed, not written" if change["owner"] == Owner.OBSERVE else "left alone")
    values = new if action is Action.CREATE else f"{old} → {new}"
    return values + (f"  [{', '.join(extra)}]" if extra else "")
