"""Objects and fields: what one is, and who sees it.

An administrator may change them while the org runs (`reshaping`). A field keeps its place in a record's values for good:
a new one comes last, a deleted one stays there under another name, as the platform keeps it (`Title_del__c`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

FieldType = Literal[
    "id", "string", "textarea", "email", "phone", "picklist", "boolean", "double", "datetime", "reference"
]
Access = Literal["edit", "read", "none"]
TEXT_TYPES = frozenset({"string", "textarea", "email", "phone", "picklist"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `length` counts characters; `precision` all digits, `scale` those after the point.

    `unique` values are compared without regard to case; `external_id` and `id_lookup` allow an upsert by a value, which
    several records may share. `values` are a picklist's, those of them that are `inactive` too. `access` is what the
    integration's user may do, `writable` what the platform lets anyone do. `stored` is False for what a record carries
    outside its values: the id, the audit fields, a compound name.
    """

    name: str
    label: str
    type: FieldType
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    writable: bool = True
    unique: bool = False
    external_id: bool = False
    id_lookup: bool = False
    values: tuple[str, ...] = ()
    inactive: frozenset[str] = frozenset()
    restricted: bool = True
    refers_to: str = ""
    relationship: str = ""
    children: str = ""
    name_field: bool = False
    auto_number: str = ""
    stored: bool = True
    access: Access = "edit"
    deleted: bool = False

    @property
    def custom(self) -> bool:
        """Whether an administrator made it."""
        return self.name.endswith("__c")

    @property
    def is_key(self) -> bool:
        """Whether records can be addressed by its value."""
        return self.stored and self.writable and (self.external_id or self.id_lookup)

    @property
    def editable(self) -> bool:
        """Whether the user may write it."""
        return self.writable and self.access == "edit"


@dataclass(frozen=True)
class SObject:
    """One object: its names, the prefix of its record ids, its fields in the order of its describe."""

    name: str
    label: str
    plural: str
    prefix: str
    own_fields: tuple[Field, ...]
    access: Access = "edit"

    @property
    def custom(self) -> bool:
        """Whether an administrator made it."""
        return self.name.endswith("__c")

    @cached_property
    def places(self) -> tuple[Field, ...]:
        """Every field whose value a record holds, deleted ones too, in the order of the values."""
        return tuple(each for each in (*_FIRST, *self.own_fields, *_AUDIT) if each.stored)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields that can be seen: its own between the system's."""
        own = (each for each in self.own_fields if not each.deleted and each.access != "none")
        return (*_FIRST, *own, *_AUDIT)

    @cached_property
    def slots(self) -> dict[str, int]:
        """Where a stored field's value stands in a record's values."""
        return {each.name: slot for slot, each in enumerate(self.places)}

    @cached_property
    def unique(self) -> tuple[Field, ...]:
        """The fields whose values no two records share."""
        return tuple(each for each in self.places if each.unique and not each.deleted)

    @cached_property
    def required(self) -> tuple[Field, ...]:
        """The fields that no record goes without."""
        return tuple(each for each in self.places if each.required and not each.deleted)

    @cached_property
    def lookups(self) -> tuple[Field, ...]:
        """The stored fields that point at a parent and that clients write."""
        return tuple(each for each in self.places if each.type == "reference" and each.writable and not each.deleted)

    @cached_property
    def for_administrators(self) -> "SObject":
        """The same object for someone who may see and write all."""
        return replace(self, own_fields=tuple(replace(each, access="edit") for each in self.own_fields), access="edit")

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {each.name.lower(): each for each in self.fields}

    @cached_property
    def _by_relationship(self) -> dict[str, Field]:
        return {each.relationship.lower(): each for each in self.fields if each.relationship and each.stored}

    def field(self, name: str) -> Field | None:
        """The field of that API name, in any case."""
        return self._by_name.get(name.lower())

    def lookup(self, relationship: str) -> Field | None:
        """The lookup field behind a relationship name such as `Contact__r`, in any case."""
        return self._by_relationship.get(relationship.lower())


class Schema:
    """The objects of one org as they are now. `version` grows and `changed_at` moves with each change."""

    def __init__(self, objects: Iterable[SObject], changed_at: int) -> None:
        """`changed_at` is in seconds since 1970."""
        self._objects = {each.name.lower(): each for each in objects}
        self.changed_at = changed_at
        self.version = 0

    def __iter__(self) -> Iterator[SObject]:
        """The objects that the user sees."""
        return (each for each in self._objects.values() if each.access != "none")

    @property
    def all(self) -> list[SObject]:
        """The objects, those that the user doesn't see too."""
        return list(self._objects.values())

    def find(self, name: str) -> SObject | None:
        """The object of that API name, in any case, as the user sees it."""
        found = self.held(name)
        return None if found is None or found.access == "none" else found

    def held(self, name: str) -> SObject | None:
        """The object of that API name, whoever sees it."""
        return self._objects.get(name.lower())

    def parent(self, lookup: Field) -> SObject | None:
        """The object that a stored lookup refers to, when the user sees it."""
        return self.find(lookup.refers_to)

    def put(self, sobject: SObject) -> None:
        """Take up an object as it is from now on."""
        self._objects[sobject.name.lower()] = sobject

    def remove(self, sobject: SObject) -> None:
        """Forget an object."""
        del self._objects[sobject.name.lower()]

    def dump(self) -> dict[str, Any]:
        """JSON-able; `Schema.load` takes it up."""
        objects = [asdict(each) for each in self._objects.values()]
        for field in (each for described in objects for each in described["own_fields"]):
            field["inactive"] = sorted(field["inactive"])
        return {"objects": objects, "changed_at": self.changed_at, "version": self.version}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> "Schema":
        """The schema that `dump` gave."""
        schema = cls((_sobject(each) for each in state["objects"]), state["changed_at"])
        schema.version = state["version"]
        return schema

    def touch(self, now: int) -> None:
        """Note a change; two within a second are a second apart, for clients ask by the second whether there was one."""
        self.version += 1
        self.changed_at = max(now, self.changed_at + 1)


def _sobject(state: Mapping[str, Any]) -> SObject:
    fields = (
        Field(**{**each, "values": tuple(each["values"]), "inactive": frozenset(each["inactive"])})
        for each in state["own_fields"]
    )
    return SObject(**{**state, "own_fields": tuple(fields)})


def _user(name: str, label: str, relationship: str) -> Field:
    return Field(
        name, label, "reference", length=18, writable=False, refers_to="User", relationship=relationship, stored=False
    )


_FIRST = (
    Field("Id", "Record ID", "id", length=18, writable=False, id_lookup=True, stored=False),
    Field("IsDeleted", "Deleted", "boolean", writable=False, stored=False),
)
_AUDIT = (
    Field("CreatedDate", "Created Date", "datetime", writable=False, stored=False),
    _user("CreatedById", "Created By ID", "CreatedBy"),
    Field("LastModifiedDate", "Last Modified Date", "datetime", writable=False, stored=False),
    _user("LastModifiedById", "Last Modified By ID", "LastModifiedBy"),
    Field("SystemModstamp", "System Modstamp", "datetime", writable=False, stored=False),
)
