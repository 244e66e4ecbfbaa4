"""The delta of one object: every record and field that differs between what we want and what the CRM holds.

Both sides are brought to normal form and hashed once; the hashes are joined, and only rows whose hash is on one side
alone are compared field by field (facts: performance). A null on our side is never sent, so it is no difference.

Owns the tables `delta.<object>`: `external_id, crm_id, action, class, changed_fields, before, after, parents,
parents_before`. `after` holds what is to be written; `parents` maps parent object → external id of the links to make.
"""

from dataclasses import dataclass

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.domain import Action
from lms_crm_assets.snapshot.capture import ensure_snapshot, parent_column
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, quoted, scalar, sql_file


@dataclass(frozen=True)
class DeltaCounts:
    """Records by what the plan does with them; `gone` are in the CRM but no longer in the LMS, and left alone."""

    create: int
    update: int
    unchanged: int
    gone: int
    drift: int
    conflict: int


def build_delta(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> DeltaCounts:
    """Make `delta.<object>` anew from staging, the CRM snapshot and the ledger."""
    with transaction(con):
        ensure_snapshot(con, spec)
        con.execute(f"CREATE OR REPLACE TEMP TABLE desired AS {_desired(spec)}")
        con.execute(f"CREATE OR REPLACE TEMP TABLE live AS {_live(spec)}")
        compared = ", ".join(quoted(c) for c in ("external_id", *spec.fields, *map(parent_column, spec.parents)))
        for side, hashes in (("desired", "hd"), ("live", "hl")):
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE {hashes} AS SELECT hash({compared}) AS h, rowid AS r FROM {side}"
            )
        con.execute(
            "CREATE OR REPLACE TEMP TABLE differing AS SELECT d.r AS dr, l.r AS lr FROM hd d FULL JOIN hl l USING (h)"
            " WHERE d.h IS NULL OR l.h IS NULL"
        )
        con.execute(f"CREATE OR REPLACE TABLE delta.{spec.object} AS {_differences(spec)}")
        counts = _counts(con, spec)
        for table in ("desired", "live", "hd", "hl", "differing"):
            con.execute(f"DROP TABLE {table}")
    return counts


def _desired(spec: ObjectSpec) -> str:
    """Our side: fields in normal form, parents by the CRM id they have so far (null: not there yet)."""
    fields = ", ".join(
        f"{normal_form(field.expression, field)} AS {quoted(name)}" for name, field in spec.fields.items()
    )
    keys = "".join(f", {parent} AS {quoted(f'{parent}_key')}" for parent in spec.parents)
    ids = "".join(f", p_{parent}.crm_id AS {parent_column(parent)}" for parent in spec.parents)
    joins = "".join(
        f" LEFT JOIN crm_snapshot.{parent} p_{parent} ON p_{parent}.external_id = d.{quoted(f'{parent}_key')}"
        for parent in spec.parents
    )
    source = sql_file("lms_crm_assets.delta", f"sql/{spec.object}.sql")
    # The expressions see the canonical columns alone, so that no name of ours gets in their way.
    return f"SELECT d.*{ids} FROM (SELECT source_id AS external_id, {fields}{keys} FROM ({source})) d{joins}"


def _live(spec: ObjectSpec) -> str:
    fields = ", ".join(f"{normal_form(quoted(name), field)} AS {quoted(name)}" for name, field in spec.fields.items())
    parents = "".join(f", {parent_column(parent)}" for parent in spec.parents)
    return f"SELECT external_id, crm_id, {fields}{parents} FROM crm_snapshot.{spec.object}"


def _differences(spec: ObjectSpec) -> str:
    """One row a record that is to be created or changed."""
    names = list(spec.fields)
    changed = ", ".join(
        f"CASE WHEN d.{quoted(n)} IS DISTINCT FROM l.{quoted(n)} AND d.{quoted(n)} IS NOT NULL THEN {literal(n)} END"
        for n in names
    )
    moved = ", ".join(
        f"CASE WHEN d.{quoted(f'{p}_key')} IS NOT NULL AND (l.external_id IS NULL"
        f" OR d.{parent_column(p)} IS DISTINCT FROM l.{parent_column(p)}) THEN {literal(p)} END"
        for p in spec.parents
    )
    return (
        "WITH d AS (SELECT * FROM desired SEMI JOIN differing ON desired.rowid = differing.dr),"
        " l AS (SELECT * FROM live SEMI JOIN differing ON live.rowid = differing.lr),"
        " pair AS (SELECT d.external_id, l.crm_id, l.external_id IS NULL AS is_new,"
        f" list_filter([{changed}]::VARCHAR[], lambda c: c IS NOT NULL) AS changed,"
        f" list_filter([{moved}]::VARCHAR[], lambda c: c IS NOT NULL) AS moved,"
        f" {_map(names, 'l.', '')} AS live_values, {_map(names, 'd.', '')} AS desired_values,"
        f" {_map(list(spec.parents), 'd.', '_key')} AS desired_parents,"
        f" {_map(list(spec.parents), 'l.parent_', '')} AS live_parents"
        " FROM d LEFT JOIN l USING (external_id)),"
        " kept AS (SELECT p.*, g.applied FROM pair p LEFT JOIN (SELECT external_id, applied FROM sync.ledger"
        f" WHERE object = {literal(spec.object)}) g USING (external_id) WHERE is_new OR len(changed) + len(moved) > 0)"
        f" SELECT external_id, crm_id, CASE WHEN is_new THEN '{Action.CREATE}' ELSE '{Action.UPDATE}' END AS action,"
        f" CASE WHEN is_new THEN 'ours' ELSE {_class()} END AS class,"
        " changed || moved AS changed_fields,"
        f" {_only('live_values', 'changed')} AS before, {_only('desired_values', 'changed')} AS after,"
        f" {_only('desired_parents', 'moved')} AS parents, {_only('live_parents', 'moved')} AS parents_before"
        " FROM kept"
    )


def _map(names: list[str], prefix: str, suffix: str) -> str:
    """SQL of a map from each name to its value as text."""
    side, _, rest = prefix.partition(".")
    keys = ", ".join(literal(n) for n in names)
    values = ", ".join(f"{side}.{quoted(rest + n + suffix)}" for n in names)
    return "MAP {}::MAP(VARCHAR, VARCHAR)" if not names else f"map([{keys}], [{values}]::VARCHAR[])"


def _only(column: str, names: str) -> str:
    """SQL of a map reduced to some of its keys."""
    return f"map({names}, list_transform({names}, lambda n: {column}[n]))"


def _class() -> str:
    """SQL of a record's class, by what we last wrote: the gravest of its fields'.

    `drift`: the CRM left what we wrote. `conflict`: both sides left it. `ours`: the LMS changed.
    """
    drifted = "applied[n] = desired_values[n]"
    both = "applied[n] <> desired_values[n] AND applied[n] IS DISTINCT FROM live_values[n]"
    return (
        f"CASE WHEN len(list_filter(changed, lambda n: {both})) > 0 THEN 'conflict'"
        f" WHEN len(list_filter(changed, lambda n: {drifted})) > 0 THEN 'drift' ELSE 'ours' END"
    )


def _counts(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> DeltaCounts:
    table = f"delta.{spec.object}"
    create, update, drift, conflict = con.execute(
        "SELECT count(*) FILTER (action = 'create'), count(*) FILTER (action = 'update'),"
        f" count(*) FILTER (class = 'drift'), count(*) FILTER (class = 'conflict') FROM {table}"
    ).fetchall()[0]
    wanted = scalar(con, "SELECT count(*) FROM desired")
    gone = scalar(con, "SELECT count(*) FROM live ANTI JOIN desired USING (external_id)")
    return DeltaCounts(create, update, wanted - create - update, gone, drift, conflict)


def sample(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, limit: int) -> list[dict[str, str]]:
    """Some rows of the delta without any values, for people to look at."""
    rows = con.execute(
        f"SELECT external_id, action, class, array_to_string(changed_fields, ', ') FROM delta.{spec.object}"
        " ORDER BY action DESC, external_id LIMIT $1",
        [limit],
    ).fetchall()
    return [dict(zip(("external_id", "action", "class", "changed_fields"), row, strict=True)) for row in rows]
