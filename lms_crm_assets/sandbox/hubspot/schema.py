"""The portal's schema: object types, their properties and the association types between them.

Standard objects: HubSpot documentation, "Object type IDs" (contacts 0-1, companies 0-2, courses 0-410).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lms_crm_assets.sandbox.hubspot.errors import PORTAL_ID, missing_scopes, unknown_type
from lms_crm_assets.sandbox.hubspot.values import NORMALISERS, iso

MAX_UNIQUE_PROPERTIES = 10
COURSES = "0-410"
BORN_MS = 1_767_225_600_000  # 2026-01-01, when the portal's own definitions were made


@dataclass(slots=True)
class Property:
    """One property definition; `options` maps the value to its label, `unique` is `hasUniqueValue`."""

    name: str
    type: str = "string"
    field_type: str = "text"
    label: str = ""
    options: dict[str, str] = field(default_factory=dict)
    unique: bool = False
    read_only: bool = False
    hubspot_defined: bool = False
    group_name: str = ""
    description: str = ""
    display_order: int = -1
    hidden: bool = False
    form_field: bool = False
    created: int = BORN_MS
    updated: int = BORN_MS
    hidden_options: list[str] = field(default_factory=list)

    def normalise(self, text: str) -> str:
        """The canonical text of a non-empty value; `InvalidValueError` when HubSpot refuses it."""
        kind = self.type
        if self.hubspot_defined and self.name == "email":
            kind = "email"
        elif self.field_type == "checkbox":
            kind = "checkbox"
        return NORMALISERS[kind](self.name, text, self.options)

    def as_json(self, *, archived: bool = False) -> dict[str, Any]:
        """As the properties API shows it."""
        return {
            "name": self.name,
            "label": self.label or self.name,
            "type": self.type,
            "fieldType": self.field_type,
            "description": self.description,
            "groupName": self.group_name,
            "options": [
                {"label": label, "value": value, "displayOrder": place, "hidden": value in self.hidden_options}
                for place, (value, label) in enumerate(self.options.items())
            ],
            "displayOrder": self.display_order,
            "calculated": False,
            "externalOptions": False,
            "hasUniqueValue": self.unique,
            "hidden": self.hidden,
            "hubspotDefined": self.hubspot_defined,
            "formField": self.form_field,
            "archived": archived,
            "createdAt": iso(self.created),
            "updatedAt": iso(self.updated),
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyOptions": False,
                "readOnlyValue": self.read_only,
            },
        }


@dataclass(slots=True)
class Group:
    """A property group."""

    label: str
    display_order: int = -1


@dataclass(slots=True)
class ObjectType:
    """One kind of record. `name` is the plural of a standard object and the short name of a custom one."""

    type_id: str
    name: str
    singular: str
    properties: dict[str, Property]
    created_property: str = "hs_createdate"
    modified_property: str = "hs_lastmodifieddate"
    default_properties: list[str] = field(default_factory=list)
    required: list[str] = field(default_factory=list)
    primary: str = "hs_object_id"
    labels: dict[str, str] = field(default_factory=dict)
    created: int = BORN_MS
    groups: dict[str, Group] = field(default_factory=dict)
    archived_properties: dict[str, Property] = field(default_factory=dict)
    closed: bool = False
    """Whether the app's rights don't reach it."""

    @property
    def custom(self) -> bool:
        """Whether the portal's admin made it."""
        return self.type_id.startswith("2-")

    @property
    def default_group(self) -> str:
        """The property group that is there from the start: `contactinformation`, `lms_enrollment_information`."""
        return f"{self.name}_information" if self.custom else f"{self.singular}information"

    @property
    def full_name(self) -> str:
        """`p12345678_lms_enrollment` for a custom object, else the plural name: its key under `associations`."""
        return f"p{PORTAL_ID}_{self.name}" if self.custom else self.name

    @property
    def label(self) -> str:
        """The name in error texts: `CONTACT`."""
        return self.full_name if self.custom else self.singular.upper()

    @property
    def aliases(self) -> set[str]:
        """Every spelling the API accepts in a path, in lower case."""
        if self.custom:
            return {self.type_id, self.name, f"p_{self.name}", self.full_name}
        return {self.type_id, self.name, self.singular}

    @property
    def system_properties(self) -> tuple[str, str, str]:
        """What every answer carries: the record's id, its creation and its last change."""
        return ("hs_object_id", self.created_property, self.modified_property)

    @property
    def unique_names(self) -> list[str]:
        """Properties whose value only one record can hold; a contact's e-mail is one without `hasUniqueValue`."""
        return [name for name, held in self.properties.items() if held.unique or (name == "email" and not self.custom)]


@dataclass(frozen=True, slots=True)
class AssociationType:
    """One direction of an association type; `inverse` is the id of the other direction."""

    type_id: int
    inverse: int
    category: str
    label: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As `labels` and reads show it."""
        return {"category": self.category, "typeId": self.type_id, "label": self.label}


class Schema:
    """All object types and association types of the portal.

    Without `custom_objects` (they are for the Enterprise tier) nothing shows that there are any; without
    `courses_active` the courses object has to be activated first.
    """

    def __init__(self, types: list[ObjectType], associations: Mapping[tuple[str, str], list[AssociationType]]) -> None:
        self.types: dict[str, ObjectType] = {}
        self.associations = {pair: list(found) for pair, found in associations.items()}
        self._by_alias: dict[str, ObjectType] = {}
        self.custom_objects = True
        self.courses_active = True
        for object_type in types:
            self.add(object_type)

    def add(self, object_type: ObjectType) -> None:
        """Make the type known under all its names, with the groups its properties are in."""
        for known in object_type.properties.values():
            object_type.groups.setdefault(
                known.group_name, Group(object_type.labels.get("singular", "") + " information")
            )
        self.types[object_type.type_id] = object_type
        self._by_alias.update(dict.fromkeys(object_type.aliases, object_type))

    def remove(self, object_type: ObjectType) -> None:
        """Forget the type and the association types from and to it."""
        del self.types[object_type.type_id]
        for alias in object_type.aliases:
            del self._by_alias[alias]
        for pair in [pair for pair in self.associations if object_type.type_id in pair]:
            del self.associations[pair]

    def resolve(self, name: str) -> ObjectType:
        """The type behind a path segment; `HubSpotError` 400 when there is none, 403 while it is not active.

        What HubSpot answers for an object that is not active is unverified; it documents only that it is refused.
        """
        found = self._by_alias.get(name.lower())
        if found is None or (found.custom and not self.custom_objects):
            raise unknown_type(name)
        if found.closed:
            kind = "custom" if found.custom else found.name
            raise missing_scopes(f"crm.objects.{kind}.read", f"crm.objects.{kind}.write")
        if not self.usable(found.type_id):
            raise missing_scopes("crm.objects.courses.read", "crm.objects.courses.write")
        return found

    def usable(self, type_id: str) -> bool:
        """Whether the portal's tier, its admin and the app's rights let this type be used."""
        if self.types[type_id].closed:
            return False
        if type_id == COURSES:
            return self.courses_active
        return self.custom_objects or not self.types[type_id].custom

    def knows(self, name: str) -> bool:
        """Whether a type answers to this name."""
        return name.lower() in self._by_alias

    def next_custom_id(self) -> str:
        """The type id of the next custom object."""
        return f"2-{1 + max((int(known[2:]) for known in self.types if known.startswith('2-')), default=1000)}"

    def associate_types(self, one: str, other: str, category: str = "USER_DEFINED") -> None:
        """Let records of two types be linked, with a new unlabelled association type a direction."""
        if (one, other) in self.associations:
            return
        top = self._top_type_id()
        self.associations[one, other] = [AssociationType(top + 1, top + 2, category)]
        self.associations[other, one] = [AssociationType(top + 2, top + 1, category)]

    def add_label(self, one: str, other: str, label: str, inverse: str) -> tuple[AssociationType, AssociationType]:
        """A labelled association type for each direction, beside the unlabelled ones."""
        self.associate_types(one, other)
        top = self._top_type_id()
        there = AssociationType(top + 1, top + 2, "USER_DEFINED", label)
        back = AssociationType(top + 2, top + 1, "USER_DEFINED", inverse)
        self.associations[one, other].append(there)
        self.associations[other, one].append(back)
        return there, back

    def _top_type_id(self) -> int:
        return max((kind.type_id for kinds in self.associations.values() for kind in kinds), default=0)

    def dump(self) -> dict[str, Any]:
        """JSON-able; `Schema.load` takes it up."""
        return {
            "types": [asdict(object_type) for object_type in self.types.values()],
            "associations": [[*pair, [asdict(kind) for kind in kinds]] for pair, kinds in self.associations.items()],
        }

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> "Schema":
        """The schema that `dump` gave."""
        return cls(
            [_object_type(given) for given in state["types"]],
            {(one, other): [AssociationType(**kind) for kind in kinds] for one, other, kinds in state["associations"]},
        )


def _object_type(state: Mapping[str, Any]) -> ObjectType:
    parts: dict[str, Any] = {
        "properties": {name: Property(**given) for name, given in state["properties"].items()},
        "archived_properties": {
            name: Property(**given) for name, given in state.get("archived_properties", {}).items()
        },
        "groups": {name: Group(**given) for name, given in state.get("groups", {}).items()},
    }
    return ObjectType(**{**state, **parts})


def system_properties(object_type: ObjectType) -> Iterator[Property]:
    """The read-only properties HubSpot keeps itself."""
    group = object_type.default_group
    yield Property("hs_object_id", "number", "number", "Record ID", read_only=True, group_name=group)
    for name, label in (
        (object_type.created_property, "Create date"),
        (object_type.modified_property, "Last modified"),
    ):
        yield Property(name, "datetime", "date", label, read_only=True, group_name=group)
