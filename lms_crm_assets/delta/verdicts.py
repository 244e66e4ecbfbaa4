"""The SQL that finds what a CRM would refuse by its schema: lengths, choices, needed and unique values, digits, parents."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from lms_crm_assets.checks import destination_codes as codes
from lms_crm_assets.checks.codes import Code
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.delta.compare import ALLOWED, UNREADABLE
from lms_crm_assets.delta.incomplete import INCOMPLETE
from lms_crm_assets.domain import Action, CrmObject, RuleSeverity
from lms_crm_assets.warehouse.sql import literal, quoted

_TEXTS = frozenset({Kind.TEXT, Kind.EMAIL})


def verdicts(spec: ObjectSpec, schema: CrmSchema | None, unsent: Collection[CrmObject] = frozenset()) -> Iterator[str]:
    """Queries of `external_id, code, field, value` over the temp tables `different` and `desired`, one row a fault.

    `unsent` are objects of which no record is sent: what is to be linked to one needs it in the CRM already.
    """
    writes = [action for action in (Action.CREATE, Action.UPDATE) if action in ALLOWED[spec.mode]]
    if not writes:
        return
    written = f"(FROM different WHERE action IN ({', '.join(map(literal, writes))}))"
    changes = f"(SELECT external_id, action, unnest(changes) AS c FROM {written})"
    # What is left alone may be all that differs.
    allowed = ", ".join(map(literal, (*writes, Action.UNCHANGED)))
    left_alone = f"(SELECT external_id, unnest(changes) AS c FROM different WHERE action IN ({allowed}))"
    yield _rows(codes.UNREADABLE, "c.field", "c.new", left_alone, f"c.class = '{UNREADABLE}'")
    yield _rows(codes.PARTLY_REFUSED, "c.field", "c.new", left_alone, f"c.class = '{INCOMPLETE}'")
    yield from _orphans(spec, written, unsent)
    if schema is None:
        return
    held = {name: schema.fields[name] for name in spec.fields if name in schema.fields}
    for code, conditions in (
        (codes.TOO_LONG, _too_long(held)),
        (codes.NOT_A_CHOICE, _no_choices(held)),
        (codes.TOO_LARGE, _too_large(held)),
        (codes.NEEDED, [_of(name, "c.new IS NULL") for name, field in held.items() if not field.nullable]),
        (codes.TAKEN, _taken(spec, held, changes)),
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
    relations = {parent.relation: obj for obj, parent in spec.parents.items()}
    filled = "list_transform(list_filter(changes, lambda c: c.written AND c.new IS NOT NULL), lambda c: c.field)"
    for name, field in schema.fields.items():
        if field.required and name != spec.match_key:
            condition = f"NOT list_contains({filled}, {literal(name)})"
            if (parent := relations.get(field.relationship or "")) is not None:
                condition = f"parents[{literal(parent)}] IS NULL"
            yield _rows(codes.NEEDED, literal(name), "NULL", created, condition)


def _orphans(spec: ObjectSpec, written: str, unsent: Collection[CrmObject]) -> Iterator[str]:
    """Records that are to be linked to one that is not in the CRM, and is refused or of an object that isn't sent."""
    for parent in spec.parents:
        linked = f"parents[{literal(parent)}]"
        if parent in unsent:
            absent = f"{linked} NOT IN (SELECT external_id FROM crm_snapshot.{parent})"
            yield _rows(codes.WITHOUT_PARENT, literal(parent), linked, written, absent)
            continue
        waiting = (
            f"SELECT external_id FROM delta.refused WHERE object = {literal(parent)} AND severity = '{RuleSeverity.ERROR}'"
            f" AND external_id NOT IN (SELECT external_id FROM crm_snapshot.{parent})"
        )
        yield _rows(codes.WITHOUT_PARENT, literal(parent), linked, written, f"{linked} IN ({waiting})")


def _rows(code: Code, field: str, value: str, rows: str, condition: str) -> str:
    return f"SELECT external_id, {literal(code.code)}, {field}, {value} FROM {rows} WHERE {condition}"


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
    """SQL of whether a picklist lacks a value; in another case it has it, for which a CRM may keep its own spelling."""
    known = _list(sorted({word.strip().lower() for word in field.picklist}))
    words = "string_split(lower(c.new), ';')" if field.multiple else "[lower(c.new)]"
    return f"len(list_filter({words}, lambda w: trim(w) <> '' AND NOT list_contains({known}, trim(w)))) > 0"


def _too_large(held: Mapping[str, CrmField]) -> list[str]:
    return [
        _of(name, f"abs(round(TRY_CAST(c.new AS DOUBLE), {field.scale or 0:d})) >= 1e{field.digits:d}")
        for name, field in held.items()
        if field.kind is Kind.NUMBER and field.digits is not None
    ]


def _taken(spec: ObjectSpec, held: Mapping[str, CrmField], changes: str) -> list[str]:
    """Values of unique fields that two of our records get, or that another record in the CRM holds and keeps."""
    found = []
    for name, field in held.items():
        if not field.unique or name == spec.match_key:
            continue
        same = "lower({})" if field.caseless else "{}"
        ours, theirs = same.format("c.new"), same.format(normal_form(quoted(name), spec.fields[name]))
        written = f"{changes} WHERE c.field = {literal(name)} AND c.written"
        twice = f"SELECT {ours} AS v FROM {written} AND c.new IS NOT NULL GROUP BY ALL HAVING count(*) > 1"
        giving_up = f"SELECT external_id FROM {written}"
        kept = f"SELECT {theirs} FROM crm_snapshot.{spec.object} WHERE external_id NOT IN ({giving_up})"
        found.append(_of(name, f"{ours} IN ({twice} UNION ALL {kept})"))
    return found


def _list(words: Iterable[str]) -> str:
    return f"[{', '.join(literal(word) for word in words)}]::VARCHAR[]"
