"""What a CRM tells of one of its objects, the same for every CRM; adapters fill it from their own answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a CRM field can hold."""

    TEXT = "text"
    EMAIL = "email"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    DATE = "date"
    PICKLIST = "picklist"
    REFERENCE = "reference"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class CrmField:
    """One field. `type` is the CRM's own word.

    `length` counts characters, `scale` decimals, `digits` those before the decimal point; None where nothing limits.
    `required` means that a record can't be created without a value. `restricted`: only the words of `picklist` are
    taken. `multiple`: several of them, which the CRM gives back in an order of its own. `rich`: the CRM rewrites what is
    written. `caseless`: a unique field that takes `A` and `a` for the same. `nullable`: a value may be taken away again. `relationship` is the name by which a reference is written, `references` are the objects it may point to. `label` is what people see: another one is no other field.
    """

    name: str
    type: str
    kind: Kind
    length: int | None = None
    scale: int | None = None
    required: bool = False
    createable: bool = True
    updateable: bool = True
    unique: bool = False
    key: bool = False
    picklist: tuple[str, ...] = ()
    restricted: bool = False
    multiple: bool = False
    rich: bool = False
    caseless: bool = False
    nullable: bool = True
    references: tuple[str, ...] = ()
    relationship: str | None = None
    digits: int | None = None
    label: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class CrmSchema:
    """One object: its fields by name, and by which names it can be linked to each parent that was asked for."""

    to: str
    fields: Mapping[str, CrmField]
    relations: Mapping[str, frozenset[str]] = field(default_factory=dict)


_SALESFORCE_KINDS = {
    **dict.fromkeys(("string", "textarea", "phone", "url", "encryptedstring"), Kind.TEXT),
    **dict.fromkeys(("double", "currency", "percent", "int", "long"), Kind.NUMBER),
    **dict.fromkeys(("picklist", "multipicklist", "combobox"), Kind.PICKLIST),
    **{kind.value: kind for kind in (Kind.EMAIL, Kind.BOOLEAN, Kind.DATETIME, Kind.DATE, Kind.REFERENCE)},
}
_HUBSPOT_KINDS = {
    **dict.fromkeys(("string", "phone_number"), Kind.TEXT),
    **{kind.value: kind for kind in (Kind.NUMBER, Kind.DATETIME, Kind.DATE)},
    "bool": Kind.BOOLEAN,
    "enumeration": Kind.PICKLIST,
}
# HubSpot documentation, "Properties": the longest value of a property.
_HUBSPOT_LENGTH = 65_536


def from_describe(answer: Mapping[str, Any], parents: Iterable[str]) -> CrmSchema:
    """A Salesforce object (REST guide, sObject Describe)."""
    fields = {told["name"]: _salesforce_field(told) for told in answer["fields"]}
    relations = {
        parent: frozenset(
            found.relationship
            for found in fields.values()
            if found.relationship and parent.lower() in {target.lower() for target in found.references}
        )
        for parent in parents
    }
    return CrmSchema(answer["name"], fields, relations)


def from_properties(
    to: str,
    properties: Sequence[Mapping[str, Any]],
    required: Iterable[str],
    labels: Mapping[str, Sequence[Mapping[str, Any]]],
) -> CrmSchema:
    """A HubSpot object (Properties API, the schema's `requiredProperties`, association labels by parent)."""
    needed = frozenset(required)
    fields = {told["name"]: _hubspot_field(told, needed) for told in properties}
    relations = {
        parent: frozenset({"default", *(kind["label"] for kind in kinds if kind.get("label"))} if kinds else ())
        for parent, kinds in labels.items()
    }
    return CrmSchema(to, fields, relations)


def _salesforce_field(told: Mapping[str, Any]) -> CrmField:
    kind = _SALESFORCE_KINDS.get(told["type"], Kind.OTHER)
    texts = kind in {Kind.TEXT, Kind.EMAIL}
    return CrmField(
        name=told["name"],
        type=told["type"],
        kind=kind,
        length=told["length"] or None if texts else None,
        scale=0 if told["type"] in {"int", "long"} else told["scale"] if kind is Kind.NUMBER else None,
        required=told["createable"] and not told["nillable"] and not told["defaultedOnCreate"],
        createable=told["createable"],
        updateable=told["updateable"],
        unique=told["unique"],
        key=told["externalId"],
        picklist=tuple(one["value"] for one in told["picklistValues"] if one["active"]),
        restricted=told["restrictedPicklist"],
        multiple=told["type"] == "multipicklist",
        rich=bool(told.get("htmlFormatted")),
        caseless=told["unique"] and not told.get("caseSensitive"),
        nullable=told["nillable"],
        references=tuple(told["referenceTo"]),
        relationship=told["relationshipName"],
        digits=_digits(told) if kind is Kind.NUMBER else None,
        label=told.get("label") or "",
    )


def _digits(told: Mapping[str, Any]) -> int | None:
    """The digits that stand before the point: of whole numbers `digits`, of others all less the decimals."""
    if told["type"] in {"int", "long"}:
        return told.get("digits") or None
    precision = told.get("precision") or 0
    return precision - told["scale"] if precision else None


def _hubspot_field(told: Mapping[str, Any], required: frozenset[str]) -> CrmField:
    kind = _HUBSPOT_KINDS.get(told["type"], Kind.OTHER)
    if told["name"] == "email" and told.get("hubspotDefined"):
        kind = Kind.EMAIL
    writable = not ((told.get("modificationMetadata") or {}).get("readOnlyValue") or told.get("calculated"))
    unique = bool(told.get("hasUniqueValue"))
    options = tuple(one["value"] for one in told.get("options") or ()) if kind is Kind.PICKLIST else ()
    return CrmField(
        name=told["name"],
        type=told["type"],
        kind=kind,
        length=_HUBSPOT_LENGTH if kind is Kind.TEXT else None,
        required=told["name"] in required,
        createable=writable,
        updateable=writable,
        # A contact's address is unique, though the property doesn't say so; no two spellings of it are.
        unique=unique or kind is Kind.EMAIL,
        key=unique,
        caseless=kind is Kind.EMAIL,
        picklist=options,
        restricted=bool(options) and not told.get("externalOptions"),
        multiple=kind is Kind.PICKLIST and told.get("fieldType") == "checkbox",
        rich=told.get("fieldType") == "html",
        label=told.get("label") or "",
    )
