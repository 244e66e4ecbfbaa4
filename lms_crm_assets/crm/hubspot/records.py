"""Records on the wire: rows of HubSpot's answers, inputs of its batches, and which result is whose."""

from collections.abc import Mapping, Sequence
from typing import Any

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.contract.standard_objects import STANDARD_NAMES
from lms_crm_assets.crm.hubspot.answers import listed, unwritten
from lms_crm_assets.crm.normal_form import without_trailing_zeros
from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.domain import CrmWrite, FieldType, Outcome, OutcomeStatus


def are_listed_by_name(spec: ObjectSpec) -> bool:
    """Whether the links of a list can be told apart by the parents' names: a bare type id is not among them."""
    return not any(parent.to[:1].isdigit() and parent.to not in STANDARD_NAMES for parent in spec.parents.values())


def has_more_links(row: Mapping[str, Any]) -> bool:
    """Whether a row of a list comes with a part of its links only."""
    return any(value.get("paging") for value in (row.get("associations") or {}).values())


def record(spec: ObjectSpec, row: Mapping[str, Any]) -> CrmRecord:
    """One row; its parents are those that it comes with."""
    associations = row.get("associations") or {}
    parents = {
        parent: sorted({str(ref["id"]) for ref in _associated(associations, of.to)}, key=int)
        for parent, of in spec.parents.items()
    }
    properties = row["properties"]
    return CrmRecord(
        properties[spec.match_key], row["id"], {name: properties.get(name) for name in spec.fields}, parents
    )


def inputs(spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[dict[str, Any]]:
    """The inputs of a batch upsert; a trace id of its own makes a bad record cost only itself."""
    return [
        {
            "id": write.external_id,
            "idProperty": spec.match_key,
            "properties": {spec.match_key: write.external_id, **_wire(spec, write)},
            "objectWriteTraceId": _trace(number),
        }
        for number, write in enumerate(writes)
    ]


def outcomes(spec: ObjectSpec, writes: Sequence[CrmWrite], answer: Mapping[str, Any]) -> list[Outcome]:
    """Outcomes in the batch's order from results and errors in any order; who is in neither, nobody knows of."""
    written: dict[str, str] = {}
    for row in listed(answer, "results"):
        key = (row.get("properties") or {}).get(spec.match_key)
        for name in (row.get("objectWriteTraceId"), _key(key) if key else None):
            if name:
                written[name] = str(row["id"])
    refused: dict[str, Mapping[str, Any]] = {}
    for error in listed(answer, "errors"):
        context = error.get("context") or {}
        refused.update(dict.fromkeys(context.get("objectWriteTraceId", []), error))
        refused.update(dict.fromkeys(map(_key, context.get("ids", [])), error))
    found = []
    for number, write in enumerate(writes):
        names = (_trace(number), _key(write.external_id))
        crm_id = next((written[name] for name in names if name in written), None)
        if crm_id is not None:
            found.append(Outcome(write.external_id, OutcomeStatus.SUCCEEDED, crm_id))
            continue
        errors = [refused[name] for name in names if name in refused]
        found.append(unwritten(write.external_id, write.crm_id, errors[0] if errors else None))
    return found


def archived(writes: Sequence[CrmWrite], answer: Any) -> list[Outcome]:
    """Outcomes of an archive, which answers nothing unless records were refused."""
    refused = {
        record_id: error
        for error in listed(answer, "errors")
        for record_id in (error.get("context") or {}).get("ids", [])
    }
    return [
        unwritten(write.external_id, write.crm_id, refused[str(write.crm_id)])
        if str(write.crm_id) in refused
        else Outcome(write.external_id, OutcomeStatus.SUCCEEDED, write.crm_id)
        for write in writes
    ]


def _trace(number: int) -> str:
    return f"trace {number}"


def _key(value: str) -> str:
    """A match key as it is compared: HubSpot lower-cases e-mail addresses."""
    return f"key {value.lower() if '@' in value else value}"


def _associated(associations: Mapping[str, Any], to: str) -> list[dict[str, Any]]:
    """The references to one object; a custom object's key carries the portal's id in front of its name."""
    name = STANDARD_NAMES.get(to, to).removeprefix("p_")
    for key, value in associations.items():
        if key == name or key.endswith(f"_{name}"):
            return list(value["results"])
    return []


def _wire(spec: ObjectSpec, write: CrmWrite) -> dict[str, str]:
    return {
        name: without_trailing_zeros(value) if value and spec.fields[name].type is FieldType.NUMBER else value or ""
        for name, value in write.values.items()
    }
