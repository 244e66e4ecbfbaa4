"""Associations v4: links between records, in batches and one at a time, readable from both sides.

HubSpot documentation, "Associations v4"; errors from recorded answers of the real API.
"""

from heapq import nsmallest
from typing import Any

from lms_crm_assets.sandbox.core import Stats
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, not_found, validation_error
from lms_crm_assets.sandbox.hubspot.links import ID, Link, invalid_kind, invalid_object, kinds_of, make_links
from lms_crm_assets.sandbox.hubspot.schema import AssociationType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Table, now_ms
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape, batch_answer, check_batch_size

MAX_CREATE = 2_000
MAX_READ = 1_000
PAGE_LIMIT = 500

_INPUTS: Shape = {"inputs": "list"}
_DEFAULT: Shape = {"from": "map", "to": "map"}
_CREATE: Shape = {**_DEFAULT, "types": "list"}
_READ: Shape = {"id": "string", "after": "string"}
_ARCHIVE: Shape = {"from": "map", "to": "list"}


class Associations:
    """The endpoints of associations; all count against their own limit too."""

    def __init__(self, store: Store, stats: Stats) -> None:
        self._store = store
        self._stats = stats

    def endpoints(self) -> list[Endpoint]:
        """On the v4 and the dated paths."""
        batches = [
            ("POST", "/batch/create", self.create),
            ("POST", "/batch/associate/default", self.associate),
            ("POST", "/batch/read", self.read),
            ("POST", "/batch/archive", self.archive),
            ("POST", "/batch/labels/archive", self.archive_labels),
        ]
        singles = [
            ("GET", "/{type}/{id}/associations/{to}", self.list_links),
            ("PUT", "/{type}/{id}/associations/{to}/{to_id}", self.put),
            ("DELETE", "/{type}/{id}/associations/{to}/{to_id}", self.delete),
            ("PUT", "/{type}/{id}/associations/default/{to}/{to_id}", self.put_default),
        ]
        return [
            Endpoint(method, base + path, handler, "associations")
            for bases, group in (
                (("/crm/v4/associations/{type}/{to}", "/crm/associations/{version}/{type}/{to}"), batches),
                (("/crm/v4/objects", "/crm/objects/{version}"), singles),
            )
            for base in bases
            for method, path, handler in group
        ]

    def create(self, call: Call) -> Answer:
        """Link by type, up to 2,000: 201; 207 with `errors` for the inputs that cannot be, 400 when none can."""
        started = now_ms()
        from_table, to_table = self._tables(call)
        known = self._kinds(from_table, to_table)
        results: list[Any] = []
        errors: list[HubSpotError] = []
        for given in self._inputs(call, MAX_CREATE, _CREATE):
            one, other = (call.fit(given[side], ID, "id")["id"] for side in ("from", "to"))
            try:
                kinds = kinds_of(call, given["types"], known)
                self._link(from_table, to_table, one, other, kinds)
            except HubSpotError as exc:
                errors.append(exc)
            else:
                results.append(_pair(from_table, to_table, one, other, kinds))
        return self._answer(started, results, errors, status=201)

    def associate(self, call: Call) -> Answer:
        """Link by the default type of the two objects, up to 2,000: 200; each link shows in both directions."""
        started = now_ms()
        from_table, to_table = self._tables(call)
        results: list[Any] = []
        errors: list[HubSpotError] = []
        for given in self._inputs(call, MAX_CREATE, _DEFAULT):
            one, other = (call.fit(given[side], ID, "id")["id"] for side in ("from", "to"))
            try:
                results += self._default(from_table, to_table, one, other)
            except HubSpotError as exc:
                errors.append(exc)
        return self._answer(started, results, errors, status=200)

    def read(self, call: Call) -> Answer:
        """What up to 1,000 records are linked to: 200; 207 with an entry for each that has no link.

        More than 500 links of one record are paged by its own `paging.next.after` (the size is unverified).
        """
        started = now_ms()
        from_table, to_table = self._tables(call)
        results: list[Any] = []
        errors = []
        for given in self._inputs(call, MAX_READ, _READ, "id"):
            to, paging = self._linked(from_table, to_table, given["id"], _cursor(given.get("after")), PAGE_LIMIT)
            if to:
                results.append({"from": {"id": given["id"]}, "to": to, **paging})
            else:
                errors.append(_no_links(from_table, to_table, given["id"]).entry())
        return batch_answer(started, results, errors, status=200)

    def archive(self, call: Call) -> Answer:
        """Remove all links between the records: 204, also when there were none."""
        from_table, to_table = self._tables(call)
        for given in self._inputs(call, MAX_CREATE, _ARCHIVE):
            one = call.fit(given["from"], ID, "id")["id"]
            for other in given["to"]:
                self._unlink(from_table, to_table, one, call.fit(other, ID, "id")["id"])
        return Answer(None, 204)

    def archive_labels(self, call: Call) -> Answer:
        """Take association types off links, which else stay: 204."""
        from_table, to_table = self._tables(call)
        known = self._kinds(from_table, to_table)
        for given in self._inputs(call, MAX_CREATE, _CREATE):
            one, other = (call.fit(given[side], ID, "id")["id"] for side in ("from", "to"))
            from_record, to_record = from_table.live(one), to_table.live(other)
            for kind in kinds_of(call, given["types"], known):
                if from_record is not None and to_record is not None:
                    pair = (from_table.type.type_id, to_table.type.type_id)
                    self._store.unlabel(pair, from_record.id, to_record.id, kind)
        return Answer(None, 204)

    def list_links(self, call: Call) -> Answer:
        """What one record is linked to, up to 500 a page; the cursor is the last linked record's id."""
        from_table, to_table = self._tables(call)
        if from_table.live(call.path["id"]) is None:
            raise not_found()
        limit, after = call.number("limit", PAGE_LIMIT, most=PAGE_LIMIT), call.cursor()
        found, paging = self._linked(from_table, to_table, call.path["id"], after, limit)
        return Answer({"results": found, **paging})

    def put(self, call: Call) -> Answer:
        """Link two records by the types in the body, a bare array."""
        from_table, to_table = self._tables(call)
        kinds = kinds_of(call, call.json_list(), self._kinds(from_table, to_table))
        self._link(from_table, to_table, call.path["id"], call.path["to_id"], kinds)
        return Answer(_pair(from_table, to_table, call.path["id"], call.path["to_id"], kinds), 201)

    def delete(self, call: Call) -> Answer:
        """Remove all links between two records."""
        self._unlink(*self._tables(call), call.path["id"], call.path["to_id"])
        return Answer(None, 204)

    def put_default(self, call: Call) -> Answer:
        """Link two records by the default type."""
        results = self._default(*self._tables(call), call.path["id"], call.path["to_id"])
        return batch_answer(now_ms(), results, [], status=200)

    def _tables(self, call: Call) -> tuple[Table, Table]:
        return self._store.table(call.path["type"]), self._store.table(call.path["to"])

    def _kinds(self, from_table: Table, to_table: Table) -> list[AssociationType]:
        return self._store.schema.associations.get((from_table.type.type_id, to_table.type.type_id), [])

    def _inputs(self, call: Call, most: int, shape: Shape, *required: str) -> list[dict[str, Any]]:
        given = call.json(_INPUTS, "inputs")["inputs"]
        check_batch_size(given, most)
        return [call.fit(one, shape, *(required or shape)) for one in given]

    def _link(self, from_table: Table, to_table: Table, one: str, other: str, kinds: list[AssociationType]) -> None:
        records = []
        for table, record_id in ((from_table, one), (to_table, other)):
            record = table.live(record_id)
            if record is None:
                raise invalid_object(table, record_id)
            records.append(record)
        make_links(self._store, self._stats, from_table, records[0], [Link(to_table, records[1].id, kinds)])

    def _default(self, from_table: Table, to_table: Table, one: str, other: str) -> list[dict[str, Any]]:
        known = self._kinds(from_table, to_table)
        if not known:
            raise invalid_kind("HUBSPOT_DEFINED", 0)
        kind = known[0]
        self._link(from_table, to_table, one, other, [kind])
        return [
            {
                "from": {"id": from_id},
                "to": {"id": to_id},
                "associationSpec": {"associationCategory": kind.category, "associationTypeId": type_id},
            }
            for from_id, to_id, type_id in ((one, other, kind.type_id), (other, one, kind.inverse))
        ]

    def _unlink(self, from_table: Table, to_table: Table, one: str, other: str) -> None:
        from_record, to_record = from_table.live(one), to_table.live(other)
        if from_record is None or to_record is None:
            return
        if self._store.unlink((from_table.type.type_id, to_table.type.type_id), from_record.id, to_record.id):
            self._stats.count_record("associations", "archived")

    def _linked(
        self, from_table: Table, to_table: Table, record_id: str, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """A page of what a record is linked to, and its `paging` if more follows."""
        record = from_table.live(record_id)
        if record is None:
            return [], {}
        known = {kind.type_id: kind.as_json() for kind in self._kinds(from_table, to_table)}
        linked = self._store.links_of(from_table.type.type_id, record.id, to_table.type.type_id)
        page = nsmallest(limit + 1, (one for one in linked if one[0] > after))
        shown = [
            {"toObjectId": str(to_id), "associationTypes": [known[type_id] for type_id in type_ids]}
            for to_id, type_ids in page[:limit]
        ]
        if len(page) <= limit:
            return shown, {}
        cursor = shown[-1]["toObjectId"]
        return shown, {"paging": {"next": {"after": cursor, "link": f"?after={cursor}&limit={limit}"}}}

    def _answer(self, started: int, results: list[Any], errors: list[HubSpotError], *, status: int) -> Answer:
        if errors:
            self._stats.count_record("associations", "rejected", len(errors))
            if not results:
                raise errors[0]
        return batch_answer(started, results, [error.entry() for error in errors], status=status)


def _cursor(text: str | None) -> int:
    if not (text or "0").isdecimal():
        raise validation_error("The 'after' paging cursor is invalid", {"after": [str(text)]})
    return int(text or 0)


def _pair(from_table: Table, to_table: Table, one: str, other: str, kinds: list[AssociationType]) -> dict[str, Any]:
    return {
        "fromObjectTypeId": from_table.type.type_id,
        "fromObjectId": one,
        "toObjectTypeId": to_table.type.type_id,
        "toObjectId": other,
        "labels": [kind.label for kind in kinds if kind.label is not None],
    }


def _no_links(from_table: Table, to_table: Table, record_id: str) -> HubSpotError:
    one, other = from_table.type.singular, to_table.type.singular
    return HubSpotError(
        404,
        f"No {other} is associated with {one} {record_id}.",
        category="OBJECT_NOT_FOUND",
        sub_category="crm.associations.NO_ASSOCIATIONS_FOUND",
        context={"fromObjectId": [record_id], "fromObjectType": [one], "toObjectType": [other]},
    )
