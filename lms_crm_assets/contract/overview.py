"""A contract as it is understood, row by row: for people and for `--json`."""

from dataclasses import dataclass

from lms_crm_assets.contract.canonical import MATCH_COLUMN
from lms_crm_assets.contract.models import Contract, FieldMapping
from lms_crm_assets.contract.spec import FieldSpec, object_spec
from lms_crm_assets.domain import CrmObject, FieldType


@dataclass(frozen=True, slots=True)
class MappedField:
    """One line of the mapping: what the CRM's field (or relationship) holds, whose word counts, how it is compared."""

    crm_field: str
    source: str
    type: str
    owner: str
    details: str
    pii: bool


def mapped_fields(contract: Contract, obj: CrmObject) -> list[MappedField]:
    """The match key, the parents and the fields of an object."""
    spec, mapping = object_spec(contract, obj), contract.objects[obj]
    return [
        MappedField(spec.match_key, MATCH_COLUMN, FieldType.TEXT, "match key", "", pii=False),
        *(
            MappedField(parent.relation, f"{name} by {parent.match_key}", "parent", "never_null", "", pii=False)
            for name, parent in spec.parents.items()
        ),
        *(
            MappedField(
                name,
                _source(field),
                spec.fields[name].type,
                field.owner,
                _details(field, spec.fields[name]),
                pii=spec.fields[name].pii,
            )
            for name, field in mapping.fields.items()
        ),
    ]


def _source(field: FieldMapping) -> str:
    if field.source is not None:
        return " ".join(field.source.split())
    return f"constant {field.value!r}"


def _details(field: FieldMapping, spec: FieldSpec) -> str:
    told: list[str] = [*field.normalise]
    if field.values:
        told.append(", ".join(f"{word} → {crm}" for word, crm in field.values.items()))
    if spec.max_length is not None:
        told.append(f"cut to {spec.max_length}")
    if spec.type is FieldType.NUMBER:
        told.append(f"{spec.scale} decimals")
    return "; ".join(told)
