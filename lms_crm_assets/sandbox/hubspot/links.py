"""Association types as a body names them, and the links a write asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.sandbox.core import Stats
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, validation_error
from lms_crm_assets.sandbox.hubspot.schema import AssociationType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Record, Table
from lms_crm_assets.sandbox.hubspot.wire import Call, Shape

ID: Shape = {"id": "string"}
SPEC: Shape = {"associationCategory": "string", "associationTypeId": "int"}
_WITH_RECORD: Shape = {"to": "map", "types": "list"}
_INVALID = "One or more associations are invalid"


@dataclass(frozen=True, slots=True)
class Link:
    """A link to be made: every type of it between two live records."""

    to_table: Table
    to_id: int
    kinds: Sequence[AssociationType]


def invalid_object(table: Table, record_id: str) -> HubSpotError:
    """400 for an association with a record that does not exist."""
    label = table.type.label
    return validation_error(
        _INVALID,
        {"INVALID_OBJECT_IDS": [f"{label}={record_id} is not valid"], "objectType": [label], "objectId": [record_id]},
    )


def invalid_kind(category: str, type_id: int) -> HubSpotError:
    """400 for an association type that does not lead from the one object to the other."""
    spec = f"{category}={type_id}"
    return validation_error(
        _INVALID,
        {
            "associationSpec": [spec],
            "INVALID_ASSOCIATION_TYPE_ID": [f"{spec} is not a valid association definition id"],
        },
    )


def kinds_of(call: Call, specs: Sequence[object], known: Sequence[AssociationType]) -> list[AssociationType]:
    """The association types of `[{"associationCategory", "associationTypeId"}]`; `HubSpotError` 400 for another one."""
    found = []
    for spec in specs:
        given = call.fit(spec, SPEC, *SPEC)
        category, type_id = given["associationCategory"], given["associationTypeId"]
        kind = next((one for one in known if (one.category, one.type_id) == (category, type_id)), None)
        if kind is None:
            raise invalid_kind(category, type_id)
        found.append(kind)
    return found


def links_asked(store: Store, table: Table, call: Call, body: Mapping[str, Any]) -> list[Link]:
    """The `associations` of a create: `[{"to": {"id"}, "types": […]}]`; the type ids tell the other object."""
    links = []
    from_type = table.type.type_id
    for given in body.get("associations") or ():
        wanted = call.fit(given, _WITH_RECORD, *_WITH_RECORD)
        to_id = call.fit(wanted["to"], ID, "id")["id"]
        for spec in wanted["types"]:
            asked = call.fit(spec, SPEC, *SPEC)
            for (one, other), known in store.schema.associations.items():
                if (
                    one == from_type
                    and store.schema.usable(other)
                    and any(kind.type_id == asked["associationTypeId"] for kind in known)
                ):
                    to_table, kinds = store.tables[other], kinds_of(call, [spec], known)
                    break
            else:
                raise invalid_kind(asked["associationCategory"], asked["associationTypeId"])
            to_record = to_table.live(to_id)
            if to_record is None:
                raise invalid_object(to_table, to_id)
            links.append(Link(to_table, to_record.id, kinds))
    return links


def make_links(store: Store, stats: Stats, table: Table, record: Record, links: Sequence[Link]) -> None:
    """Make the links of one record. A labelled link is an unlabelled one too, as HubSpot's answers show it."""
    for link in links:
        pair = (table.type.type_id, link.to_table.type.type_id)
        unlabelled = next((kind for kind in store.schema.associations.get(pair, []) if kind.label is None), None)
        kinds = link.kinds if unlabelled is None or not link.kinds else [unlabelled, *link.kinds]
        fresh = [store.link(pair, record.id, link.to_id, kind) for kind in kinds]
        stats.count_record("associations", "created" if any(fresh) else "unchanged")
