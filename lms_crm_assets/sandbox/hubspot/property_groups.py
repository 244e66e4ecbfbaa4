"""The endpoints on property groups. A property can only be put into a group that exists.

HubSpot documentation, "Properties".
"""

from typing import Any

from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, not_found, validation_error
from lms_crm_assets.sandbox.hubspot.schema import Group, ObjectType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape

_PATCH: Shape = {"label": "string", "displayOrder": "int"}
_GROUP: Shape = {**_PATCH, "name": "string"}


class PropertyGroups:
    """The endpoints `/properties/{type}/groups`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def endpoints(self) -> list[Endpoint]:
        """On the v3 and the dated paths."""
        return [
            Endpoint(method, base + path, handler)
            for base in ("/crm/v3/properties/{type}/groups", "/crm/properties/{version}/{type}/groups")
            for method, path, handler in (
                ("GET", "", self.list_groups),
                ("POST", "", self.create),
                ("GET", "/{name}", self.read),
                ("PATCH", "/{name}", self.update),
                ("DELETE", "/{name}", self.delete),
            )
        ]

    def list_groups(self, call: Call) -> Answer:
        """Every group of the object, on one page."""
        return Answer({"results": [_as_json(*one) for one in self._type(call).groups.items()]})

    def read(self, call: Call) -> Answer:
        """One group."""
        return Answer(_as_json(call.path["name"], self._group(call)))

    def create(self, call: Call) -> Answer:
        """A new group: 201; 409 when the name is taken."""
        body = call.json(_GROUP, "name", "label")
        groups, name = self._type(call).groups, body["name"]
        if name in groups:
            raise HubSpotError(
                409, f"A property group named '{name}' already exists.", category="OBJECT_ALREADY_EXISTS"
            )
        groups[name] = Group(body["label"], body.get("displayOrder") or -1)
        return Answer(_as_json(name, groups[name]), 201)

    def update(self, call: Call) -> Answer:
        """Change its label or place."""
        group, body = self._group(call), call.json(_PATCH)
        group.label = body.get("label") or group.label
        if body.get("displayOrder") is not None:
            group.display_order = body["displayOrder"]
        return Answer(_as_json(call.path["name"], group))

    def delete(self, call: Call) -> Answer:
        """Delete an empty group: 204."""
        self._group(call)
        object_type, name = self._type(call), call.path["name"]
        if any(one.group_name == name for one in object_type.properties.values()):
            raise validation_error(f"Property group {name} still has properties")
        del object_type.groups[name]
        return Answer(None, 204)

    def _type(self, call: Call) -> ObjectType:
        return self._store.schema.resolve(call.path["type"])

    def _group(self, call: Call) -> Group:
        group = self._type(call).groups.get(call.path["name"])
        if group is None:
            raise not_found(f"Property group {call.path['name']} does not exist")
        return group


def _as_json(name: str, group: Group) -> dict[str, Any]:
    return {"name": name, "label": group.label, "displayOrder": group.display_order, "archived": False}
