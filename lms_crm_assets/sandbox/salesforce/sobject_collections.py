"""Up to 200 records a request (REST guide, sObject Collections): create, update, upsert, delete, retrieve.

The request is refused as a whole when its shape is wrong; otherwise the answer is 200 with one result a record, in the
order of the request. With `allOrNone` one refused record takes back all others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import dml
from .dml import Operation, Row
from .errors import ApiError, JsonTypeError, RowError, json_error
from .http import Call, Reply
from .ids import long_id
from .org import Org, key_of, object_of
from .records import fields_of, shown
from .schema import SObject
from .store import Record

MAX_RECORDS = 200
Work = Callable[[], tuple[Record, Operation]]


def create(org: Org, call: Call) -> Reply:
    """`POST composite/sobjects`: objects may be mixed."""
    rows, all_or_none = _read_batch(org, call)

    def work(row: Row) -> tuple[Record, Operation]:
        if row.id is not None:
            raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ["Id"])
        return dml.insert(org.store, org.guard, row), "created"

    outcomes = _apply(org, [(row.sobject.name, _bind(work, row)) for row in rows], all_or_none=all_or_none)
    return Reply(content=[_result(each) for each in outcomes])


def update(org: Org, call: Call) -> Reply:
    """`PATCH composite/sobjects`: each record holds its id."""
    rows, all_or_none = _read_batch(org, call)

    def work(row: Row) -> tuple[Record, Operation]:
        record = dml.by_id(org.store, row.sobject, row.id)
        return record, dml.update(org.store, org.guard, record, row)

    outcomes = _apply(org, [(row.sobject.name, _bind(work, row)) for row in rows], all_or_none=all_or_none)
    return Reply(content=[_result(each) for each in outcomes])


def upsert(org: Org, call: Call) -> Reply:
    """`PATCH composite/sobjects/{sobject}/{field}`: one object; all rows that share a key are refused."""
    sobject = object_of(org, call)
    key = key_of(call, sobject)
    rows, all_or_none = _read_batch(org, call, sobject)
    times = dml.keys_of(rows, key)

    def work(row: Row) -> tuple[Record, Operation]:
        dml.check_key(row, key, times)
        return dml.upsert(org.store, org.guard, row, key)

    outcomes = _apply(org, [(sobject.name, _bind(work, row)) for row in rows], all_or_none=all_or_none)
    return Reply(content=[_upsert_result(each) for each in outcomes])


def delete(org: Org, call: Call) -> Reply:
    """`DELETE composite/sobjects?ids=…&allOrNone=…`."""
    ids = _url_ids(call)

    def work(id_: str) -> tuple[Record, Operation]:
        sobject = _object_of_id(org, id_)
        if sobject is None:
            raise RowError("MALFORMED_ID", f"malformed id {id_}")
        record = dml.by_id(org.store, sobject, id_)
        dml.delete(org.store, org.guard, sobject, record)
        return record, "deleted"

    work_list = [(sobject.name if (sobject := _object_of_id(org, id_)) else "", _bind(work, id_)) for id_ in ids]
    all_or_none = call.query.get("allOrNone", "").lower() == "true"
    return Reply(content=[_result(each) for each in _apply(org, work_list, all_or_none=all_or_none)])


def retrieve(org: Org, call: Call) -> Reply:
    """`GET composite/sobjects/{sobject}?ids=…&fields=…`, or POST with both in the body; null where there is none."""
    sobject = object_of(org, call)
    if call.method == "POST":
        body = call.json_object()
        ids, names = _texts(body, "ids"), _texts(body, "fields")
        _check_number(ids)
    else:
        ids, names = _url_ids(call), [name for name in call.query.get("fields", "").split(",") if name]
    if not names:
        raise ApiError(400, "MISSING_ARGUMENT", "The fields parameter is required")  # text unverified
    fields = fields_of(sobject, names)
    records = [org.store.get(sobject, id_) for id_ in ids]
    return Reply(
        content=[None if each is None or each.deleted else shown(org, call, sobject, each, fields) for each in records]
    )


def _read_batch(org: Org, call: Call, only: SObject | None = None) -> tuple[list[Row], bool]:
    """The request's rows and `allOrNone`; `ApiError` or `JsonTypeError` refuse the whole of it."""
    body = call.json_object()
    for name in body:
        if name not in {"allOrNone", "records"}:
            raise json_error(f'Unrecognized field "{name}"')
    all_or_none = body.get("allOrNone", False)
    if not isinstance(all_or_none, bool):
        raise JsonTypeError("boolean", all_or_none)
    records = body.get("records")
    if not isinstance(records, list):
        raise JsonTypeError("list", records)
    _check_number(records)
    return [dml.read_row(org.store.schema, _type_of(org, record, only), record) for record in records], all_or_none


def _type_of(org: Org, record: Any, only: SObject | None) -> SObject:
    """The object that a record says it is (texts unverified)."""
    if not isinstance(record, dict):
        raise JsonTypeError("sobject", record)
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(name, str):
        raise ApiError(400, "INVALID_INPUT", "The attributes map of each record must hold a value for type.")
    found = org.store.schema.find(name)
    if found is None:
        raise ApiError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
    if only is not None and found is not only:
        message = f"The records must all be of type {only.name} as the URI says, one is of type {found.name}."
        raise ApiError(400, "INVALID_TYPE", message)
    return found


def _check_number(records: Sequence[Any]) -> None:
    if len(records) > MAX_RECORDS:
        message = f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)


def _url_ids(call: Call) -> list[str]:
    ids = [id_.strip() for id_ in call.query.get("ids", "").split(",") if id_.strip()]
    if not ids:
        raise ApiError(400, "MISSING_ARGUMENT", "The ids parameter is required")  # text unverified
    _check_number(ids)
    return ids


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    listed = body.get(name)
    if not isinstance(listed, list):
        raise JsonTypeError("list", listed)
    for each in listed:
        if not isinstance(each, str):
            raise JsonTypeError("string", each)
    return listed


def _object_of_id(org: Org, id_: str) -> SObject | None:
    full = long_id(id_)
    return next((each for each in org.store.schema if full is not None and full.startswith(each.prefix)), None)


def _bind(work: Callable[[Any], tuple[Record, Operation]], item: Any) -> Work:
    return lambda: work(item)


def _apply(
    org: Org, work_list: list[tuple[str, Work]], *, all_or_none: bool
) -> list[tuple[Record, Operation] | RowError]:
    """Do each piece of work; what became of it, in order. The name beside it is the object that is counted."""
    with org.store.transaction() as rollback:
        outcomes = [_attempt(work) for _, work in work_list]
        if all_or_none and any(isinstance(each, RowError) for each in outcomes):
            rollback()
            outcomes = [each if isinstance(each, RowError) else _rolled_back() for each in outcomes]
    for (name, _), outcome in zip(work_list, outcomes, strict=True):
        if name:  # a malformed id belongs to no object
            org.stats.count_record(name, "rejected" if isinstance(outcome, RowError) else outcome[1])
    return outcomes


def _attempt(work: Work) -> tuple[Record, Operation] | RowError:
    try:
        return work()
    except RowError as error:
        return error


def _rolled_back() -> RowError:
    return RowError(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
    )


def _result(outcome: tuple[Record, Operation] | RowError) -> dict[str, Any]:
    if isinstance(outcome, RowError):
        return {"success": False, "errors": [outcome.body()]}
    return {"id": outcome[0].id, "success": True, "errors": []}


def _upsert_result(outcome: tuple[Record, Operation] | RowError) -> dict[str, Any]:
    created = not isinstance(outcome, RowError) and outcome[1] == "created"
    return _result(outcome) | {"created": created}
