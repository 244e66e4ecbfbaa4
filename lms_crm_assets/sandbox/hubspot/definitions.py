"""The endpoints on definitions: properties of an object and custom object schemas.

HubSpot documentation, "Properties" and "Custom objects". `hasUniqueValue` can be set at creation only, ten times an
object.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, missing_scopes, not_found, validation_error
from lms_crm_assets.sandbox.hubspot.portal import build_custom
from lms_crm_assets.sandbox.hubspot.schema import MAX_UNIQUE_PROPERTIES, ObjectType, Property
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import now_ms
from lms_crm_assets.sandbox.hubspot.values import iso
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape, batch_answer, check_batch_size

_TYPES = {"string", "number", "date", "datetime", "enumeration", "bool", "phone_number"}
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
}
_PROPERTY: Shape = {
    **_PATCH,
    "name": "string",
    "type": "string",
    "fieldType": "string",
    "hasUniqueValue": "bool",
    "externalOptions": "bool",
    "calculationFormula": "string",
    "referencedObjectType": "string",
}
_SCHEMA_PROPERTY: Shape = {**_PROPERTY, "optionSortStrategy": "string", "showCurrencySymbol": "bool"}
_OPTION: Shape = {
    "label": "string",
    "value": "string",
    "description": "string",
    "displayOrder": "int",
    "hidden": "bool",
}
_SCHEMA: Shape = {
    "name": "string",
    "labels": "map",
    "description": "string",
    "primaryDisplayProperty": "string",
    "secondaryDisplayProperties": "strings",
    "requiredProperties": "strings",
    "searchableProperties": "strings",
    "properties": "list",
    "associatedObjects": "strings",
}
_ATTRIBUTES = {
    "label": "label",
    "description": "description",
    "groupName": "group_name",
    "displayOrder": "display_order",
    "hidden": "hidden",
    "formField": "form_field",
}


class Definitions:
    """The endpoints `/properties/…` and `/schemas/…`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def endpoints(self) -> list[Endpoint]:
        """On every address they have had."""
        properties = [
            ("GET", "", self.list_properties),
            ("POST", "", self.create_property),
            ("POST", "/batch/create", self.create_properties),
            ("GET", "/{name}", self.read_property),
            ("PATCH", "/{name}", self.update_property),
        ]
        schemas = [
            ("GET", "", self.list_schemas),
            ("POST", "", self.create_schema),
            ("GET", "/{type}", self.read_schema),
        ]
        return [
            Endpoint(method, base + path, handler)
            for bases, group in (
                (("/crm/v3/properties/{type}", "/crm/properties/{version}/{type}"), properties),
                (("/crm/v3/schemas", "/crm-object-schemas/{version}/schemas"), schemas),
            )
            for base in bases
            for method, path, handler in group
        ]

    def list_properties(self, call: Call) -> Answer:
        """Every property of the object, on one page."""
        known = self._type(call).properties.values()
        return Answer({"results": [] if call.flag("archived") else [one.as_json() for one in known]})

    def read_property(self, call: Call) -> Answer:
        """One property."""
        return Answer(self._property(call).as_json())

    def create_property(self, call: Call) -> Answer:
        """A new property: 201; 409 when the name is taken."""
        body = call.json(_PROPERTY, "name", "label", "type", "fieldType", "groupName")
        made = read_definition(call, body)
        self._add(self._type(call), [made])
        return Answer(made.as_json(), 201)

    def create_properties(self, call: Call) -> Answer:
        """Up to 100 new properties, all or none: 201."""
        started = now_ms()
        inputs = call.json({"inputs": "list"}, "inputs")["inputs"]
        check_batch_size(inputs, 100)
        made = [
            read_definition(call, call.fit(one, _PROPERTY, "name", "label", "type", "fieldType", "groupName"))
            for one in inputs
        ]
        self._add(self._type(call), made)
        return batch_answer(started, [one.as_json() for one in made], [], status=201)

    def update_property(self, call: Call) -> Answer:
        """Change a custom property's labels or options; its type and uniqueness are for good."""
        known = self._property(call)
        body = call.json(_PATCH)
        if known.hubspot_defined:
            raise validation_error(f"The definition of property {known.name} is read only")
        _set(known, body)
        if body.get("options") is not None:
            known.options = _options(call, body["options"])
        known.updated = now_ms()
        return Answer(known.as_json())

    def list_schemas(self, _call: Call) -> Answer:
        """The custom objects."""
        schema = self._store.schema
        listed = [one for one in schema.types.values() if one.custom and schema.usable(one.type_id)]
        return Answer({"results": [self._schema(one) for one in listed]})

    def read_schema(self, call: Call) -> Answer:
        """One object's schema, of a standard object too."""
        return Answer(self._schema(self._type(call)))

    def create_schema(self, call: Call) -> Answer:
        """A new custom object: 201; 403 on a tier without them, whose apps cannot be granted the scope (unverified)."""
        if not self._store.schema.custom_objects:
            raise missing_scopes("crm.schemas.custom.write")
        body = call.json(_SCHEMA, "name", "labels", "requiredProperties", "properties", "associatedObjects")
        schema, name = self._store.schema, body["name"]
        if schema.knows(name):
            raise HubSpotError(409, f"Object type {name} already exists", category="OBJECT_ALREADY_EXISTS")
        associated = [schema.resolve(other) for other in body["associatedObjects"]]
        made = [read_definition(call, call.fit(one, _SCHEMA_PROPERTY, "name", "label")) for one in body["properties"]]
        _check_unique_count(made)
        object_type = build_custom(
            ObjectType(
                schema.next_custom_id(),
                name,
                name,
                {},
                required=list(body["requiredProperties"]),
                primary=body.get("primaryDisplayProperty") or "hs_object_id",
                labels=dict(body["labels"]),
                created=now_ms(),
            ),
            made,
        )
        for listed in (*object_type.required, object_type.primary):
            if listed not in object_type.properties:
                raise validation_error(f"Property {listed} is not defined in the schema")
        self._store.add_type(object_type)
        for other in associated:
            schema.associate_types(object_type.type_id, other.type_id)
        return Answer(self._schema(object_type), 201)

    def _type(self, call: Call) -> ObjectType:
        return self._store.schema.resolve(call.path["type"])

    def _property(self, call: Call) -> Property:
        known = self._type(call).properties.get(call.path["name"])
        if known is None:
            raise not_found(f"Property {call.path['name']} does not exist")
        return known

    def _add(self, object_type: ObjectType, made: list[Property]) -> None:
        names = [one.name for one in made]
        for one in made:
            if one.name in object_type.properties or names.count(one.name) > 1:
                message = f"A property named '{one.name}' already exists."
                raise HubSpotError(409, message, category="OBJECT_ALREADY_EXISTS")
        _check_unique_count([*object_type.properties.values(), *made])
        table = self._store.tables[object_type.type_id]
        for one in made:
            object_type.properties[one.name] = one
            if one.unique:
                table.unique[one.name] = {}

    def _schema(self, object_type: ObjectType) -> dict[str, Any]:
        name_of = self._store.schema.types
        return {
            "id": object_type.type_id,
            "objectTypeId": object_type.type_id,
            "name": object_type.name,
            "fullyQualifiedName": object_type.full_name,
            "labels": object_type.labels,
            "primaryDisplayProperty": object_type.primary,
            "requiredProperties": object_type.required,
            "searchableProperties": [object_type.primary],
            "secondaryDisplayProperties": [],
            "properties": [one.as_json() for one in object_type.properties.values()],
            "associations": [
                {
                    "id": str(kind.type_id),
                    "fromObjectTypeId": one,
                    "toObjectTypeId": other,
                    "name": f"{name_of[one].singular}_to_{name_of[other].singular}",
                }
                for (one, other), kinds in self._store.schema.associations.items()
                if object_type.type_id in {one, other} and self._store.schema.usable(one)
                if self._store.schema.usable(other)
                for kind in kinds
            ],
            "createdAt": iso(object_type.created),
            "updatedAt": iso(object_type.created),
            "archived": False,
        }


def read_definition(call: Call, body: Mapping[str, Any]) -> Property:
    """The property a body defines; `HubSpotError` 400 for an unknown type or an enumeration without options."""
    kind, field_type = body.get("type") or "string", body.get("fieldType") or "text"
    if kind not in _TYPES or field_type not in _FIELD_TYPES:
        raise validation_error(f"Invalid type {kind} or field type {field_type} of property {body['name']}")
    options = _options(call, body.get("options") or [])
    if kind == "enumeration" and not options:
        raise validation_error(f"Property {body['name']} of type enumeration needs options")
    now = now_ms()
    unique = bool(body.get("hasUniqueValue"))
    if unique and kind not in {"string", "number"}:
        raise validation_error(f"Property {body['name']} of type {kind} cannot have unique values")
    made = Property(body["name"], kind, field_type, options=options, unique=unique, created=now, updated=now)
    _set(made, body)
    return made


def _set(known: Property, body: Mapping[str, Any]) -> None:
    for name, attribute in _ATTRIBUTES.items():
        if body.get(name) is not None:
            setattr(known, attribute, body[name])


def _options(call: Call, given: list[Any]) -> dict[str, str]:
    fitted = [call.fit(one, _OPTION, "label", "value") for one in given]
    return {one["value"]: one["label"] for one in fitted}


def _check_unique_count(properties: Iterable[Property]) -> None:
    if sum(one.unique for one in properties) > MAX_UNIQUE_PROPERTIES:
        raise validation_error(f"An object can have up to {MAX_UNIQUE_PROPERTIES} properties with unique values")
