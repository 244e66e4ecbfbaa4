"""CRM records one at a time: list, read, create, update, archive, merge.

HubSpot documentation, "Objects"; the dated paths answer the same except where a docstring says otherwise.
"""

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any

from lms_crm_assets.sandbox.core import Stats
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, not_found, nothing_to_update
from lms_crm_assets.sandbox.hubspot.links import links_asked, make_links
from lms_crm_assets.sandbox.hubspot.schema import ObjectType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Record, Table
from lms_crm_assets.sandbox.hubspot.values import iso
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape
from lms_crm_assets.sandbox.hubspot.writes import Outcome, Sent, apply, check_id_property, plan

LIST_LIMIT = 100
HISTORY_LIMIT = 50
LINKS_SHOWN = 100

CREATE: Shape = {"properties": "texts", "associations": "list", "objectWriteTraceId": "string"}
UPDATE: Shape = {"properties": "texts", "objectWriteTraceId": "string"}


def view(object_type: ObjectType, record: Record, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The record with these properties, null where it has no value; None: with the type's default ones.

    Every answer also carries the id, the creation and the last change. Unknown names are left out.
    """
    known = object_type.properties
    wanted = object_type.default_properties if names is None else [name for name in names if name in known]
    created, updated = iso(record.created), iso(record.updated)
    held = record.properties
    properties = {name: held.get(name) for name in wanted}
    id_name, created_name, updated_name = object_type.system_properties
    properties |= {id_name: str(record.id), created_name: created, updated_name: updated}
    shown = {
        "id": str(record.id),
        "properties": properties,
        "createdAt": created,
        "updatedAt": updated,
        "archived": bool(record.archived),
    }
    if record.archived:
        shown["archivedAt"] = iso(record.archived)
    return shown


def history(record: Record, names: Iterable[str]) -> dict[str, Any]:
    """`propertiesWithHistory`; the sandbox keeps the current version of a value only."""
    return {
        name: [{"value": text, "timestamp": iso(record.updated), "sourceType": "INTEGRATION"}]
        for name in names
        if (text := record.properties.get(name)) is not None
    }


def associated(store: Store, object_type: ObjectType, record: Record, to_types: Sequence[ObjectType]) -> dict[str, Any]:
    """`associations` of a read: `{"contacts": {"results": [{"id", "type"}]}}`, without the types that have no link.

    Of more than 100 links the first are shown, and `paging` says that there are more (hubspot-api-nodejs issue 29).
    """
    shown: dict[str, Any] = {}
    for to_type in to_types:
        kind = f"{object_type.singular}_to_{to_type.singular}"
        linked = nsmallest(
            LINKS_SHOWN + 1, (to_id for to_id, _ in store.links_of(object_type.type_id, record.id, to_type.type_id))
        )
        if linked:
            results = [{"id": str(to_id), "type": kind} for to_id in linked[:LINKS_SHOWN]]
            shown[to_type.full_name] = {"results": results}
        if len(linked) > LINKS_SHOWN:
            after = str(linked[LINKS_SHOWN - 1])
            path = f"/crm/v4/objects/{object_type.type_id}/{record.id}/associations/{to_type.type_id}"
            shown[to_type.full_name]["paging"] = {"next": {"after": after, "link": f"{path}?after={after}"}}
    return shown


class Objects:
    """The endpoints on single records."""

    def __init__(self, store: Store, stats: Stats) -> None:
        self._store = store
        self._stats = stats

    def endpoints(self) -> list[Endpoint]:
        """`…/{type}` and `…/{type}/{id}`, on the v3 and the dated paths."""
        return [
            Endpoint(method, base + path, handler)
            for base in ("/crm/v3/objects/{type}", "/crm/objects/{version}/{type}")
            for method, path, handler in (
                ("GET", "", self.list_records),
                ("POST", "", self.create),
                ("POST", "/merge", self.merge),
                ("GET", "/{id}", self.read),
                ("PATCH", "/{id}", self.update),
                ("DELETE", "/{id}", self.archive),
            )
        ]

    def list_records(self, call: Call) -> Answer:
        """A page in id order; no cap on how far one can page."""
        table = self._store.table(call.path["type"])
        with_history = bool(call.names("propertiesWithHistory"))
        limit = call.number("limit", 10, most=HISTORY_LIMIT if with_history else LIST_LIMIT)
        records, more = table.page(call.cursor(), limit, archived=call.flag("archived"))
        content: dict[str, Any] = {"results": [self._shown(table, record, call) for record in records]}
        if more:
            after = str(records[-1].id)
            content["paging"] = {"next": {"after": after, "link": f"?after={after}&limit={limit}"}}
        return Answer(content)

    def read(self, call: Call) -> Answer:
        """One record, by id or by a unique property's value."""
        table = self._store.table(call.path["type"])
        if call.flag("archived"):
            record = table.records.get(int(call.path["id"])) if call.path["id"].isdecimal() else None
            if record is None or not record.archived:
                raise not_found()
            return Answer(self._shown(table, record, call))
        return Answer(self._shown(table, self._find(table, call), call))

    def create(self, call: Call) -> Answer:
        """A new record: 201, or 409 when a contact has the e-mail already."""
        table = self._store.table(call.path["type"])
        body = call.json(CREATE, "properties")
        asked = links_asked(self._store, table, call, body)
        record, _ = self._write(table, None, body["properties"])
        make_links(self._store, self._stats, table, record, asked)
        return Answer(view(table.type, record, [*table.type.default_properties, *body["properties"]]), 201)

    def update(self, call: Call) -> Answer:
        """Change some properties."""
        table = self._store.table(call.path["type"])
        sent = call.json(UPDATE, "properties")["properties"]
        if not sent:
            raise nothing_to_update()
        record, _ = self._write(table, self._find(table, call), sent)
        return Answer(view(table.type, record, sent))

    def archive(self, call: Call) -> Answer:
        """Archive: 204, also for a record that is archived already."""
        table = self._store.table(call.path["type"])
        record = table.live(call.path["id"])
        if record is not None:
            self._store.archive(table, record)
            self._stats.count_record(table.type.name, "archived")
        elif not call.path["id"].isdecimal() or int(call.path["id"]) not in table.records:
            raise not_found()
        return Answer(None, 204)

    def merge(self, call: Call) -> Answer:
        """Merge one record into another, which stays."""
        table = self._store.table(call.path["type"])
        body = call.json(
            {"primaryObjectId": "string", "objectIdToMerge": "string"}, "primaryObjectId", "objectIdToMerge"
        )
        winner, loser = table.live(body["primaryObjectId"]), table.live(body["objectIdToMerge"])
        if winner is None or loser is None or winner is loser:
            raise not_found()
        self._store.merge(table, loser, winner)
        return Answer(view(table.type, winner))

    def _find(self, table: Table, call: Call) -> Record:
        id_property = call.query.get("idProperty", [None])[-1]
        if id_property is not None:
            check_id_property(table, id_property)
        record = table.find(id_property, call.path["id"])
        if record is None:
            raise not_found()
        return record

    def _shown(self, table: Table, record: Record, call: Call) -> dict[str, Any]:
        names = call.names("properties")
        shown = view(table.type, record, names or None)
        if past := call.names("propertiesWithHistory"):
            shown["propertiesWithHistory"] = history(record, past)
        to_types = [self._store.schema.resolve(name) for name in call.names("associations")]
        if to_types and (found := associated(self._store, table.type, record, to_types)):
            shown["associations"] = found
        return shown

    def _write(self, table: Table, record: Record | None, sent: Sent) -> tuple[Record, Outcome]:
        try:
            planned = plan(self._store, table, record, sent, {})
        except HubSpotError:
            self._stats.count_record(table.type.name, "rejected")
            raise
        written, outcome = apply(self._store, table, planned)
        self._stats.count_record(table.type.name, outcome)
        return written, outcome
