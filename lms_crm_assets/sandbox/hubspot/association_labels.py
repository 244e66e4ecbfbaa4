"""Association types between two objects: listed, and made, renamed and deleted as labels.

HubSpot documentation, "Associations schema". A label leads both ways, with an id for each direction.
"""

from dataclasses import replace
from typing import Any

from lms_crm_assets.sandbox.hubspot.errors import not_found, validation_error
from lms_crm_assets.sandbox.hubspot.schema import AssociationType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint

MAX_LABELS = 50  # between two objects; HubSpot's own limits endpoint tells it


class AssociationLabels:
    """The endpoints `/associations/{type}/{to}/labels`; they count against the limit of associations too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def endpoints(self) -> list[Endpoint]:
        """On the v4 and the dated paths."""
        return [
            Endpoint(method, base + path, handler, "associations")
            for base in ("/crm/v4/associations/{type}/{to}/labels", "/crm/associations/{version}/{type}/{to}/labels")
            for method, path, handler in (
                ("GET", "", self.list_types),
                ("POST", "", self.create),
                ("PUT", "", self.update),
                ("DELETE", "/{type_id}", self.delete),
            )
        ]

    def list_types(self, call: Call) -> Answer:
        """The association types from one object to the other, the unlabelled ones among them."""
        known = self._store.schema.associations.get(self._pair(call), [])
        return Answer({"results": [kind.as_json() for kind in known]})

    def create(self, call: Call) -> Answer:
        """A new label, for both directions: 200 with an association type each."""
        body = call.json({"name": "string", "label": "string", "inverseLabel": "string"}, "name", "label")
        pair, name = self._pair(call), body["name"]
        if "-" in name or name[:1].isdecimal():
            raise validation_error(f"Invalid association name {name}: no hyphens, first no number")
        labels = [kind.label for kind in self._store.schema.associations.get(pair, []) if kind.label is not None]
        if body["label"] in labels:
            raise validation_error(f"An association label {body['label']} already exists")
        if len(labels) >= MAX_LABELS:
            raise validation_error(f"Two objects can have up to {MAX_LABELS} association labels")
        made = self._store.schema.add_label(*pair, body["label"], body.get("inverseLabel") or body["label"])
        return Answer({"results": [kind.as_json() for kind in made]})

    def update(self, call: Call) -> Answer:
        """Change a label's text: 204."""
        shape: dict[str, Any] = {"associationTypeId": "int", "label": "string", "inverseLabel": "string"}
        body = call.json(shape, "associationTypeId", "label")
        pair = self._pair(call)
        kind = self._label(pair, body["associationTypeId"])
        known = self._store.schema.associations
        known[pair] = [replace(one, label=body["label"]) if one == kind else one for one in known[pair]]
        if body.get("inverseLabel") is not None:
            back = (pair[1], pair[0])
            known[back] = [
                replace(one, label=body["inverseLabel"]) if one.type_id == kind.inverse else one for one in known[back]
            ]
        return Answer(None, 204)

    def delete(self, call: Call) -> Answer:
        """Delete a label in both directions, and take it off all links: 204."""
        pair, type_id = self._pair(call), call.path["type_id"]
        kind = self._label(pair, int(type_id) if type_id.isdecimal() else 0)
        known = self._store.schema.associations
        for one in {pair, (pair[1], pair[0])}:
            known[one] = [each for each in known[one] if each.type_id not in {kind.type_id, kind.inverse}]
        self._store.forget_label(pair, kind)
        return Answer(None, 204)

    def _pair(self, call: Call) -> tuple[str, str]:
        resolve = self._store.schema.resolve
        return resolve(call.path["type"]).type_id, resolve(call.path["to"]).type_id

    def _label(self, pair: tuple[str, str], type_id: int) -> AssociationType:
        for kind in self._store.schema.associations.get(pair, []):
            if kind.type_id == type_id and kind.label is not None:
                return kind
        raise not_found(f"There is no association label {type_id}")
