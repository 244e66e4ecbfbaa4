"""The SQL that compares what we want with what the CRM holds and with what we last wrote.

Both sides are brought to normal form and hashed once; the hashes are joined, and only rows whose hash is on one side
alone are compared field by field (facts: performance).
"""

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.domain import Action, Owner, SyncMode
from lms_crm_assets.snapshot.capture import parent_column
from lms_crm_assets.warehouse.sql import literal, quoted, sql_file

ALLOWED: dict[SyncMode, frozenset[Action]] = {
    SyncMode.UPSERT: frozenset({Action.CREATE, Action.UPDATE}),
    SyncMode.UPDATE: frozenset({Action.UPDATE}),
    SyncMode.INSERT: frozenset({Action.CREATE}),
    SyncMode.MIRROR: frozenset({Action.CREATE, Action.UPDATE, Action.ARCHIVE}),
    SyncMode.ARCHIVE: frozenset({Action.ARCHIVE}),
}
"""What each mode may do."""


def desired_side(spec: ObjectSpec) -> str:
    """Our side: fields in normal form, parents by the CRM id they have; one that is not there yet equals nothing."""
    fields = ", ".join(
        f"{normal_form(field.expression, field)} AS {quoted(name)}" for name, field in spec.fields.items()
    )
    keys = "".join(f", {parent} AS {quoted(f'{parent}_key')}" for parent in spec.parents)
    ids = "".join(
        f", coalesce(p_{parent}.crm_id, '?' || d.{quoted(f'{parent}_key')}) AS {parent_column(parent)}"
        for parent in spec.parents
    )
    joins = "".join(
        f" LEFT JOIN crm_snapshot.{parent} p_{parent} ON p_{parent}.external_id = d.{quoted(f'{parent}_key')}"
        for parent in spec.parents
    )
    source = sql_file("lms_crm_assets.delta", f"sql/{spec.object}.sql")
    # The expressions see the canonical columns alone, so that no name of ours gets in their way.
    return f"SELECT d.*{ids} FROM (SELECT source_id AS external_id, {fields}{keys} FROM ({source})) d{joins}"


def live_side(spec: ObjectSpec) -> str:
    """The CRM's side: fields in normal form, parents by their CRM ids."""
    fields = ", ".join(f"{normal_form(quoted(name), field)} AS {quoted(name)}" for name, field in spec.fields.items())
    parents = "".join(f", {parent_column(parent)}" for parent in spec.parents)
    return f"SELECT external_id, crm_id, {fields}{parents} FROM crm_snapshot.{spec.object}"


def hashes(spec: ObjectSpec, side: str) -> str:
    """A hash of each row of a side with its row id."""
    compared = ("external_id", *spec.fields, *(parent_column(parent) for parent in spec.parents))
    return f"SELECT hash({', '.join(quoted(c) for c in compared)}) AS h, rowid AS r FROM {side}"


DIFFERING = "SELECT d.r AS dr, l.r AS lr FROM hd d FULL JOIN hl l USING (h) WHERE d.h IS NULL OR l.h IS NULL"
"""The row ids of what is on one side only."""


def differences(spec: ObjectSpec) -> str:
    """One row a record of ours that is to be created or changed, or whose observed fields differ."""
    changes = ", ".join(_change(name, field) for name, field in spec.fields.items())
    moved = ", ".join(
        f"CASE WHEN d.{quoted(f'{p}_key')} IS NOT NULL AND (l.external_id IS NULL"
        f" OR d.{parent_column(p)} IS DISTINCT FROM l.{parent_column(p)}) THEN {literal(p)} END"
        for p in spec.parents
    )
    return (
        "WITH d AS (SELECT * FROM desired SEMI JOIN differing ON desired.rowid = differing.dr),"
        " l AS (SELECT * FROM live SEMI JOIN differing ON live.rowid = differing.lr),"
        " pair AS (SELECT d.external_id, l.crm_id, l.external_id IS NULL AS is_new,"
        f" list_filter([{changes}], lambda c: c IS NOT NULL) AS changes,"
        f" list_filter([{moved}]::VARCHAR[], lambda c: c IS NOT NULL) AS moved,"
        f" {_parents(spec, 'd', '{}_key')} AS keys, {_parents(spec, 'l', 'parent_{}')} AS linked"
        " FROM d LEFT JOIN l USING (external_id)),"
        " known AS (SELECT p.*, g.applied FROM pair p LEFT JOIN (SELECT external_id, applied FROM sync.ledger"
        f" WHERE object = {literal(spec.object)}) g USING (external_id) WHERE is_new OR len(changes) + len(moved) > 0),"
        f" classed AS (SELECT * REPLACE (list_transform(changes, lambda c: struct_insert(c, class := {_class()}))"
        " AS changes) FROM known)"
        f" SELECT external_id, crm_id, CASE WHEN is_new THEN '{Action.CREATE}'"
        f" WHEN len(moved) > 0 OR len(list_filter(changes, lambda c: c.written)) > 0 THEN '{Action.UPDATE}'"
        f" ELSE '{Action.UNCHANGED}' END AS action, CASE WHEN is_new THEN 'ours' ELSE {_gravest()} END AS class,"
        f" changes, {_only('keys', 'moved')} AS parents, {_only('linked', 'moved')} AS parents_before FROM classed"
    )


def gone(spec: ObjectSpec) -> str:
    """The CRM's records that we wrote and whose row has left the LMS; a row in quarantine has not left.

    A record that somebody made in place of ours has another CRM id, and is not ours to archive.
    """
    return (
        "SELECT l.external_id, l.crm_id FROM live l ANTI JOIN desired d USING (external_id)"
        f" ANTI JOIN (SELECT source_id FROM staging.quarantine WHERE entity = {literal(spec.object.entity)}) q"
        " ON q.source_id = l.external_id"
        f" SEMI JOIN (SELECT external_id, crm_id FROM sync.ledger WHERE object = {literal(spec.object)}) g"
        " ON g.external_id = l.external_id AND g.crm_id = l.crm_id"
    )


def _change(name: str, field: FieldSpec) -> str:
    """SQL of a field's change, null when there is none that the owner would make or wants to see."""
    ours, theirs = f"d.{quoted(name)}", f"l.{quoted(name)}"
    conditions = {
        Owner.ENFORCE: f"{ours} IS DISTINCT FROM {theirs}",
        Owner.NEVER_NULL: f"{ours} IS NOT NULL AND {ours} IS DISTINCT FROM {theirs}",
        Owner.FILL_IF_EMPTY: f"{ours} IS NOT NULL AND {theirs} IS NULL",
        Owner.OBSERVE: f"l.external_id IS NOT NULL AND {ours} IS NOT NULL AND {ours} IS DISTINCT FROM {theirs}",
    }
    written = "false" if field.owner is Owner.OBSERVE else "true"
    return (
        f"CASE WHEN {conditions[field.owner]} THEN {{'field': {literal(name)}, 'old': {theirs}, 'new': {ours},"
        f" 'owner': {literal(field.owner)}, 'written': {written}}} END"
    )


def _class() -> str:
    """SQL of a field's class, by what we last wrote there.

    `ours`: the CRM still holds it, so the LMS changed. `drift`: the LMS still says it, so the CRM was changed.
    `conflict`: both left it. A field that we never wrote is ours to write.
    """
    return (
        "CASE WHEN applied IS NULL OR NOT map_contains(applied, c.field) THEN 'ours'"
        " WHEN applied[c.field] IS NOT DISTINCT FROM c.old THEN 'ours'"
        " WHEN applied[c.field] IS NOT DISTINCT FROM c.new THEN 'drift' ELSE 'conflict' END"
    )


def _gravest() -> str:
    classes = "list_transform(changes, lambda c: c.class)"
    return (
        f"CASE WHEN list_contains({classes}, 'conflict') THEN 'conflict'"
        f" WHEN list_contains({classes}, 'drift') THEN 'drift' ELSE 'ours' END"
    )


def _parents(spec: ObjectSpec, side: str, column: str) -> str:
    """SQL of a map from each parent's object to a column of a side."""
    if not spec.parents:
        return "MAP {}::MAP(VARCHAR, VARCHAR)"
    keys = ", ".join(literal(parent) for parent in spec.parents)
    values = ", ".join(f"{side}.{quoted(column.format(parent))}" for parent in spec.parents)
    return f"map([{keys}], [{values}]::VARCHAR[])"


def _only(column: str, names: str) -> str:
    """SQL of a map reduced to some of its keys."""
    return f"map({names}, list_transform({names}, lambda n: {column}[n]))"
