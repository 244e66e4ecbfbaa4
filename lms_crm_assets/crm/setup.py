"""What a CRM lacks of what a contract names, as changes that can be read before they are made."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.acceptance import Finding, Severity
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.crm.examine import Examination
from lms_crm_assets.domain import CrmObject, FieldType

Crm = Literal["hubspot", "salesforce"]

GROUP = "lms"
"""The property group that HubSpot shows our properties under."""

HUBSPOT_TYPES = {
    Kind.TEXT: ("string", "text"),
    Kind.EMAIL: ("string", "text"),
    Kind.NUMBER: ("number", "number"),
    Kind.BOOLEAN: ("bool", "booleancheckbox"),
    Kind.DATETIME: ("datetime", "date"),
    Kind.DATE: ("date", "date"),
    Kind.PICKLIST: ("enumeration", "select"),
}
"""Type and field type of a property (HubSpot documentation, "Properties")."""

_KINDS = {
    FieldType.TEXT: Kind.TEXT,
    FieldType.EMAIL: Kind.EMAIL,
    FieldType.NUMBER: Kind.NUMBER,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATETIME: Kind.DATETIME,
}
_DEFAULT_LABEL = "default"
_HUBSPOT_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_HUBSPOT_OBJECT = re.compile(r"p\d*_([a-z][a-z0-9_]*)")
_SALESFORCE_NAME = re.compile(r"[A-Za-z]\w*__c")
_SALESFORCE_TEXT = 255
_SALESFORCE_DIGITS = 18
_KEY_LENGTH = 64


class What(StrEnum):
    """What is made, in the order of making it."""

    OBJECT = "object"
    GROUP = "group"
    PROPERTY = "property"
    OPTIONS = "options"
    ASSOCIATION = "association"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class NewField:
    """A field to be made; `words` are the options of a choice, `description` is its type in the CRM's own words."""

    name: str
    kind: Kind
    description: str
    unique: bool = False
    multiple: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to be made in the CRM's object `to`.

    `name` is the thing's own name, `path` the keys of the contract that need it. `fields` come with a new object, and are
    the one field of a new property or of new options; `parents` are what a new object or association leads to.
    """

    what: What
    object: CrmObject
    to: str
    name: str
    path: tuple[str, ...]
    fields: tuple[NewField, ...] = ()
    parents: tuple[str, ...] = ()

    @property
    def lines(self) -> Iterator[str]:
        """For people: what is made, then its fields where they come with it."""
        why = f": {'.'.join(self.path)}"
        match self.what:
            case What.OBJECT:
                linked = f", linked to {' and '.join(self.parents)}" if self.parents else ""
                yield f"+ object {self.to}{linked}{why}"
                for field in self.fields:
                    yield f"    + {field.name} ({field.description})"
            case What.PROPERTY:
                yield f"+ field {self.to}.{self.name} ({self.fields[0].description}){why}"
            case What.OPTIONS:
                yield f"+ {', '.join(self.fields[0].words)} as options of {self.to}.{self.name}{why}"
            case What.GROUP:
                yield f"+ property group {self.name} of {self.to}{why}"
            case What.ASSOCIATION:
                of_field = f" by {self.name}" if self.name else ""
                yield f"+ association from {self.to} to {self.parents[0]}{of_field}{why}"
            case What.LABEL:
                yield f"+ association label {self.name!r} from {self.to} to {self.parents[0]}{why}"


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """What is to be made, in order, and the errors that making it does not mend."""

    changes: list[Change]
    left: list[Finding]


class Definitions(Protocol):
    """How a CRM's definitions are read and made; the errors of `errors` say what to do."""

    def groups(self, to: str) -> frozenset[str]:
        """The property groups of an object."""

    def make(self, change: Change) -> None:
        """Carry one change out."""

    def close(self) -> None:
        """Give the connections back."""


def plan(crm: Crm, found: Mapping[CrmObject, Examination], groups: Mapping[str, frozenset[str]]) -> SetupPlan:
    """The changes that make the CRM suit the contract; `groups` are the property groups of HubSpot's objects."""
    changes: list[Change] = []
    for examined in found.values():
        changes.extend(_object_changes(crm, examined.spec, examined.schema))
    needing = {change.to: change for change in changes if change.what is What.PROPERTY} if crm == "hubspot" else {}
    changes.extend(
        Change(What.GROUP, change.object, to, GROUP, change.path[:2])
        for to, change in needing.items()
        if GROUP not in groups.get(to, frozenset())
    )
    order = list(What)
    changes.sort(key=lambda change: order.index(change.what))
    mended = {change.path for change in changes}
    left = [
        finding
        for examined in found.values()
        for finding in examined.findings
        if finding.severity is Severity.ERROR and finding.path not in mended
    ]
    return SetupPlan(changes, left)


def advice(crm: Crm, to_make: SetupPlan, found: Mapping[CrmObject, Examination]) -> Iterator[str]:
    """What a person has to know who makes in the CRM's own pages what we can't."""
    if crm == "salesforce" and to_make.changes:
        yield (
            "An admin makes these in Setup, Object Manager; the names are API names. Then the integration's user needs read"
            " and edit access to them: a permission set, or the fields' own security."
        )
    standard = [
        examined.spec.to for examined in found.values() if examined.schema is None and examined.spec.to[0].isdigit()
    ]
    for to in standard if crm == "hubspot" else []:
        yield f"{to}, if it is a standard object, has to be activated by an admin: Data Management, Object Library."


def _object_changes(crm: Crm, spec: ObjectSpec, schema: CrmSchema | None) -> Iterator[Change]:
    at = ("objects", str(spec.object))
    if schema is None:
        if _can_be_made(crm, spec):
            fields = tuple(field for field in _fields(crm, spec) if _is_own_name(crm, field.name))
            parents = tuple(parent.to for parent in spec.parents.values())
            yield Change(What.OBJECT, spec.object, spec.to, _object_name(crm, spec.to), (*at, "to"), fields, parents)
            yield from _labels(crm, spec, at, {})
        return
    for field in _fields(crm, spec):
        path = (*at, "match_key") if field.name == spec.match_key else (*at, "fields", field.name)
        held = schema.fields.get(field.name)
        if held is None:
            if _is_own_name(crm, field.name):
                yield Change(What.PROPERTY, spec.object, spec.to, field.name, path, (field,))
        elif absent := _absent(spec.fields.get(field.name), held):
            options = NewField(field.name, Kind.PICKLIST, "options", multiple=held.multiple, words=absent)
            yield Change(What.OPTIONS, spec.object, spec.to, field.name, path, (options,))
    yield from _labels(crm, spec, at, schema.relations)


def _labels(
    crm: Crm, spec: ObjectSpec, at: tuple[str, ...], relations: Mapping[str, frozenset[str]]
) -> Iterator[Change]:
    """Associations and labels that are not there; a new object of HubSpot comes with its associations."""
    for parent, of in spec.parents.items():
        known = relations.get(of.to, frozenset())
        path = (*at, "parents", str(parent))
        if of.relation in known:
            continue
        if crm == "salesforce":
            if of.relation.endswith("__r"):
                field = of.relation.removesuffix("__r") + "__c"
                yield Change(
                    What.ASSOCIATION, spec.object, spec.to, f"the lookup field {field}", path, parents=(of.to,)
                )
            continue
        if not known and relations:
            yield Change(What.ASSOCIATION, spec.object, spec.to, "", path, parents=(of.to,))
        if of.relation != _DEFAULT_LABEL:
            yield Change(What.LABEL, spec.object, spec.to, of.relation, path, parents=(of.to,))


def _fields(crm: Crm, spec: ObjectSpec) -> Iterator[NewField]:
    """Match key and fields as they would be made."""
    key = "string/text, unique" if crm == "hubspot" else f"Text({_KEY_LENGTH}), unique, case-sensitive, external id"
    yield NewField(spec.match_key, Kind.TEXT, key, unique=True)
    for name, field in spec.fields.items():
        if name == spec.match_key:
            continue
        kind = _KINDS[field.type]
        multiple = False
        if field.words is not None:
            kind, multiple = Kind.PICKLIST, "choices" in field.normalisers
        elif kind is Kind.DATETIME and "date" in field.normalisers:
            kind = Kind.DATE
        words = tuple(sorted(_words(field, multiple=multiple)))
        yield NewField(name, kind, _described(crm, kind, field, words), multiple=multiple, words=words)


def _described(crm: Crm, kind: Kind, field: FieldSpec, words: tuple[str, ...]) -> str:
    options = f": {', '.join(words)}" if words else ""
    if crm == "hubspot":
        return "/".join(HUBSPOT_TYPES[kind]) + options
    length = field.max_length or _SALESFORCE_TEXT
    text = f"Text({length})" if length <= _SALESFORCE_TEXT else f"Long Text Area({length})"
    return {
        Kind.TEXT: text,
        Kind.EMAIL: "Email",
        Kind.NUMBER: f"Number({_SALESFORCE_DIGITS - field.scale}, {field.scale})",
        Kind.BOOLEAN: "Checkbox",
        Kind.DATETIME: "Date/Time",
        Kind.DATE: "Date",
        Kind.PICKLIST: f"Picklist{options}",
    }[kind]


def _absent(field: FieldSpec | None, held: CrmField) -> tuple[str, ...]:
    """The contract's words that a choice refuses."""
    if field is None or field.words is None or held.kind is not Kind.PICKLIST or not held.restricted:
        return ()
    return tuple(sorted(_words(field, multiple=held.multiple) - set(held.picklist)))


def _words(field: FieldSpec, *, multiple: bool) -> frozenset[str]:
    """The options that hold the field's words; of a multiple choice a word may be several of them."""
    words = field.words or frozenset()
    return frozenset(part.strip() for word in words for part in word.split(";")) if multiple else words


def _can_be_made(crm: Crm, spec: ObjectSpec) -> bool:
    """Whether the object's name is one of the CRM's custom objects; a standard one is activated, or misspelled."""
    names = [spec.match_key, *spec.fields]
    pattern = _HUBSPOT_OBJECT if crm == "hubspot" else _SALESFORCE_NAME
    return pattern.fullmatch(spec.to) is not None and all(_is_own_name(crm, name) or name == "Name" for name in names)


def _object_name(crm: Crm, to: str) -> str:
    found = _HUBSPOT_OBJECT.fullmatch(to) if crm == "hubspot" else None
    return found[1] if found else to


def _is_own_name(crm: Crm, name: str) -> bool:
    return (_HUBSPOT_NAME if crm == "hubspot" else _SALESFORCE_NAME).fullmatch(name) is not None
