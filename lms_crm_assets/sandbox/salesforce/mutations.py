"""Changes behind the clients' backs, as a person in the user interface makes them: `/_sandbox/mutate`."""

from collections.abc import Iterable, Mapping
from typing import Any

from lms_crm_assets.sandbox.core import SandboxRequestError

from . import dml
from .errors import JsonTypeError, RowError
from .guard import Guard
from .schema import Field, SObject
from .store import Record, Store


def mutate(store: Store, guard: Guard, change: Mapping[str, Any]) -> Mapping[str, Any]:
    """Change one record; gives it as it is then.

    `{"object", "op": "create" | "update" | "delete" | "undelete" | "merge", "id" or "key_field" and "key", "fields"}`,
    with the rules of the API: what Salesforce would refuse is a `SandboxRequestError`; row locks, duplicate rules and
    row faults don't strike here. `merge` takes `into`, the record that remains, named by `id` or `key_field` and `key`
    likewise: the other one is deleted, its children move (Salesforce help, "Merge Duplicate Contacts").
    """
    if not isinstance(change, Mapping) or not isinstance(change.get("fields", {}), Mapping):
        raise SandboxRequestError("a change and its fields are JSON objects")
    sobject = named_object(store, str(change.get("object")))
    guard.caller = None
    try:
        row = dml.read_row(store.schema, sobject, change.get("fields", {}))
        match change.get("op"):
            case "create":
                record = dml.insert(store, guard, row)
            case "update":
                record = _addressed(store, sobject, change, deleted=False)
                dml.update(store, guard, record, row)
            case "delete" | "undelete" as operation:
                record = _addressed(store, sobject, change, deleted=operation == "undelete")
                store.set_deleted(sobject, record, deleted=operation == "delete")
            case "merge":
                record = _merge(store, sobject, change)
            case operation:
                raise SandboxRequestError(f"unknown operation: {operation}")
    except (RowError, JsonTypeError) as error:
        raise SandboxRequestError(str(error)) from error
    return store.flat(sobject, record, sobject.fields)


def named_object(store: Store, name: str) -> SObject:
    """The object of that name as an administrator sees it; `SandboxRequestError` when there is none."""
    found = store.schema.held(name)
    if found is None:
        raise SandboxRequestError(f"unknown object: {name}")
    return found.for_administrators


def _merge(store: Store, sobject: SObject, change: Mapping[str, Any]) -> Record:
    """Delete the addressed record in favour of `into`, which gets its children; the record that is gone."""
    into = change.get("into")
    if sobject.field("MasterRecordId") is None or not isinstance(into, Mapping):
        raise SandboxRequestError("Contacts and Accounts can be merged, `into` a record named by id or key")
    loser = _addressed(store, sobject, change, deleted=False)
    winner = _addressed(store, sobject, into, deleted=False)
    if winner is loser:
        raise SandboxRequestError("a record can't be merged with itself")
    for child in store.schema.all:
        for lookup in child.lookups:
            if lookup.refers_to == sobject.name:
                _reparent(store, child, lookup, loser.id, winner.id)
    store.update(sobject, loser, {"MasterRecordId": winner.id})
    store.set_deleted(sobject, loser, deleted=True)
    return loser


def _reparent(store: Store, child: SObject, lookup: Field, old: str, new: str) -> None:
    slot = child.slots[lookup.name]
    for record in store.tables[child.name].rows.values():
        if record.values[slot] == old and not record.deleted:
            store.update(child, record, {lookup.name: new})


def _addressed(store: Store, sobject: SObject, change: Mapping[str, Any], *, deleted: bool) -> Record:
    """The record that a change names by id or by key, among the live or the deleted ones."""
    name = str(change.get("key_field", "Id"))
    wanted = change.get("id") if name == "Id" else change.get("key")
    field = sobject.field(name)
    if field is None:
        raise SandboxRequestError(f"unknown field of {sobject.name}: {name}")
    for record in _candidates(store, sobject, field, wanted, deleted=deleted):
        if record.deleted == deleted:
            return record
    raise SandboxRequestError(f"no {'deleted' if deleted else 'live'} {sobject.name} with {name} {wanted}")


def _candidates(store: Store, sobject: SObject, field: Field, wanted: Any, *, deleted: bool) -> Iterable[Record]:
    if field.type == "id":
        found = store.get(sobject, str(wanted))
        return [] if found is None else [found]
    if field.is_key and not deleted:
        return store.find(sobject, field, str(wanted))
    read = store.reader(sobject, field)
    return (record for record in store.tables[sobject.name].rows.values() if read(record) == wanted)
