"""What a record looks like on the wire: the columns of a query, its rows, and the JSON of a write."""

from collections.abc import Iterator, Sequence
from typing import Any

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.crm.salesforce.answers import UnreadableError
from lms_crm_assets.domain import CrmObject, CrmWrite, FieldType

# The address of a query may have 16,384 characters, and a character of a key three bytes of three characters each.
_KEYS_A_QUERY = 100
_KEY_BYTES_A_QUERY = 3_000


def select(spec: ObjectSpec, where: str) -> str:
    """The SOQL that reads what a contract names; parents by the Id behind the relationship."""
    columns = ", ".join(["Id", spec.match_key, *spec.fields, *(f"{p.relation}.Id" for p in spec.parents.values())])
    return f"SELECT {columns} FROM {spec.to} WHERE {where}"


def select_all(spec: ObjectSpec) -> str:
    """The SOQL of every record that has the match key."""
    return select(spec, f"{spec.match_key} != null")


def selects_of_keys(spec: ObjectSpec, external_ids: Sequence[str]) -> Iterator[str]:
    """The SOQL of the records with these match keys, as many queries as keep each address short."""
    keys: list[str] = []
    size = 0
    for external_id in external_ids:
        if keys and (len(keys) == _KEYS_A_QUERY or size > _KEY_BYTES_A_QUERY):
            yield select(spec, f"{spec.match_key} IN ({', '.join(keys)})")
            keys, size = [], 0
        keys.append(_soql_text(external_id))
        size += len(external_id.encode())
    if keys:
        yield select(spec, f"{spec.match_key} IN ({', '.join(keys)})")


def records_of(spec: ObjectSpec, answer: Any) -> list[CrmRecord]:
    """The records of one page of a query's answer; `UnreadableError` when it is none."""
    try:
        return [_record(spec, row) for row in answer["records"]]
    except (KeyError, TypeError, AttributeError) as exc:
        raise UnreadableError from exc


def wire(spec: ObjectSpec, write: CrmWrite) -> dict[str, Any]:
    """A write as Collections take it."""
    values = {name: _json(value, spec.fields[name]) for name, value in write.values.items()}
    parents = {
        spec.parents[CrmObject(parent)].relation: {spec.parents[CrmObject(parent)].match_key: external_id}
        for parent, external_id in write.parents.items()
    }
    return {"attributes": {"type": spec.to}, spec.match_key: write.external_id, **values, **parents}


def _record(spec: ObjectSpec, row: dict[str, Any]) -> CrmRecord:
    parents = {parent: [row[of.relation]["Id"]] if row[of.relation] else [] for parent, of in spec.parents.items()}
    return CrmRecord(row[spec.match_key], row["Id"], {name: row[name] for name in spec.fields}, parents)


def _json(value: str | None, field: FieldSpec) -> Any:
    if value is None:
        return None
    match field.type:
        case FieldType.NUMBER:
            return float(value)
        case FieldType.BOOLEAN:
            return value == "true"
        case _:
            return value


def _soql_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
