"""Changes of the portal's schema behind the clients' backs, in its settings or in its app's rights: `/_sandbox/schema`.

What the API offers is done by the same code as there, with its refusals; beyond it stand what only the settings do
(another uniqueness, by deleting a property and making it anew; an object with records deleted) and an app's rights.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError
from lms_crm_assets.sandbox.hubspot.object_schemas import check_listed
from lms_crm_assets.sandbox.hubspot.properties import (
    add_properties,
    archive_property,
    change_definition,
    check_unique_count,
    index_values,
    read_definition,
)
from lms_crm_assets.sandbox.hubspot.schema import ObjectType, Property
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.wire import Call

_FIELD_TYPES = {
    "string": "text",
    "number": "number",
    "date": "date",
    "datetime": "date",
    "enumeration": "select",
    "bool": "booleancheckbox",
    "phone_number": "phonenumber",
}
_ATTRIBUTES = frozenset({"type", "fieldType", "options", "hidden_options", "required", "unique", "label"})
_YES_NO = {"true": "Yes", "false": "No"}


def reshape(store: Store, change: Mapping[str, Any]) -> ObjectType | None:
    """Make one change; the object as it is then, None when it is gone. `SandboxRequestError` when it cannot be.

    `{"object", "op", "field", "to"}`, `field` the name of a property. `add` takes its attributes as `to`: `type`,
    `fieldType`, `options` and `hidden_options` (lists of values), `required`, `unique`, `label`; `change` those that are
    to be others. `drop` archives the property, or deletes the custom object. `access` takes what the app may do as `to`:
    with a property `edit` or `read`, with the object `edit` or `none`.
    """
    object_type = next((each for each in store.schema.types.values() if change.get("object") in each.aliases), None)
    if object_type is None:
        raise SandboxRequestError(f"unknown object: {change.get('object')}")
    operations: dict[Any, Callable[[Store, ObjectType, Mapping[str, Any]], None]] = {
        "add": _add,
        "change": _change,
        "drop": _drop,
        "access": _access,
    }
    operation = operations.get(change.get("op"))
    if operation is None:
        raise SandboxRequestError(
            f"unknown operation: {change.get('op')}; known are {', '.join(operations)}"
            " (the name of a property is for good: drop it and add another)"
        )
    try:
        operation(store, object_type, change)
    except HubSpotError as exc:
        raise SandboxRequestError(str(exc)) from exc
    return store.schema.types.get(object_type.type_id)


def _add(store: Store, object_type: ObjectType, change: Mapping[str, Any]) -> None:
    given = _attributes(change)
    kind = given.get("type", "string")
    body = {
        "name": str(change.get("field")),
        "label": given.get("label", str(change.get("field"))),
        "type": kind,
        "fieldType": given.get("fieldType", _FIELD_TYPES.get(kind, "text")),
        "groupName": object_type.default_group,
        "options": _options(given.get("options", list(_YES_NO) if kind == "bool" else []), given),
        "hasUniqueValue": given.get("unique", False),
    }
    add_properties(store, object_type, [read_definition(Call({}, {}, orjson.dumps(body)), body)])
    if given.get("required"):
        object_type.required.append(body["name"])


def _change(store: Store, object_type: ObjectType, change: Mapping[str, Any]) -> None:
    known, given = _property(object_type, change), _attributes(change)
    if given.get("required") is not None:
        others = [name for name in object_type.required if name != known.name]
        required = [*others, known.name] if given["required"] else others
        check_listed(object_type, required)
        object_type.required = required
    body = {name: given[name] for name in ("type", "fieldType", "label") if name in given}
    if "type" in given:
        body.setdefault("fieldType", _FIELD_TYPES.get(given["type"], "text"))
    if "options" in given or "hidden_options" in given:
        body["options"] = _options(given.get("options", list(known.options)), given)
    if body:
        change_definition(store, object_type, known, Call({}, {}, orjson.dumps(body)), body)
    if given.get("unique", known.unique) != known.unique:
        _set_unique(store, object_type, known, unique=given["unique"])


def _drop(store: Store, object_type: ObjectType, change: Mapping[str, Any]) -> None:
    if change.get("field") is not None:
        archive_property(store, object_type, _property(object_type, change))
    elif object_type.custom:
        store.remove_type(object_type)
    else:
        raise SandboxRequestError(f"{object_type.name} is an object of HubSpot: it can't be deleted")


def _access(_: Store, object_type: ObjectType, change: Mapping[str, Any]) -> None:
    access = change.get("to")
    if change.get("field") is None:
        if access not in {"edit", "none"}:
            raise SandboxRequestError('what the app may do with an object is "edit" or "none"')
        object_type.closed = access == "none"
        return
    if access not in {"edit", "read"}:
        raise SandboxRequestError('what the app may do with a property is "edit" or "read"')
    _property(object_type, change).read_only = access == "read"


def _set_unique(store: Store, object_type: ObjectType, known: Property, *, unique: bool) -> None:
    """As if it were deleted and made anew with its values imported: the API itself never changes it."""
    table = store.tables[object_type.type_id]
    if not unique:
        known.unique = False
        table.unique.pop(known.name, None)
        return
    held = [record.properties[known.name] for record in table.all_live() if known.name in record.properties]
    if len(set(held)) < len(held):
        raise SandboxRequestError(f"{known.name} holds duplicate values and can't be unique")
    check_unique_count([*(each for each in object_type.properties.values() if each is not known), known])
    known.unique = True
    index_values(table, known)


def _property(object_type: ObjectType, change: Mapping[str, Any]) -> Property:
    known = object_type.properties.get(str(change.get("field")))
    if known is None:
        raise SandboxRequestError(f"{object_type.name} has no property {change.get('field')}")
    return known


def _attributes(change: Mapping[str, Any]) -> Mapping[str, Any]:
    given = change.get("to")
    if not isinstance(given, Mapping) or not given.keys() <= _ATTRIBUTES:
        raise SandboxRequestError(f"`to` is an object with some of {', '.join(sorted(_ATTRIBUTES))}")
    return given


def _options(values: list[str], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    hidden = given.get("hidden_options", [])
    return [{"label": _YES_NO.get(each, each), "value": each, "hidden": each in hidden} for each in values]
