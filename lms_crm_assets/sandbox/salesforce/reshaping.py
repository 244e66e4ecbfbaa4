"""Changes of the org's schema, as an administrator makes them in Setup: `/_sandbox/schema`.

What Setup refuses is refused here too: a standard field is neither deleted nor changed, field-level security is not set
on a required one, a field whose values are not unique doesn't become unique. Values that a narrower field could not take
any more stay until they are written anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

from lms_crm_assets.sandbox.core import SandboxRequestError

from .describe import permissionable
from .schema import TEXT_TYPES, Field, FieldType, SObject
from .store import Store
from .values import Value, fold, format_datetime, parse_datetime

_DEFAULT_LENGTHS = {"string": 255, "textarea": 32_768, "email": 80, "phone": 40, "picklist": 255}
_LONGEST = {"string": 255, "textarea": 131_072, "email": 80, "phone": 40, "picklist": 255}
_MOST_DIGITS = 18
_TYPES = frozenset(get_args(FieldType)) - {"id", "reference"}
_ATTRIBUTES: Mapping[str, type] = {
    "label": str,
    "type": str,
    "length": int,
    "precision": int,
    "scale": int,
    "required": bool,
    "unique": bool,
    "external_id": bool,
    "restricted": bool,
    "values": list,
    "inactive": list,
}


def reshape(store: Store, change: Mapping[str, Any]) -> None:
    """Make one change; `SandboxRequestError` when Setup would not.

    `{"object", "op", …}`. `add` takes `field`, its API name, and `to`, its attributes: `type`, `length`, `precision`,
    `scale`, `required`, `unique`, `external_id`, `values`, `inactive`, `restricted`, `label`. `change` takes the same, of
    which it changes those that stand in `to`. `rename` takes the new name as `to`. `drop` takes `field`, or deletes the
    object. `access` takes `to`: `edit`, `read` or `none`, what the integration's user may do with `field`, or, as `edit`
    or `none`, with the object.
    """
    sobject = store.schema.held(str(change.get("object")))
    if sobject is None:
        raise SandboxRequestError(f"unknown object: {change.get('object')}")
    operations: dict[Any, Callable[[Store, SObject, Mapping[str, Any]], None]] = {
        "add": _add,
        "change": _change,
        "rename": _rename,
        "drop": _drop,
        "access": _access,
    }
    operation = operations.get(change.get("op"))
    if operation is None:
        raise SandboxRequestError(f"unknown operation: {change.get('op')}; known are {', '.join(operations)}")
    operation(store, sobject, change)
    store.note_change()


def _add(store: Store, sobject: SObject, change: Mapping[str, Any]) -> None:
    name = _custom_name(change.get("field"))
    if any(each.name.lower() == name.lower() for each in sobject.places):
        raise SandboxRequestError(f"{sobject.name} has a field {name} already")
    given = _attributes(change)
    kind = given.get("type", "string")
    blank = Field(name, name.removesuffix("__c").replace("_", " "), kind, length=_DEFAULT_LENGTHS.get(kind, 0))
    if kind == "double":
        blank = replace(blank, precision=_MOST_DIGITS)
    store.reshape(replace(sobject, own_fields=(*sobject.own_fields, _changed(blank, given))))


def _change(store: Store, sobject: SObject, change: Mapping[str, Any]) -> None:
    field = _custom_field(sobject, change)
    given = _attributes(change)
    kind = given.get("type", field.type)
    if kind != field.type:
        if field.type == "reference":
            raise SandboxRequestError("a lookup remains one")
        key = field.external_id and kind in {"string", "email"}
        field = replace(
            field,
            type=kind,
            length=_DEFAULT_LENGTHS.get(kind, 0),
            precision=_MOST_DIGITS if kind == "double" else 0,
            scale=0,
            unique=key,
            external_id=key,
            id_lookup=key,
            values=(),
            inactive=frozenset(),
        )
    wanted = _changed(field, given)
    if wanted.required and wanted.access != "edit":
        raise SandboxRequestError(f"{field.name} is not open to everybody and can't be required")
    if wanted.unique:
        _check_unique(store, sobject, wanted)
    if kind != sobject.places[sobject.slots[field.name]].type:
        _convert(store, sobject, wanted)
    _replace(store, sobject, field.name, wanted)


def _rename(store: Store, sobject: SObject, change: Mapping[str, Any]) -> None:
    field = _custom_field(sobject, change)
    name = _custom_name(change.get("to"))
    if any(each.name.lower() == name.lower() for each in sobject.places):
        raise SandboxRequestError(f"{sobject.name} has a field {name} already")
    relationship = f"{name.removesuffix('__c')}__r" if field.relationship else ""
    _replace(store, sobject, field.name, replace(field, name=name, relationship=relationship))


def _drop(store: Store, sobject: SObject, change: Mapping[str, Any]) -> None:
    if change.get("field") is not None:
        _delete_field(store, sobject, _custom_field(sobject, change))
        return
    if not sobject.custom:
        raise SandboxRequestError(f"{sobject.name} is a standard object: it can't be deleted")
    for child in store.schema.all:
        for lookup in child.lookups:
            if lookup.refers_to == sobject.name:
                _delete_field(store, store.schema.held(child.name) or child, lookup)
    store.drop(sobject)


def _delete_field(store: Store, sobject: SObject, field: Field) -> None:
    """Move a field to the bin: it is called `Title_del__c` there, and a new one may take its name."""
    stem, number = f"{field.name.removesuffix('__c')}_del", 0
    while f"{stem}{number or ''}__c" in sobject.slots:
        number += 1
    gone = replace(field, name=f"{stem}{number or ''}__c", deleted=True, unique=False)
    _replace(store, sobject, field.name, gone)


def _access(store: Store, sobject: SObject, change: Mapping[str, Any]) -> None:
    access = change.get("to")
    if change.get("field") is None:
        if access not in {"edit", "none"}:
            raise SandboxRequestError('what the user may do with an object is "edit" or "none"')
        store.reshape(replace(sobject, access=access))
        return
    field = _field(sobject, change)
    if access not in {"edit", "read", "none"}:
        raise SandboxRequestError('what the user may do with a field is "edit", "read" or "none"')
    if not permissionable(field):
        raise SandboxRequestError(f"{field.name} is required: field-level security can't be set on it")
    _replace(store, sobject, field.name, replace(field, access=access))


def _replace(store: Store, sobject: SObject, name: str, field: Field) -> None:
    own = tuple(field if each.name == name else each for each in sobject.own_fields)
    store.reshape(replace(sobject, own_fields=own))


def _field(sobject: SObject, change: Mapping[str, Any]) -> Field:
    name = str(change.get("field"))
    found = sobject.for_administrators.field(name)
    own = next((each for each in sobject.own_fields if found is not None and each.name == found.name), None)
    if own is None:
        raise SandboxRequestError(f"{sobject.name} has no field {name} that can be changed")
    return own


def _custom_field(sobject: SObject, change: Mapping[str, Any]) -> Field:
    field = _field(sobject, change)
    if not field.custom:
        raise SandboxRequestError(f"{field.name} is a standard field: of those only `access` can be changed")
    return field


def _custom_name(name: object) -> str:
    if not isinstance(name, str) or not name.endswith("__c"):
        raise SandboxRequestError(f"the name of a custom field ends in __c: {name}")
    return name


def _attributes(change: Mapping[str, Any]) -> Mapping[str, Any]:
    given = change.get("to")
    if not isinstance(given, Mapping):
        raise SandboxRequestError("`to` is an object with the attributes of the field")
    for name, value in given.items():
        if type(value) is not _ATTRIBUTES.get(name):
            known = ", ".join(f"{each} ({kind.__name__})" for each, kind in _ATTRIBUTES.items())
            raise SandboxRequestError(f"wrong attribute {name}: {value!r}; known are {known}")
    if given.get("type", "string") not in _TYPES:
        raise SandboxRequestError(f"unknown type {given['type']}; known are {', '.join(sorted(_TYPES))}")
    return given


def _changed(field: Field, given: Mapping[str, Any]) -> Field:
    """The field with these attributes, when there can be such a field."""
    more = {name: value for name, value in given.items() if name not in {"values", "inactive"}}
    if "values" in given:
        more["values"] = tuple(given["values"])
    if "inactive" in given:
        more["inactive"] = frozenset(given["inactive"])
    if "external_id" in given:
        more["id_lookup"] = given["external_id"]
    wanted = replace(field, **more)
    kind = wanted.type
    wrong = None
    if kind == "picklist" and not wanted.values:
        wrong = "needs values"
    elif not wanted.inactive <= set(wanted.values):
        wrong = "has inactive values that are none of its values"
    elif kind in TEXT_TYPES and not 1 <= wanted.length <= _LONGEST[kind]:
        wrong = f"holds 1 to {_LONGEST[kind]} characters"
    elif kind == "double" and not (0 <= wanted.scale < wanted.precision <= _MOST_DIGITS):
        wrong = f"has up to {_MOST_DIGITS} digits, fewer of them after the point"
    elif kind == "boolean" and wanted.required:
        wrong = "is never empty and can't be required"
    elif (wanted.unique or wanted.external_id) and kind not in {"string", "email"}:
        wrong = "can't be unique or an external id in the sandbox"
    if wrong is not None:
        raise SandboxRequestError(f"{field.name}: a field of type {kind} {wrong}")
    return wanted


def _check_unique(store: Store, sobject: SObject, field: Field) -> None:
    slot, seen = sobject.slots[field.name], set()
    for record in store.tables[sobject.name].rows.values():
        value = record.values[slot]
        if value is None or record.deleted:
            continue
        if fold(str(value)) in seen:
            raise SandboxRequestError(f"{field.name} holds duplicate values and can't be unique")
        seen.add(fold(str(value)))


def _convert(store: Store, sobject: SObject, field: Field) -> None:
    """Turn the stored values into those of the field's new type; what can't be turned is lost, as Setup warns."""
    slot = sobject.slots[field.name]
    old = sobject.places[slot]
    for record in store.tables[sobject.name].rows.values():
        record.values[slot] = _converted(old, field, record.values[slot])


def _converted(old: Field, new: Field, value: Value) -> Value:
    if value is None:
        return False if new.type == "boolean" else None
    text = format_datetime(int(value)) if old.type == "datetime" else str(value)
    if new.type in TEXT_TYPES:
        return text[: new.length]
    if new.type == "boolean":
        return text.lower() == "true"
    if new.type == "datetime":
        return parse_datetime(text)
    try:
        return float(text)
    except ValueError:
        return None
