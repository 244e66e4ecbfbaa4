"""The endpoints on the properties of an object.

HubSpot documentation, "Properties". `hasUniqueValue` can be set at creation only, ten times an
object.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, InvalidValueError, not_found, validation_error
from lms_crm_assets.sandbox.hubspot.schema import MAX_UNIQUE_PROPERTIES, ObjectType, Property
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Table, now_ms
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape, batch_answer, check_batch_size

_TYPES = {"string", "number", "date", "datetime", "enumeration", "bool", "phone_number"}
_UNIQUE_TYPES = {"string", "number"}
_FIELD_TYPES = {
    "textarea",
    "text",
    "date",
    "file",
    "number",
    "select",
    "radio",
    "checkbox",
    "booleancheckbox",
    "phonenumber",
    "html",
}
_PATCH: Shape = {
    "label": "string",
    "description": "string",
    "groupName": "string",
    "options": "list",
    "displayOrder": "int",
    "hidden": "bool",
    "formField": "bool",
    "type": "string",
    "fieldType": "string",
    "calculationFormula": "string",
}
PROPERTY: Shape = {
    **_PATCH,
    "name": "string",
    "hasUniqueValue": "bool",
    "externalOptions": "bool",
    "referencedObjectType": "string",
}
_OPTION: Shape = {
    "label": "string",
    "value": "string",
    "description": "string",
    "displayOrder": "int",
    "hidden": "bool",
}
_ATTRIBUTES = {
    "label": "label",
    "description": "description",
    "groupName": "group_name",
    "displayOrder": "display_order",
    "hidden": "hidden",
    "formField": "form_field",
}


class Properties:
    """The endpoints `/properties/{type}`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def endpoints(self) -> list[Endpoint]:
        """On the v3 and the dated paths."""
        return [
            Endpoint(method, base + path, handler)
            for base in ("/crm/v3/properties/{type}", "/crm/properties/{version}/{type}")
            for method, path, handler in (
                ("GET", "", self.list_properties),
                ("POST", "", self.create),
                ("POST", "/batch/create", self.create_batch),
                ("POST", "/batch/read", self.read_batch),
                ("POST", "/batch/archive", self.archive_batch),
                ("GET", "/{name}", self.read),
                ("PATCH", "/{name}", self.update),
                ("DELETE", "/{name}", self.archive),
            )
        ]

    def list_properties(self, call: Call) -> Answer:
        """Every property of the object, on one page."""
        object_type = self._type(call)
        listed = object_type.archived_properties if call.flag("archived") else object_type.properties
        return Answer({"results": [one.as_json(archived=call.flag("archived")) for one in listed.values()]})

    def read(self, call: Call) -> Answer:
        """One property."""
        return Answer(self._property(call).as_json())

    def create(self, call: Call) -> Answer:
        """A new property: 201; 409 when the name is taken."""
        body = call.json(PROPERTY, "name", "label", "type", "fieldType", "groupName")
        made = read_definition(call, body)
        add_properties(self._store, self._type(call), [made])
        return Answer(made.as_json(), 201)

    def create_batch(self, call: Call) -> Answer:
        """Up to 100 new properties, all or none: 201 (HubSpot's spec knows 207 too, when is unverified)."""
        started = now_ms()
        inputs = call.json({"inputs": "list"}, "inputs")["inputs"]
        check_batch_size(inputs, 100)
        made = [
            read_definition(call, call.fit(one, PROPERTY, "name", "label", "type", "fieldType", "groupName"))
            for one in inputs
        ]
        add_properties(self._store, self._type(call), made)
        return batch_answer(started, [one.as_json() for one in made], [], status=201)

    def update(self, call: Call) -> Answer:
        """Change a custom property's labels, options or type; its uniqueness is for good."""
        known = self._property(call)
        change_definition(self._store, self._type(call), known, call, call.json(_PATCH))
        return Answer(known.as_json())

    def archive(self, call: Call) -> Answer:
        """Archive a custom property: 204; its values are hidden with it."""
        archive_property(self._store, self._type(call), self._property(call))
        return Answer(None, 204)

    def read_batch(self, call: Call) -> Answer:
        """Properties by name: 200; 207 with an entry for the names that do not exist."""
        started = now_ms()
        body = call.json({"inputs": "list", "archived": "bool"}, "inputs", "archived")
        known = self._type(call).archived_properties if body["archived"] else self._type(call).properties
        names = self._names(call, body["inputs"])
        found = [known[name].as_json(archived=body["archived"]) for name in names if name in known]
        missed = [name for name in names if name not in known]
        errors = [not_found(f"Properties do not exist: {', '.join(missed)}").entry()] if missed else []
        return batch_answer(started, found, errors, status=200)

    def archive_batch(self, call: Call) -> Answer:
        """Archive properties by name: 204, whatever of them exists."""
        object_type = self._type(call)
        for name in self._names(call, call.json({"inputs": "list"}, "inputs")["inputs"]):
            if name in object_type.properties:
                archive_property(self._store, object_type, object_type.properties[name])
        return Answer(None, 204)

    def _names(self, call: Call, inputs: list[Any]) -> list[str]:
        check_batch_size(inputs, 100)
        return [call.fit(one, {"name": "string"}, "name")["name"] for one in inputs]

    def _type(self, call: Call) -> ObjectType:
        return self._store.schema.resolve(call.path["type"])

    def _property(self, call: Call) -> Property:
        known = self._type(call).properties.get(call.path["name"])
        if known is None:
            raise not_found(f"Property {call.path['name']} does not exist")
        return known


def add_properties(store: Store, object_type: ObjectType, made: list[Property]) -> None:
    """Take up new properties; `HubSpotError` 409 for a name that is taken, 400 for an unknown group or too many unique ones."""
    names = [one.name for one in made]
    for one in made:
        if one.name in object_type.properties or names.count(one.name) > 1:
            message = f"A property named '{one.name}' already exists."
            raise HubSpotError(409, message, category="OBJECT_ALREADY_EXISTS")
        if one.group_name not in object_type.groups:  # that it is refused is known, its text is unverified
            raise validation_error(f"Property group {one.group_name} does not exist", {"groupName": [one.group_name]})
    check_unique_count([*object_type.properties.values(), *made])
    table = store.tables[object_type.type_id]
    for one in made:
        object_type.archived_properties.pop(one.name, None)
        object_type.properties[one.name] = one
        if one.unique:
            index_values(table, one)


def archive_property(store: Store, object_type: ObjectType, known: Property) -> None:
    """Archive a custom property; `HubSpotError` 400 for one that the object needs."""
    if known.hubspot_defined or known.name in {*object_type.required, object_type.primary}:
        raise validation_error(f"Property {known.name} cannot be archived")
    object_type.archived_properties[known.name] = object_type.properties.pop(known.name)
    store.tables[object_type.type_id].unique.pop(known.name, None)


def change_definition(
    store: Store, object_type: ObjectType, known: Property, call: Call, body: Mapping[str, Any]
) -> None:
    """Change a custom property as a PATCH asks; values that another type can't take are lost (unverified)."""
    if known.hubspot_defined:
        raise validation_error(f"The definition of property {known.name} is read only")
    retyped = (body.get("type") or known.type, body.get("fieldType") or known.field_type)
    _check_types(known.name, *retyped)
    listed = None if body.get("options") is None else _options(call, body["options"])
    if retyped[0] == "enumeration" and not (known.options if listed is None else listed):
        raise validation_error(f"Property {known.name} of type enumeration needs options")
    if known.unique and retyped[0] not in _UNIQUE_TYPES:
        raise validation_error(f"Property {known.name} of type {retyped[0]} cannot have unique values")
    _set(known, body)
    if listed is not None:
        known.options, known.hidden_options = listed, _hidden(body["options"])
    if retyped[0] != known.type:
        known.type, known.field_type = retyped
        _convert(store.tables[object_type.type_id], known)
    known.field_type = retyped[1]
    known.updated = now_ms()


def index_values(table: Table, unique: Property) -> None:
    """Let live records be found by the values of a property that is unique from now on."""
    table.unique[unique.name] = {
        record.properties[unique.name]: record.id for record in table.all_live() if unique.name in record.properties
    }


def _convert(table: Table, known: Property) -> None:
    for record in table.records.values():
        text = record.properties.pop(known.name, None)
        if text is not None:
            with suppress(InvalidValueError):
                record.properties[known.name] = known.normalise(text)
    table.version += 1
    if known.unique:
        index_values(table, known)


def read_definition(call: Call, body: Mapping[str, Any]) -> Property:
    """The property a body defines; `HubSpotError` 400 for an unknown type or an enumeration without options."""
    kind, field_type = body.get("type") or "string", body.get("fieldType") or "text"
    _check_types(body["name"], kind, field_type)
    options = _options(call, body.get("options") or [])
    if kind == "enumeration" and not options:
        raise validation_error(f"Property {body['name']} of type enumeration needs options")
    now = now_ms()
    unique = bool(body.get("hasUniqueValue"))
    if unique and kind not in _UNIQUE_TYPES:
        raise validation_error(f"Property {body['name']} of type {kind} cannot have unique values")
    made = Property(body["name"], kind, field_type, options=options, unique=unique, created=now, updated=now)
    made.hidden_options = _hidden(body.get("options") or [])
    _set(made, body)
    return made


def _check_types(name: str, kind: str, field_type: str) -> None:
    if kind not in _TYPES or field_type not in _FIELD_TYPES:
        raise validation_error(f"Invalid type {kind} or field type {field_type} of property {name}")


def _set(known: Property, body: Mapping[str, Any]) -> None:
    for name, attribute in _ATTRIBUTES.items():
        if body.get(name) is not None:
            setattr(known, attribute, body[name])


def _options(call: Call, given: list[Any]) -> dict[str, str]:
    fitted = [call.fit(one, _OPTION, "label", "value") for one in given]
    return {one["value"]: one["label"] for one in fitted}


def _hidden(given: list[Mapping[str, Any]]) -> list[str]:
    """The options that forms and people don't see; whether the API refuses them as values is unverified, it takes them here."""
    return [one["value"] for one in given if one.get("hidden")]


def check_unique_count(properties: Iterable[Property]) -> None:
    """`HubSpotError` 400 for more unique properties than an object can have."""
    if sum(one.unique for one in properties) > MAX_UNIQUE_PROPERTIES:
        raise validation_error(f"An object can have up to {MAX_UNIQUE_PROPERTIES} properties with unique values")
