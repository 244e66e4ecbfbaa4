"""What the sandbox's control routes see and do: records as stored, and changes behind the clients' backs."""

from collections.abc import Iterator, Mapping
from typing import Any

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Record, Table
from lms_crm_assets.sandbox.hubspot.values import iso
from lms_crm_assets.sandbox.hubspot.writes import apply, check_id_property, plan


def stored(store: Store, table: Table, record: Record) -> dict[str, Any]:
    """`{"id", "properties", "archived", "createdAt", "updatedAt", "associations": {"contacts": [ids], …}}`."""
    from_type = table.type.type_id
    return {
        "id": str(record.id),
        "properties": dict(record.properties),
        "archived": bool(record.archived),
        "createdAt": iso(record.created),
        "updatedAt": iso(record.updated),
        "associations": {
            store.schema.types[other].name: [
                str(to_id) for to_id, _ in sorted(store.links_of(from_type, record.id, other))
            ]
            for one, other in store.schema.associations
            if one == from_type and store.schema.usable(other)
        },
    }


def records(store: Store, kind: str) -> Iterator[dict[str, Any]]:
    """Every record of one object, archived ones too; `SandboxRequestError` for an unknown object."""
    table = _table(store, kind)
    # A list, for it is sent in pieces, and others may write between two of them.
    return (stored(store, table, record) for record in list(table.records.values()))


def mutate(store: Store, change: Mapping[str, Any]) -> dict[str, Any]:
    """Apply `{"object", "op", …}` and return the record as it is then; `SandboxRequestError` when it cannot be.

    `create` takes `properties`. `update`, `archive`, `restore`, `associate`, `dissociate` and `merge` name the record
    by `id` or by `idProperty` and `key`. `associate` and `dissociate` take `to: {"object", "id" | "idProperty", "key"}`,
    `merge` takes `into`, the surviving record, named likewise.
    """
    try:
        with store.happenings.by_a_person():
            return _mutate(store, change)
    except HubSpotError as exc:
        raise SandboxRequestError(str(exc)) from exc
    except KeyError as exc:
        raise SandboxRequestError(f"the change lacks {exc}") from exc


def _mutate(store: Store, change: Mapping[str, Any]) -> dict[str, Any]:
    table, op = _table(store, change["object"]), change["op"]
    if op == "create":
        record, _ = apply(store, table, plan(store, table, None, change["properties"], {}))
        return stored(store, table, record)
    record = _find(table, change, archived=op == "restore")
    match op:
        case "update":
            apply(store, table, plan(store, table, record, change["properties"], {}))
        case "archive":
            store.archive(table, record)
        case "restore":
            held = {name: record.properties[name] for name in table.unique if name in record.properties}
            plan(store, table, record, held, {})  # refuses when another record took a unique value meanwhile
            store.restore(table, record)
        case "merge":
            store.merge(table, record, winner := _find(table, change["into"]))
            record = winner
        case "associate" | "dissociate":
            to_table = _table(store, change["to"]["object"])
            pair, to_id = (table.type.type_id, to_table.type.type_id), _find(to_table, change["to"]).id
            kinds = store.schema.associations.get(pair)
            if not kinds:
                raise SandboxRequestError(f"{table.type.name} cannot be associated with {to_table.type.name}")
            if op == "associate":
                store.link(pair, record.id, to_id, kinds[0])
            else:
                store.unlink(pair, record.id, to_id)
        case _:
            raise SandboxRequestError(f"unknown op: {op}")
    return stored(store, table, record)


def _table(store: Store, kind: str) -> Table:
    found = next((each for each in store.schema.types.values() if each.closed and kind in each.aliases), None)
    try:
        return store.table(kind) if found is None else store.tables[found.type_id]
    except HubSpotError as exc:
        raise SandboxRequestError(f"unknown object: {kind}") from exc


def _find(table: Table, named: Mapping[str, Any], *, archived: bool = False) -> Record:
    if "idProperty" in named:
        check_id_property(table, named["idProperty"])
        record = table.find(named["idProperty"], named["key"])
    elif archived:
        record = table.records.get(int(named["id"]))
    else:
        record = table.live(named["id"])
    if record is None:
        raise SandboxRequestError(f"no such record of {table.type.name}: {dict(named)}")
    return record
