"""The org's objects and fields: what the LMS package of a customer would have installed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

FieldType = Literal[
    "id", "string", "textarea", "email", "phone", "picklist", "boolean", "double", "datetime", "reference"
]
TEXT_TYPES = frozenset({"string", "textarea", "email", "phone", "picklist"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `length` counts characters; `precision` all digits, `scale` those after the point.

    `external_id` means unique, indexed and matched without regard to case; `id_lookup` alone allows an upsert by a
    value that several records may share. `stored` is False for what a record carries outside its values: the id, the
    audit fields, a compound name.
    """

    name: str
    label: str
    type: FieldType
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    writable: bool = True
    external_id: bool = False
    id_lookup: bool = False
    values: tuple[str, ...] = ()
    refers_to: str = ""
    relationship: str = ""
    children: str = ""
    name_field: bool = False
    auto_number: str = ""
    stored: bool = True

    @property
    def custom(self) -> bool:
        """Whether an administrator made it."""
        return self.name.endswith("__c")

    @property
    def is_key(self) -> bool:
        """Whether records can be addressed by its value."""
        return self.stored and self.writable and (self.external_id or self.id_lookup)


@dataclass(frozen=True)
class SObject:
    """One object: its names, the prefix of its record ids, its fields in the order of its describe."""

    name: str
    label: str
    plural: str
    prefix: str
    own_fields: tuple[Field, ...]

    @property
    def custom(self) -> bool:
        """Whether an administrator made it."""
        return self.name.endswith("__c")

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Its own fields between the system's."""
        return (*_FIRST, *self.own_fields, *_AUDIT)

    @cached_property
    def slots(self) -> dict[str, int]:
        """Where a stored field's value stands in a record's values."""
        return {each.name: slot for slot, each in enumerate(f for f in self.fields if f.stored)}

    @cached_property
    def unique(self) -> tuple[Field, ...]:
        """The fields whose values no two records share."""
        return tuple(each for each in self.fields if each.external_id)

    @cached_property
    def lookups(self) -> tuple[Field, ...]:
        """The stored fields that point at a parent and that clients write."""
        return tuple(each for each in self.fields if each.type == "reference" and each.stored and each.writable)

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


def _text(name: str, label: str, length: int, *, required: bool = False) -> Field:
    return Field(name, label, "string", length=length, required=required)


def _key(name: str, label: str) -> Field:
    return Field(name, label, "string", length=64, external_id=True, id_lookup=True)


def _picklist(name: str, label: str, values: str) -> Field:
    return Field(name, label, "picklist", length=255, values=tuple(values.split("|")))


def _datetime(name: str, label: str) -> Field:
    return Field(name, label, "datetime")


def _number(name: str, label: str, precision: int, scale: int) -> Field:
    return Field(name, label, "double", precision=precision, scale=scale)


def _checkbox(name: str, label: str) -> Field:
    return Field(name, label, "boolean")


def _auto_name(label: str, pattern: str) -> Field:
    return Field(
        "Name", label, "string", length=80, writable=False, id_lookup=True, name_field=True, auto_number=pattern
    )


def _master(sobject: str) -> Field:
    """Where a merged record points: at the one that outlived it."""
    return Field(
        "MasterRecordId",
        "Master Record ID",
        "reference",
        length=18,
        writable=False,
        refers_to=sobject,
        relationship="MasterRecord",
    )


def _contact(children: str) -> Field:
    return Field(
        "Contact__c",
        "Contact",
        "reference",
        length=18,
        refers_to="Contact",
        relationship="Contact__r",
        children=children,
    )


def _course(children: str) -> Field:
    return Field(
        "Course__c",
        "Course",
        "reference",
        length=18,
        refers_to="LMS_Course__c",
        relationship="Course__r",
        children=children,
    )


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

OBJECTS = (
    SObject(
        "Account",
        "Account",
        "Accounts",
        "001",
        (_master("Account"), Field("Name", "Account Name", "string", length=255, required=True, name_field=True)),
    ),
    SObject(
        "Contact",
        "Contact",
        "Contacts",
        "003",
        (
            _master("Contact"),
            Field(
                "AccountId",
                "Account ID",
                "reference",
                length=18,
                refers_to="Account",
                relationship="Account",
                children="Contacts",
            ),
            _text("LastName", "Last Name", 80, required=True),
            _text("FirstName", "First Name", 40),
            Field("Name", "Full Name", "string", length=121, writable=False, name_field=True, stored=False),
            Field("Phone", "Business Phone", "phone", length=40),
            Field("Email", "Email", "email", length=80, id_lookup=True),
            _text("Title", "Title", 128),
            _text("Department", "Department", 80),
            Field("Description", "Contact Description", "textarea", length=32000),
            _key("LMS_User_Id__c", "LMS User Id"),
            _text("LMS_Username__c", "LMS Username", 100),
            _text("LMS_Organization__c", "LMS Organization", 255),
            _text("LMS_Country__c", "LMS Country", 2),
            _picklist("LMS_Status__c", "LMS Status", "active|suspended"),
        ),
    ),
    SObject(
        "LMS_Course__c",
        "LMS Course",
        "LMS Courses",
        "a01",
        (
            Field("Name", "Course Name", "string", length=80, required=True, id_lookup=True, name_field=True),
            _key("LMS_Course_Id__c", "LMS Course Id"),
            _text("Code__c", "Code", 100),
            _checkbox("Visible__c", "Visible"),
            _datetime("Starts_At__c", "Starts At"),
            _datetime("Ends_At__c", "Ends At"),
        ),
    ),
    SObject(
        "LMS_Enrollment__c",
        "LMS Enrollment",
        "LMS Enrollments",
        "a02",
        (
            _auto_name("Enrollment Number", "ENR-{:08d}"),
            _key("LMS_Enrollment_Id__c", "LMS Enrollment Id"),
            _contact("LMS_Enrollments__r"),
            _course("LMS_Enrollments__r"),
            _text("Role__c", "Role", 80),
            _picklist("Status__c", "Status", "active|invited|suspended|expired|completed|withdrawn"),
            _datetime("Enrolled_At__c", "Enrolled At"),
            _datetime("Starts_At__c", "Starts At"),
            _datetime("Ends_At__c", "Ends At"),
        ),
    ),
    SObject(
        "LMS_Completion__c",
        "LMS Completion",
        "LMS Completions",
        "a03",
        (
            _auto_name("Completion Number", "CMP-{:08d}"),
            _key("LMS_Completion_Id__c", "LMS Completion Id"),
            _contact("LMS_Completions__r"),
            _course("LMS_Completions__r"),
            _picklist("State__c", "State", "not_started|in_progress|completed"),
            _number("Progress__c", "Progress", 5, 2),
            _datetime("Completed_At__c", "Completed At"),
            _number("Score__c", "Score", 12, 5),
        ),
    ),
    SObject(
        "LMS_Competency__c",
        "LMS Competency",
        "LMS Competencies",
        "a04",
        (
            _auto_name("Competency Number", "CPY-{:08d}"),
            _key("LMS_Competency_Id__c", "LMS Competency Id"),
            _contact("LMS_Competencies__r"),
            _course("LMS_Competencies__r"),
            _text("Code__c", "Code", 100),
            _text("Competency_Name__c", "Competency Name", 255),
            _text("Framework__c", "Framework", 255),
            _text("Rating__c", "Rating", 255),
            _checkbox("Proficient__c", "Proficient"),
            _datetime("Rated_At__c", "Rated At"),
        ),
    ),
)

_OBJECTS_BY_NAME = {each.name.lower(): each for each in OBJECTS}


def find_object(name: str) -> SObject | None:
    """The object of that API name, in any case."""
    return _OBJECTS_BY_NAME.get(name.lower())


def parent_object(lookup: Field) -> SObject:
    """The object that a stored lookup refers to."""
    return _OBJECTS_BY_NAME[lookup.refers_to.lower()]
