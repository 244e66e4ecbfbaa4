"""The SQL that compares what we want with what the CRM holds and with what we last wrote.

The fingerprints of both sides are joined, and only rows whose fingerprint is on one side alone are brought to normal
form and compared field by field.
"""

from collections.abc import Callable

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.normal_form import is_readable, normal_forms
from lms_crm_assets.delta.desired import desired_rows, key_column
from lms_crm_assets.domain import Action, CrmObject, Owner, SyncMode
from lms_crm_assets.snapshot.capture import parent_column
from lms_crm_assets.warehouse.sql import literal, quoted

ALLOWED: dict[SyncMode, frozenset[Action]] = {
    SyncMode.UPSERT: frozenset({Action.CREATE, Action.UPDATE}),
    SyncMode.UPDATE: frozenset({Action.UPDATE}),
    SyncMode.INSERT: frozenset({Action.CREATE}),
    SyncMode.MIRROR: frozenset({Action.CREATE, Action.UPDATE, Action.ARCHIVE}),
    SyncMode.ARCHIVE: frozenset({Action.ARCHIVE}),
}
"""What each mode may do."""

UNREADABLE = "unreadable"
"""The class of a field whose value can't be read as its type."""


def differing(spec: ObjectSpec, part: int, parts: int) -> str:
    """The row ids `dr`, `lr` of what is on one side only, in one part of all: every record that differs is among them.

    A parent counts by the CRM id that it has; one that is not there yet equals nothing.
    """
    live = ", ".join(["l.fingerprint", *(f"l.{parent_column(parent)}" for parent in spec.parents)])
    desired = ", ".join(["d.fingerprint", *(_parent_id(parent) for parent in spec.parents)])
    both = "hash({})" if spec.parents else "{}"
    chosen = f" WHERE {{}}.fingerprint % {parts} = {part}" if parts > 1 else ""
    return (
        f"SELECT d.r AS dr, l.r AS lr FROM (SELECT d.rowid AS r, {both.format(desired)} AS h"
        f" FROM delta.desired_{spec.object} d{_parent_joins(spec)}{chosen.format('d')}) d FULL JOIN"
        f" (SELECT l.rowid AS r, {both.format(live)} AS h FROM crm_snapshot.{spec.object} l{chosen.format('l')}) l"
        " ON d.h = l.h WHERE d.r IS NULL OR l.r IS NULL"
    )


def differing_rows(side: str) -> str:
    """Our (`dr`) or the CRM's (`lr`) row ids of what differs.

    Only a filter on the smaller side of a join makes DuckDB pass over the other rows while it reads the larger one (with
    a Bloom filter): a third of the time where one record in a hundred differs.
    """
    return f"SELECT {side} FROM differing WHERE {side} IS NOT NULL"


def desired_side(spec: ObjectSpec) -> str:
    """Our side of what differs: fields in normal form, parents by their CRM ids."""
    ids = "".join(f", {_parent_id(parent)} AS {parent_column(parent)}" for parent in spec.parents)
    return f"SELECT d.*{ids} FROM ({desired_rows(spec, _differing_keys(spec))}) d{_parent_joins(spec)}"


def written_side(spec: ObjectSpec) -> str:
    """What the ledger says of our rows that differ. By itself, for a join with long lists on it costs twice as much."""
    return (
        f"SELECT external_id, applied FROM sync.ledger WHERE object = {literal(spec.object)}"
        f" AND external_id IN ({_differing_keys(spec)})"
    )


def _differing_keys(spec: ObjectSpec) -> str:
    return f"SELECT external_id FROM delta.desired_{spec.object} WHERE rowid IN ({differing_rows('dr')})"


def live_side(spec: ObjectSpec, rows: str) -> str:
    """The CRM's side of some rows of the snapshot: fields in normal form, parents by their CRM ids."""
    parents = "".join(f", {parent_column(parent)}" for parent in spec.parents)
    return (
        f"SELECT external_id, crm_id, {normal_forms(spec.fields)}{parents} FROM crm_snapshot.{spec.object} WHERE {rows}"
    )


def _parent_id(parent: CrmObject) -> str:
    return f"coalesce(p_{parent}.crm_id, '?' || d.{quoted(key_column(parent))})"


def _parent_joins(spec: ObjectSpec) -> str:
    return "".join(
        f" LEFT JOIN crm_snapshot.{parent} p_{parent} ON p_{parent}.external_id = d.{quoted(key_column(parent))}"
        for parent in spec.parents
    )


def differences(spec: ObjectSpec) -> str:
    """One row a record of ours that is to be created or changed, or whose observed fields differ.

    Of the fields that differ first the numbers alone are listed, and a struct is made only of these: one of every field
    costs three times as much.
    """
    numbers = ", ".join(_number_if_changed(n, name, f) for n, (name, f) in enumerate(spec.fields.items(), 1))
    ours, theirs = (", ".join(f"{side}.{quoted(name)}" for name in spec.fields) for side in "dl")
    names, owners = (
        f"([{', '.join(literal(each) for each in of_fields)}]::VARCHAR[])"
        for of_fields in (spec.fields, (field.owner for field in spec.fields.values()))
    )
    moved = ", ".join(
        f"CASE WHEN d.{quoted(key_column(p))} IS NOT NULL AND (l.external_id IS NULL"
        f" OR d.{parent_column(p)} IS DISTINCT FROM l.{parent_column(p)}) THEN {literal(p)} END"
        for p in spec.parents
    )
    change = (
        f"{{'field': {names}[abs(n)], 'old': theirs[abs(n)], 'new': ours[abs(n)], 'owner': {owners}[abs(n)],"
        " 'written': n > 0}"
    )
    return (
        "WITH pair AS (SELECT d.external_id, l.crm_id, l.external_id IS NULL AS is_new,"
        f" list_filter([{numbers}]::INTEGER[], lambda n: n IS NOT NULL) AS numbers,"
        f" [{ours}]::VARCHAR[] AS ours, [{theirs}]::VARCHAR[] AS theirs,"
        f" list_filter([{moved}]::VARCHAR[], lambda c: c IS NOT NULL) AS moved,"
        f" {_parents(spec, 'd', key_column)} AS keys, {_parents(spec, 'l', parent_column)} AS linked, w.applied AS said"
        " FROM desired d LEFT JOIN live l USING (external_id) LEFT JOIN written w USING (external_id)),"
        " known AS (SELECT * EXCLUDE (numbers, ours, theirs, said),"
        f" list_transform(numbers, lambda n: {change}) AS changes, said::MAP(VARCHAR, VARCHAR) AS applied"
        " FROM pair WHERE is_new OR len(numbers) + len(moved) > 0),"
        f" classed AS (SELECT * REPLACE (list_transform(changes, lambda c: struct_insert(c, class := {_class()}))"
        " AS changes) FROM known)"
        f" SELECT external_id, crm_id, CASE WHEN is_new THEN '{Action.CREATE}'"
        f" WHEN len(moved) > 0 OR len(list_filter(changes, lambda c: c.written)) > 0 THEN '{Action.UPDATE}'"
        f" ELSE '{Action.UNCHANGED}' END AS action, CASE WHEN is_new THEN 'ours' ELSE {_gravest()} END AS class,"
        f" changes, {_only('keys', 'moved')} AS parents, {_only('linked', 'moved')} AS parents_before FROM classed"
    )


def gone(spec: ObjectSpec) -> str:
    """The CRM's records that we wrote and whose row has left the LMS; a row in quarantine has not left.

    `desired` and `live` hold what differs: a row without its like on the other side always does.

    A record that somebody made in place of ours has another CRM id, and is not ours to archive.
    """
    return (
        "SELECT l.external_id, l.crm_id FROM live l ANTI JOIN desired d USING (external_id)"
        f" ANTI JOIN (SELECT source_id FROM staging.quarantine WHERE entity = {literal(spec.object.entity)}) q"
        " ON q.source_id = l.external_id"
        f" SEMI JOIN (SELECT external_id, crm_id FROM sync.ledger WHERE object = {literal(spec.object)}) g"
        " ON g.external_id = l.external_id AND g.crm_id = l.crm_id"
    )


def _number_if_changed(number: int, name: str, field: FieldSpec) -> str:
    """SQL of a field's number where it has a change that the owner would make or wants to see, negative if not to write."""
    ours, theirs = f"d.{quoted(name)}", f"l.{quoted(name)}"
    conditions = {
        Owner.ENFORCE: f"{ours} IS DISTINCT FROM {theirs}",
        Owner.NEVER_NULL: f"{ours} IS NOT NULL AND {ours} IS DISTINCT FROM {theirs}",
        Owner.FILL_IF_EMPTY: f"{ours} IS NOT NULL AND {theirs} IS NULL",
        Owner.OBSERVE: f"l.external_id IS NOT NULL AND {ours} IS NOT NULL AND {ours} IS DISTINCT FROM {theirs}",
    }
    written = "false" if field.owner is Owner.OBSERVE else f"{ours} IS NULL OR {is_readable(ours, field)}"
    return f"CASE WHEN {conditions[field.owner]} THEN if({written}, {number}, -{number}) END"


def _class() -> str:
    """SQL of a field's class, by what we last wrote there.

    `ours`: the CRM still holds it, so the LMS changed. `drift`: the LMS still says it, so the CRM was changed.
    `conflict`: both left it. A field that we never wrote is ours to write. `unreadable`: what the LMS says is no value of
    the field's type, and is not written.
    """
    return (
        f"CASE WHEN NOT c.written AND c.owner <> {literal(Owner.OBSERVE)} THEN '{UNREADABLE}'"
        " WHEN applied IS NULL OR NOT map_contains(applied, c.field) THEN 'ours'"
        " WHEN applied[c.field] IS NOT DISTINCT FROM c.old THEN 'ours'"
        " WHEN applied[c.field] IS NOT DISTINCT FROM c.new THEN 'drift' ELSE 'conflict' END"
    )


def _gravest() -> str:
    classes = "list_transform(changes, lambda c: c.class)"
    return (
        f"CASE WHEN list_contains({classes}, 'conflict') THEN 'conflict'"
        f" WHEN list_contains({classes}, 'drift') THEN 'drift' ELSE 'ours' END"
    )


def _parents(spec: ObjectSpec, side: str, column: Callable[[CrmObject], str]) -> str:
    """SQL of a map from each parent's object to a column of a side."""
    if not spec.parents:
        return "MAP {}::MAP(VARCHAR, VARCHAR)"
    keys = ", ".join(literal(parent) for parent in spec.parents)
    values = ", ".join(f"{side}.{quoted(column(parent))}" for parent in spec.parents)
    return f"map([{keys}], [{values}]::VARCHAR[])"


def _only(column: str, names: str) -> str:
    """SQL of a map reduced to some of its keys."""
    return f"map({names}, list_transform({names}, lambda n: {column}[n]))"
