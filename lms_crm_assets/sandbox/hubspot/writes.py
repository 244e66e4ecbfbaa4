"""Deciding what a write would do, before anything is done: values, required properties, unique values.

A batch is planned as a whole first, so that HubSpot's all-or-nothing rule is kept by not applying it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lms_crm_assets.sandbox.hubspot.errors import (
    PORTAL_ID,
    HubSpotError,
    InvalidValueError,
    contact_exists,
    invalid_values,
    non_unique,
    validation_error,
)
from lms_crm_assets.sandbox.hubspot.schema import ObjectType
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Record, Table

Sent = Mapping[str, str | None]
Claims = dict[tuple[str, str], int]
Outcome = Literal["created", "updated", "unchanged"]


@dataclass(slots=True)
class Plan:
    """A write that will succeed: on `record`, or on a new one with this id; `values` are canonical."""

    record_id: int
    record: Record | None
    values: dict[str, str]


def normalised(object_type: ObjectType, sent: Sent) -> dict[str, str]:
    """Canonical values of the properties as sent; `HubSpotError` 400 that lists everything wrong with them.

    `""` clears a value; null does too (unverified).
    """
    values: dict[str, str] = {}
    wrong: list[InvalidValueError] = []
    for name, text in sent.items():
        known = object_type.properties.get(name)
        if known is None:
            wrong.append(InvalidValueError(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
        elif known.read_only:
            message = f'"{name}" is a read only property; its value cannot be set.'
            wrong.append(InvalidValueError(name, "READ_ONLY_VALUE", message))
        elif not text:
            values[known.name] = ""
        else:
            try:
                values[known.name] = known.normalise(text)
            except InvalidValueError as exc:
                wrong.append(exc)
    if wrong:
        raise invalid_values(wrong)
    return values


def check_id_property(table: Table, id_property: str) -> None:
    """`HubSpotError` 400 unless records can be found by this property."""
    if id_property not in table.unique:
        raise non_unique(table.type.type_id, id_property)


def plan(store: Store, table: Table, record: Record | None, sent: Sent, claims: Claims) -> Plan:
    """What writing these properties to `record`, or to a new one, comes to; `HubSpotError` when HubSpot refuses it.

    `claims` are unique values that earlier inputs of the same batch will hold; this input's are added.
    """
    values = normalised(table.type, sent)
    if record is None:
        missing = [name for name in table.type.required if not values.get(name)]
        if missing:
            message = f"Error creating {table.type.label}. Some required properties were not set."
            raise validation_error(message, {"properties": missing})
    record_id = store.new_id() if record is None else record.id
    taken = [(name, text) for name in table.unique if (text := values.get(name))]
    for name, text in taken:
        holder = table.unique[name].get(text) or claims.get((name, text))
        if holder is not None and holder != record_id:
            raise _conflict(table.type, record_id, name, text, holder)
    claims.update(dict.fromkeys(taken, record_id))
    return Plan(record_id, record, values)


def apply(store: Store, table: Table, planned: Plan) -> tuple[Record, Outcome]:
    """Do what was planned."""
    if planned.record is None:
        return store.create(table, planned.record_id, planned.values), "created"
    changed = store.update(table, planned.record, planned.values)
    return planned.record, "updated" if changed else "unchanged"


def _conflict(object_type: ObjectType, record_id: int, name: str, text: str, holder: int) -> HubSpotError:
    if name == "email":
        return contact_exists(holder)
    meta, _, inner = object_type.type_id.partition("-")
    kind = f"metaTypeId={meta}, innerId={inner}" if object_type.custom else f"legacyObjectType={object_type.label}"
    return validation_error(
        f"Cannot set PropertyValueCoordinates{{portalId={PORTAL_ID}, objectTypeId=ObjectTypeId{{{kind}}}, "
        f"propertyName={name}, value={text}}} on {record_id}. {holder} already has that value."
    )
