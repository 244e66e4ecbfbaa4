"""One record a request: create, read, update, delete, by id or by external id (REST guide, sObject Rows)."""

from collections.abc import Callable, Iterable
from typing import Any

from . import dml
from .dml import Operation
from .errors import ApiError, RowError, entity_is_deleted, no_such_column, no_such_id, not_found
from .http import Call, Reply
from .ids import long_id
from .org import Org, key_of, object_of
from .schema import Field, SObject
from .store import Record
from .values import from_json

# From this version on an upsert that updates answers 200 with a body; before, 204 without one.
_UPSERT_BODY_SINCE = 46
_DONE: dict[str, Any] = {"success": True, "errors": []}


def create(org: Org, call: Call) -> Reply:
    """`POST sobjects/{sobject}`: 201 and the id."""
    sobject = object_of(org, call)
    row = dml.read_row(org.store.schema, sobject, call.json_object())
    record, _ = _counted(org, sobject, lambda: (_insert(org, row), "created"))
    location = {"Location": _url(call, sobject, record)}
    return Reply(201, {"id": record.id, **_DONE}, location)


def retrieve(org: Org, call: Call) -> Reply:
    """`GET sobjects/{sobject}/{id}`: the whole record, or what `fields` names."""
    sobject = object_of(org, call)
    return _show(org, call, sobject, _by_url_id(org, sobject, call.params["id"], missing=not_found()))


def update(org: Org, call: Call) -> Reply:
    """`PATCH sobjects/{sobject}/{id}`: 204."""
    sobject = object_of(org, call)
    record = _by_url_id(org, sobject, call.params["id"], missing=_no_cross_reference())
    row = dml.read_row(org.store.schema, sobject, call.json_object())
    _counted(org, sobject, lambda: (record, _update(org, record, row)))
    return Reply(204)


def delete(org: Org, call: Call) -> Reply:
    """`DELETE sobjects/{sobject}/{id}`: 204; the record lies in the recycle bin."""
    sobject = object_of(org, call)
    record = _by_url_id(org, sobject, call.params["id"], missing=_no_cross_reference())
    return _delete(org, sobject, record)


def retrieve_by_key(org: Org, call: Call) -> Reply:
    """`GET sobjects/{sobject}/{field}/{value}`: the record; 300 and the URLs when several hold the value."""
    sobject = object_of(org, call)
    matches = _matches(org, call, sobject, key_of(call, sobject))
    return _several(call, sobject, matches) or _show(org, call, sobject, _first(matches))


def upsert_by_key(org: Org, call: Call) -> Reply:
    """`PATCH sobjects/{sobject}/{field}/{value}`: 201 when created, else 200; `updateOnly=true` forbids creating."""
    sobject = object_of(org, call)
    key = key_of(call, sobject)
    row = dml.read_row(org.store.schema, sobject, call.json_object())
    matches = _matches(org, call, sobject, key)
    if several := _several(call, sobject, matches):
        return several
    if not matches and call.query.get("updateOnly", "").lower() == "true":
        raise not_found()

    def work() -> tuple[Record, Operation]:
        dml.refuse_id(row, key.name)
        if matches:
            return matches[0], dml.update(org.store, org.guard, matches[0], row)
        if not key.editable:
            raise dml.not_writable([key.name])
        row.values[key.name] = from_json(key, call.params["value"])
        return dml.insert(org.store, org.guard, row), "created"

    record, operation = _counted(org, sobject, work)
    created = operation == "created"
    if call.version < _UPSERT_BODY_SINCE:
        return Reply(201, {"id": record.id, **_DONE}) if created else Reply(204)
    location = {"Location": _url(call, sobject, record)} if created else {}
    return Reply(201 if created else 200, {"id": record.id, **_DONE, "created": created}, location)


def delete_by_key(org: Org, call: Call) -> Reply:
    """`DELETE sobjects/{sobject}/{field}/{value}`: 204."""
    sobject = object_of(org, call)
    matches = _matches(org, call, sobject, key_of(call, sobject))
    return _several(call, sobject, matches) or _delete(org, sobject, _first(matches))


def fields_of(sobject: SObject, names: Iterable[str]) -> list[Field]:
    """The fields of those names; `RowError` when one is none."""
    found = []
    for name in names:
        field = sobject.field(name.strip())
        if field is None:
            raise no_such_column(name, sobject.name)
        found.append(field)
    return found


def shown(org: Org, call: Call, sobject: SObject, record: Record, fields: Iterable[Field]) -> dict[str, Any]:
    """Some fields of a record, with its `attributes`."""
    attributes = {"type": sobject.name, "url": _url(call, sobject, record)}
    return {"attributes": attributes, **org.store.flat(sobject, record, fields)}


def _show(org: Org, call: Call, sobject: SObject, record: Record) -> Reply:
    names = call.query.get("fields")
    fields = fields_of(sobject, names.split(",")) if names else sobject.fields
    return Reply(content=shown(org, call, sobject, record, fields))


def _insert(org: Org, row: dml.Row) -> Record:
    dml.refuse_id(row)
    return dml.insert(org.store, org.guard, row)


def _update(org: Org, record: Record, row: dml.Row) -> Operation:
    dml.refuse_id(row)
    return dml.update(org.store, org.guard, record, row)


def _delete(org: Org, sobject: SObject, record: Record) -> Reply:
    def work() -> tuple[Record, Operation]:
        dml.delete(org.store, org.guard, sobject, record)
        return record, "deleted"

    _counted(org, sobject, work)
    return Reply(204)


def _counted(org: Org, sobject: SObject, work: Callable[[], tuple[Record, Operation]]) -> tuple[Record, Operation]:
    """Do the work and note in the statistics what became of it."""
    try:
        record, operation = work()
    except RowError:
        org.stats.count_record(sobject.name, "rejected")
        raise
    org.stats.count_record(sobject.name, operation)
    return record, operation


def _by_url_id(org: Org, sobject: SObject, id_: str, *, missing: ApiError) -> Record:
    full = long_id(id_)
    if full is None or not full.startswith(sobject.prefix):
        raise no_such_id(id_)
    record = org.store.get(sobject, full)
    if record is None:
        raise missing
    if record.deleted:
        raise entity_is_deleted().alone()
    return record


def _no_cross_reference() -> ApiError:
    """What a write to an id that never was answers (recorded in a composite batch): 404, unlike a lookup's 400."""
    return ApiError(404, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")


def _matches(org: Org, call: Call, sobject: SObject, key: Field) -> list[Record]:
    return org.store.find(sobject, key, call.params["value"])


def _first(matches: list[Record]) -> Record:
    if not matches:
        raise not_found()
    return matches[0]


def _several(call: Call, sobject: SObject, matches: list[Record]) -> Reply | None:
    return Reply(300, [_url(call, sobject, each) for each in matches]) if len(matches) > 1 else None


def _url(call: Call, sobject: SObject, record: Record) -> str:
    return f"{call.data_url}/sobjects/{sobject.name}/{record.id}"
