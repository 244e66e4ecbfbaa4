"""What a JSON record asks for, and doing it: the rules of create, update, upsert and delete for one record.

`read_row` looks at the JSON alone, so that a wrong JSON type refuses a whole batch before any work (as the real parser
does); everything that needs the stored records happens when the row is applied.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import JsonTypeError, RowError, entity_is_deleted, id_in_body, no_such_column
from .guard import Guard
from .ids import long_id
from .schema import Field, Schema, SObject
from .store import Record, Store
from .values import Value, fold, from_json

Operation = Literal["created", "updated", "unchanged", "deleted"]


@dataclass(frozen=True, slots=True)
class ParentKey:
    """A lookup that is to be found by its parent's `key` field."""

    lookup: Field
    key: Field
    value: str


@dataclass(slots=True)
class Row:
    """One JSON record after reading: values by field name, lookups by external id still unresolved, the first error."""

    sobject: SObject
    values: dict[str, Value] = field(default_factory=dict)
    parents: list[ParentKey] = field(default_factory=list)
    id: str | None = None
    error: RowError | None = None


def read_row(schema: Schema, sobject: SObject, body: Mapping[str, Any]) -> Row:
    """Read every value; `JsonTypeError` for a wrong JSON type, any other fault is kept as the row's `error`."""
    row = Row(sobject)
    unwritable = []
    for name, value in body.items():
        if name == "attributes":
            continue
        target = sobject.field(name)
        try:
            if target is None:
                _read_parent(schema, row, name, value)
            elif target.type == "id":
                row.id = _read_id(value)
            elif not target.editable:
                unwritable.append(target.name)
            else:
                row.values[target.name] = from_json(target, value)
        except RowError as error:
            row.error = row.error or error
    if unwritable:
        row.error = row.error or not_writable(unwritable)
    return row


def insert(store: Store, guard: Guard, row: Row) -> Record:
    """Create the record; `RowError` when the platform would refuse it."""
    values = _checked(store, row)
    _check_required(row.sobject, values, None)
    guard.judge(store, row.sobject, None, values)
    return store.insert(row.sobject, values)


def update(store: Store, guard: Guard, record: Record, row: Row) -> Operation:
    """Write the row over the record: `updated`, or `unchanged` when it held these values already."""
    values = _checked(store, row)
    _check_required(row.sobject, values, record)
    guard.judge(store, row.sobject, record, values)
    return "updated" if store.update(row.sobject, record, values) else "unchanged"


def delete(store: Store, guard: Guard, sobject: SObject, record: Record) -> None:
    """Move the record to the recycle bin."""
    guard.judge_delete(sobject, record)
    store.set_deleted(sobject, record, deleted=True)


def upsert(store: Store, guard: Guard, row: Row, key: Field) -> tuple[Record, Operation]:
    """Update the one record that holds the row's key, or create it; `RowError` when several hold it."""
    matches = store.find(row.sobject, key, str(row.values[key.name]))
    if not matches:
        return insert(store, guard, row), "created"
    if len(matches) > 1:
        found = ", ".join(each.id for each in matches)
        message = f"{key.label}: more than one record found for external id field: [{found}]"
        raise RowError("DUPLICATE_EXTERNAL_ID", message, [key.name])
    return matches[0], update(store, guard, matches[0], row)


def keys_of(rows: Iterable[Row], key: Field) -> Counter[str]:
    """How often each key value stands in a request or an internal batch."""
    return Counter(fold(str(value)) for row in rows if (value := row.values.get(key.name)) is not None)


def check_key(row: Row, key: Field, times: Counter[str]) -> None:
    """`RowError` when a row to be upserted has an Id or no key, or shares its key: all that share one are refused."""
    if row.id is not None:
        raise id_in_body("Id")
    value = row.values.get(key.name)
    if value is None:
        raise row.error or RowError("MISSING_ARGUMENT", f"{key.name} not specified", [key.name])
    if times[fold(str(value))] > 1:
        raise RowError("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", [key.name])


def by_id(store: Store, sobject: SObject, id_: str | None) -> Record:
    """The live record of an id that stands in a request; `RowError` when there is none."""
    if id_ is None:
        raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
    full = long_id(id_)
    if full is None or not full.startswith(sobject.prefix):
        raise RowError("MALFORMED_ID", f"{sobject.label} ID: id value of incorrect type: {id_}", ["Id"])
    record = store.get(sobject, full)
    if record is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    if record.deleted:
        raise entity_is_deleted()
    return record


def refuse_id(row: Row, *names: str) -> None:
    """`RowError` when the body holds the Id, or one of the fields `names`, which the URL has said already."""
    if row.id is not None:
        raise id_in_body("Id")
    for name in names:
        if name in row.values:
            raise id_in_body(name)


def _read_id(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise JsonTypeError("ID", value)
    return value


def _read_parent(schema: Schema, row: Row, name: str, value: Any) -> None:
    """A lookup by the parent's external id: `"Contact__r": {"LMS_User_Id__c": "…"}`, or null."""
    lookup = row.sobject.lookup(name)
    target = None if lookup is None else schema.parent(lookup)
    if lookup is None or target is None:
        raise no_such_column(name, row.sobject.name)
    if not lookup.editable:
        raise not_writable([lookup.name])
    if value is None:
        row.values[lookup.name] = None
        return
    if not isinstance(value, dict):
        raise JsonTypeError("sobject", value)
    given = [(key, each) for key, each in value.items() if key != "attributes"]
    if len(given) != 1:
        raise RowError("INVALID_FIELD", f"The relationship {name} needs exactly one external ID field", [lookup.name])
    key_name, key_value = given[0]
    key = target.field(key_name)
    if key is None:
        raise no_such_column(key_name, target.name)
    if not key.is_key:
        message = (
            f"Field name provided, {key_name} does not match an External ID, Salesforce Id, "
            f"or indexed field for {target.name}"
        )
        raise RowError("INVALID_FIELD", message)
    if not isinstance(key_value, str):
        raise JsonTypeError("string", key_value)
    row.parents.append(ParentKey(lookup, key, key_value.strip()))


def _checked(store: Store, row: Row) -> dict[str, Value]:
    """The row's values with its lookups resolved and proven."""
    if row.error is not None:
        raise row.error
    values = dict(row.values)
    for name, value in row.values.items():
        lookup = row.sobject.field(name)
        if value is not None and lookup is not None and lookup.type == "reference":
            values[name] = _live_parent(store, lookup, str(value))
    for parent in row.parents:
        values[parent.lookup.name] = _parent_by_key(store, parent)
    return values


def _live_parent(store: Store, lookup: Field, id_: str) -> str:
    target = store.schema.parent(lookup)
    if target is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [lookup.name])
    if not id_.startswith(target.prefix):
        message = f"{lookup.label}: id value of incorrect type: {id_}"
        raise RowError("FIELD_INTEGRITY_EXCEPTION", message, [lookup.name])
    parent = store.get(target, id_)
    if parent is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [lookup.name])
    if parent.deleted:
        raise RowError("ENTITY_IS_DELETED", "entity is deleted", [lookup.name])
    return parent.id  # the stored text itself, so that a million children share it


def _parent_by_key(store: Store, parent: ParentKey) -> str:
    target = store.schema.parent(parent.lookup)
    if target is None:  # gone since the row was read
        raise no_such_column(parent.lookup.relationship, parent.lookup.name)
    matches = store.find(target, parent.key, parent.value)
    if not matches:
        message = (
            f"Foreign key external ID: {parent.value} not found for field {parent.key.name} in entity {target.name}"
        )
        raise RowError("INVALID_FIELD", message)
    if len(matches) > 1:
        found = ", ".join(each.id for each in matches)
        raise RowError("INVALID_FIELD", f"More than one record found for external id field: [{found}]")
    return matches[0].id


def _check_required(sobject: SObject, values: Mapping[str, Value], record: Record | None) -> None:
    """`RowError` when the record would lack a required value: on update too, of a field that was not required before."""
    missing = [
        each.name
        for each in sobject.required
        if values.get(each.name, None if record is None else record.values[sobject.slots[each.name]]) is None
    ]
    if missing:
        raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)


def not_writable(names: list[str]) -> RowError:
    """Fields that clients don't write."""
    message = (
        f"Unable to create/update fields: {', '.join(names)}. Please check the security settings of this field "
        "and verify that it is read/write for your profile or permission set."
    )
    return RowError("INVALID_FIELD_FOR_INSERT_UPDATE", message, names)
