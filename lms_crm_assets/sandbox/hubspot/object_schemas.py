"""The endpoints on object schemas: custom objects are made, changed and deleted here.

HubSpot documentation, "Custom objects".
"""

import re
from typing import Any

from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, missing_scopes, not_found, validation_error
from lms_crm_assets.sandbox.hubspot.portal import build_custom
from lms_crm_assets.sandbox.hubspot.properties import PROPERTY, check_unique_count, read_definition
from lms_crm_assets.sandbox.hubspot.schema import ObjectType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import now_ms
from lms_crm_assets.sandbox.hubspot.values import iso
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_DISPLAY: Shape = {
    "labels": "map",
    "description": "string",
    "primaryDisplayProperty": "string",
    "secondaryDisplayProperties": "strings",
    "requiredProperties": "strings",
    "searchableProperties": "strings",
}
_SCHEMA: Shape = {**_DISPLAY, "name": "string", "properties": "list", "associatedObjects": "strings"}
_PATCH: Shape = {**_DISPLAY, "clearDescription": "bool", "restorable": "bool"}
_SCHEMA_PROPERTY: Shape = {
    **PROPERTY,
    "optionSortStrategy": "string",
    "showCurrencySymbol": "bool",
    "textDisplayHint": "string",
    "numberDisplayHint": "string",
    "searchableInGlobalSearch": "bool",
}
_ASSOCIATION: Shape = {"fromObjectTypeId": "string", "toObjectTypeId": "string", "name": "string"}


class ObjectSchemas:
    """The endpoints `/schemas/…`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def endpoints(self) -> list[Endpoint]:
        """On every address they have had; the vendor's client calls `/crm-object-schemas/v3/schemas`."""
        bases = ("/crm/v3/schemas", "/crm-object-schemas/v3/schemas", "/crm-object-schemas/{version}/schemas")
        return [
            Endpoint(method, base + path, handler)
            for base in bases
            for method, path, handler in (
                ("GET", "", self.list_schemas),
                ("POST", "", self.create),
                ("GET", "/{type}", self.read),
                ("PATCH", "/{type}", self.update),
                ("DELETE", "/{type}", self.delete),
                ("POST", "/{type}/associations", self.associate),
            )
        ]

    def list_schemas(self, call: Call) -> Answer:
        """The custom objects."""
        schema = self._store.schema
        listed = [one for one in schema.types.values() if one.custom and schema.usable(one.type_id)]
        return Answer({"results": [] if call.flag("archived") else [self._as_json(one) for one in listed]})

    def read(self, call: Call) -> Answer:
        """One object's schema, of a standard object too."""
        return Answer(self._as_json(self._store.schema.resolve(call.path["type"])))

    def create(self, call: Call) -> Answer:
        """A new custom object: 201; 403 on a tier without them, whose apps cannot be granted the scope (unverified)."""
        if not self._store.schema.custom_objects:
            raise missing_scopes("crm.schemas.custom.write")
        body = call.json(_SCHEMA, "name", "labels", "requiredProperties", "properties", "associatedObjects")
        schema, name = self._store.schema, body["name"]
        if not _NAME.fullmatch(name):
            raise validation_error(f"Invalid object name {name}: letters, numbers and underscores, first a letter")
        if schema.knows(name):
            raise HubSpotError(409, f"Object type {name} already exists", category="OBJECT_ALREADY_EXISTS")
        associated = [schema.resolve(other) for other in body["associatedObjects"]]
        made = [read_definition(call, call.fit(one, _SCHEMA_PROPERTY, "name", "label")) for one in body["properties"]]
        check_unique_count(made)
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
        check_listed(object_type)
        self._store.add_type(object_type)
        for other in associated:
            schema.associate_types(object_type.type_id, other.type_id)
        return Answer(self._as_json(object_type), 201)

    def update(self, call: Call) -> Answer:
        """Change a custom object's labels, its required and its display property; its name is for good."""
        object_type = self._custom(call)
        body = call.json(_PATCH)
        required = object_type.required if body.get("requiredProperties") is None else body["requiredProperties"]
        primary = body.get("primaryDisplayProperty") or object_type.primary
        check_listed(object_type, required, primary)
        object_type.required, object_type.primary = list(required), primary
        object_type.labels = {**object_type.labels, **(body.get("labels") or {})}
        shown = self._as_json(object_type)
        return Answer({name: value for name, value in shown.items() if name not in {"properties", "associations"}})

    def delete(self, call: Call) -> Answer:
        """Delete a custom object without records: 204."""
        object_type = self._custom(call)
        if next(self._store.tables[object_type.type_id].all_live(), None) is not None:
            raise validation_error(f"Object type {object_type.full_name} has records and cannot be deleted")
        self._store.remove_type(object_type)
        return Answer(None, 204)

    def associate(self, call: Call) -> Answer:
        """Let its records be linked with those of another object: 201."""
        schema = self._store.schema
        body = call.json(_ASSOCIATION, "fromObjectTypeId", "toObjectTypeId")
        one, other = schema.resolve(body["fromObjectTypeId"]), schema.resolve(body["toObjectTypeId"])
        if schema.resolve(call.path["type"]) not in {one.type_id: one, other.type_id: other}.values():
            raise validation_error(f"An association of {call.path['type']} must start or end there")
        schema.associate_types(one.type_id, other.type_id)
        kind = schema.associations[one.type_id, other.type_id][0]
        made = {"id": str(kind.type_id), "fromObjectTypeId": one.type_id, "toObjectTypeId": other.type_id}
        return Answer({**made, "name": body.get("name") or f"{one.singular}_to_{other.singular}"}, 201)

    def _custom(self, call: Call) -> ObjectType:
        object_type = self._store.schema.resolve(call.path["type"])
        if not object_type.custom:
            raise not_found(f"{object_type.name} is not a custom object")
        return object_type

    def _as_json(self, object_type: ObjectType) -> dict[str, Any]:
        schema = self._store.schema
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
                    "name": f"{schema.types[one].singular}_to_{schema.types[other].singular}",
                }
                for (one, other), kinds in schema.associations.items()
                if object_type.type_id in {one, other} and schema.usable(one) and schema.usable(other)
                for kind in kinds
            ],
            "createdAt": iso(object_type.created),
            "updatedAt": iso(object_type.created),
            "archived": False,
        }


def check_listed(object_type: ObjectType, required: list[str] | None = None, primary: str | None = None) -> None:
    """`HubSpotError` 400 unless the required and the display property are defined."""
    for listed in (*(object_type.required if required is None else required), primary or object_type.primary):
        if listed not in object_type.properties:
            raise validation_error(f"Property {listed} is not defined in the schema")
