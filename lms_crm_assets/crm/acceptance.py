"""Whether a CRM, as it was discovered, can hold what a contract sends: every trouble with what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode


class Severity(StrEnum):
    """`error`: the run would fail or never come to rest. `warning`: records may be refused. `note`: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble: the keys of the contract that it is about, what is wrong and what to do.

    `per_record`: only records with certain values are concerned, and these are refused one by one before they are sent,
    so that it is no reason to hold up a run.
    """

    severity: Severity
    path: tuple[str, ...]
    message: str
    remedy: str
    per_record: bool = False

    @property
    def blocks(self) -> bool:
        """Whether nothing may be sent until it is mended."""
        return self.severity is Severity.ERROR and not self.per_record

    @property
    def text(self) -> str:
        """The finding as one line, without its place."""
        return f"{'.'.join(self.path)}: {self.message}; {self.remedy}"


_HOLDS = {
    FieldType.TEXT: frozenset({Kind.TEXT, Kind.PICKLIST}),
    FieldType.EMAIL: frozenset({Kind.EMAIL, Kind.TEXT}),
    FieldType.NUMBER: frozenset({Kind.NUMBER}),
    FieldType.BOOLEAN: frozenset({Kind.BOOLEAN}),
    FieldType.DATETIME: frozenset({Kind.DATETIME, Kind.DATE}),
}
_BETTER_TYPE = {
    Kind.TEXT: "text",
    Kind.EMAIL: "email",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.DATETIME: "datetime",
    Kind.DATE: "datetime",
    Kind.PICKLIST: "text",
}
_CASES = frozenset({"lower", "upper"})
_CREATING = frozenset({SyncMode.UPSERT, SyncMode.INSERT, SyncMode.MIRROR})
_UPDATING = frozenset({SyncMode.UPSERT, SyncMode.UPDATE, SyncMode.MIRROR})
# Below this a learner's or course's text is likely to be longer some day.
_SHORT = 100


def accept(spec: ObjectSpec, schema: CrmSchema | None) -> list[Finding]:
    """Every finding about one object, in the contract's order; `schema` is None when the CRM has no such object."""
    here = ("objects", str(spec.object))
    if schema is None:
        return [
            Finding(
                Severity.ERROR,
                (*here, "to"),
                f"the CRM has no object '{spec.to}'",
                "make it there, mend the name, or let the integration's user see it",
            )
        ]
    found = [*_match_key(spec, schema)]
    for name, field in spec.fields.items():
        at = (*here, "fields", name)
        held = schema.fields.get(name)
        found.extend([_missing(at, name, schema)] if held is None else _field(at, spec, field, held))
    found.extend(_relations(spec, schema))
    found.extend(_required(spec, schema))
    return found


def unmapped(spec: ObjectSpec, schema: CrmSchema) -> list[CrmField]:
    """The writable fields of the CRM's object that the contract doesn't name, by name."""
    named = {spec.match_key, *spec.fields}
    relations = {parent.relation for parent in spec.parents.values()}
    return sorted(
        (
            field
            for name, field in schema.fields.items()
            if name not in named and (field.createable or field.updateable) and field.relationship not in relations
        ),
        key=lambda field: field.name,
    )


def _missing(at: tuple[str, ...], name: str, schema: CrmSchema) -> Finding:
    spelled = {known.lower(): known for known in schema.fields}
    # A key that is a little like another one may be meant to be another.
    cutoff = 0.85 if at[-1] == "match_key" else 0.75
    close = [spelled[found] for found in get_close_matches(name.lower(), spelled, 1, cutoff)]
    make = "make the field there (lms-crm crm setup)"
    remedy = f"write '{close[0]}', or {make}" if close else f"{make}, or mend the name"
    return Finding(Severity.ERROR, at, f"{schema.to} has no field '{name}'", remedy)


def _match_key(spec: ObjectSpec, schema: CrmSchema) -> Iterator[Finding]:
    at = ("objects", str(spec.object), "match_key")
    held = schema.fields.get(spec.match_key)
    if held is None:
        yield _missing(at, spec.match_key, schema)
        return
    if held.kind is not Kind.TEXT:
        yield Finding(Severity.ERROR, at, f"the field is a {held.type}", "use a text field for the LMS's id")
    if not (held.unique and held.key):
        yield Finding(
            Severity.ERROR,
            at,
            f"'{held.name}' is {'no external id' if held.unique else 'not unique'}, so that records can't be found by it",
            "make it unique and an external id (Salesforce), or make a property with hasUniqueValue (HubSpot: only at"
            " its creation)",
        )
    if not held.createable and spec.mode in _CREATING:
        yield Finding(Severity.ERROR, at, f"'{held.name}' can't be written", "let the integration's user write it")
    if held.caseless:
        yield Finding(
            Severity.NOTE,
            at,
            "the CRM takes ids that differ by upper and lower case only for one",
            "make the field case-sensitive there if the LMS has such ids",
        )


def _field(at: tuple[str, ...], spec: ObjectSpec, field: FieldSpec, held: CrmField) -> Iterator[Finding]:
    if held.kind not in _HOLDS[field.type]:
        better = _BETTER_TYPE.get(held.kind)
        remedy = f"use 'type: {better}' if the values fit, or another field" if better else "map another field"
        if held.kind is Kind.REFERENCE:
            remedy = "name it under 'parents'"
        yield Finding(Severity.ERROR, at, f"the CRM's type is {held.type}, the contract's {field.type}", remedy)
        return
    yield from _writable(at, spec, field, held)
    yield from _size(at, field, held)
    yield from _words(at, field, held)
    yield from _restless(at, field, held)
    dates = "date" in field.normalisers
    if field.type is FieldType.DATETIME and dates != (held.kind is Kind.DATE):
        remedy = "drop 'normalise: [date]'" if dates else "add 'normalise: [date]'"
        yield Finding(Severity.ERROR, at, f"the CRM's field is a {held.type}", remedy)


def _writable(at: tuple[str, ...], spec: ObjectSpec, field: FieldSpec, held: CrmField) -> Iterator[Finding]:
    if field.owner is Owner.OBSERVE:
        return
    remedy = "let the integration's user write it, or use 'owner: observe'"
    if not (held.createable or held.updateable):
        yield Finding(Severity.ERROR, at, f"'{held.name}' can't be written", remedy)
    elif spec.mode in _UPDATING and not held.updateable:
        yield Finding(Severity.ERROR, at, f"'{held.name}' can't be changed after creation", remedy)
    elif spec.mode in _CREATING and not held.createable:
        yield Finding(Severity.ERROR, at, f"'{held.name}' can't be set at creation", remedy)


def _size(at: tuple[str, ...], field: FieldSpec, held: CrmField) -> Iterator[Finding]:
    if field.type is FieldType.NUMBER and held.scale is not None and held.scale < field.scale:
        yield Finding(
            Severity.ERROR,
            at,
            f"the CRM keeps {held.scale} decimals, the contract compares {field.scale}: they would differ for ever",
            f"use 'scale: {held.scale}'",
        )
    if held.length is None or field.type not in {FieldType.TEXT, FieldType.EMAIL}:
        return
    longest = max(map(len, field.words)) if field.words else field.max_length
    if longest is not None and longest > held.length:
        yield Finding(
            Severity.ERROR,
            at,
            f"the field holds {held.length} characters, the contract sends up to {longest}",
            f"lengthen the field, or use 'max_length: {held.length}'",
            per_record=True,
        )
    elif longest is None and held.length < _SHORT and "country" not in field.normalisers:
        yield Finding(
            Severity.NOTE,
            at,
            f"the field holds {held.length} characters, a longer text is refused",
            f"use 'max_length: {held.length}' to have it cut",
        )


def _words(at: tuple[str, ...], field: FieldSpec, held: CrmField) -> Iterator[Finding]:
    if held.kind is not Kind.PICKLIST:
        return
    if field.words is None:
        if held.restricted:
            yield Finding(
                Severity.NOTE, at, "only the picklist's values are taken", f"they are: {', '.join(held.picklist)}"
            )
        elif _CASES.isdisjoint(field.normalisers):
            yield Finding(
                Severity.WARNING,
                at,
                "the picklist keeps a word in the spelling that it has already, 'Test' for 'TEST'",
                "add 'normalise: [lower]', so that case is no difference",
            )
        return
    words = {part.strip() for word in field.words for part in word.split(";")} if held.multiple else field.words
    absent = sorted(words - set(held.picklist))
    if absent:
        yield Finding(
            Severity.ERROR if held.restricted else Severity.WARNING,
            at,
            f"the picklist has no value {', '.join(map(repr, absent))}",
            f"add it there, or translate with 'values' to one of: {', '.join(held.picklist)}",
            per_record=True,
        )


def _restless(at: tuple[str, ...], field: FieldSpec, held: CrmField) -> Iterator[Finding]:
    """Fields that the CRM changes by itself after they were written, and that would be written again in every run."""
    if field.owner is Owner.FILL_IF_EMPTY and held.type == "boolean":
        yield Finding(
            Severity.WARNING,
            at,
            "a checkbox of Salesforce is never empty, so nothing is ever filled",
            "use another owner",
        )
    if field.owner not in {Owner.ENFORCE, Owner.NEVER_NULL}:
        return
    calm = "use 'owner: fill_if_empty' or 'owner: observe'"
    if held.rich:
        yield Finding(
            Severity.ERROR,
            at,
            "the CRM rewrites rich text, which would differ for ever",
            f"map a plain field, or {calm}",
        )
    if held.multiple and "choices" not in field.normalisers:
        yield Finding(
            Severity.ERROR,
            at,
            "the CRM gives several choices back in an order of its own, which would differ for ever",
            "add 'normalise: [choices]'",
        )
    if held.name == "lifecyclestage":
        yield Finding(Severity.WARNING, at, "HubSpot moves a lifecycle stage forwards only, and says nothing", calm)


def _relations(spec: ObjectSpec, schema: CrmSchema) -> Iterator[Finding]:
    for parent, to in spec.parents.items():
        known = schema.relations.get(to.to, frozenset())
        if to.relation not in known:
            names = ", ".join(sorted(known))
            yield Finding(
                Severity.ERROR,
                ("objects", str(spec.object), "parents", str(parent)),
                f"{schema.to} has no relationship '{to.relation}' to {to.to}",
                f"use one of: {names}" if names else f"make a relationship from {schema.to} to {to.to} in the CRM",
            )


def _required(spec: ObjectSpec, schema: CrmSchema) -> Iterator[Finding]:
    if spec.mode not in _CREATING:
        return
    relations = {parent.relation for parent in spec.parents.values()}
    for name, held in schema.fields.items():
        if not held.required or name == spec.match_key or held.relationship in relations:
            continue
        if spec.filled_there is None or name in spec.filled_there:
            continue
        field = spec.fields.get(name)
        at = ("objects", str(spec.object), "fields")
        if field is None:
            remedy = f"map it, or give it a constant: {name}: {{value: …}}"
            if held.kind is Kind.REFERENCE:
                remedy = "name it under 'parents', or give it a default in the CRM"
            yield Finding(
                Severity.ERROR,
                at,
                f"{schema.to} can't be created without '{name}', which is not mapped",
                remedy,
                per_record=True,
            )
        elif field.owner is Owner.OBSERVE:
            yield Finding(
                Severity.ERROR,
                (*at, name),
                f"{schema.to} can't be created without it, and 'observe' never writes",
                "use another owner",
                per_record=True,
            )


def has_errors(findings: dict[CrmObject, list[Finding]]) -> bool:
    """Whether any finding has to be mended before a run."""
    return any(finding.severity is Severity.ERROR for found in findings.values() for finding in found)
