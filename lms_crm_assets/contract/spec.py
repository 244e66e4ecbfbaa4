"""What the layers below need to know of one mapped object, resolved from the contract."""

from collections.abc import Mapping
from dataclasses import dataclass

from lms_crm_assets.contract.canonical import COLUMNS
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One CRM field: where its value comes from, whose word counts, and how values are compared.

    `expression` is SQL over the canonical columns of the object, `columns` those that it reads.
    """

    expression: str
    columns: frozenset[str]
    type: FieldType
    owner: Owner = Owner.NEVER_NULL
    normalisers: tuple[str, ...] = ()
    scale: int = 5


@dataclass(frozen=True, slots=True)
class ParentSpec:
    """A parent: the CRM's name and match key of it, and how a child names it (relationship or association label)."""

    to: str
    match_key: str
    relation: str


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object as it is kept in the CRM; `fields` maps CRM field → spec."""

    object: CrmObject
    to: str
    match_key: str
    fields: Mapping[str, FieldSpec]
    parents: Mapping[CrmObject, ParentSpec]
    mode: SyncMode = SyncMode.UPSERT


def quoted_column(column: str) -> str:
    """A canonical column as SQL."""
    return f'"{column}"'


def object_spec(contract: Contract, obj: CrmObject) -> ObjectSpec:
    """The spec of a mapped object."""
    mapping = contract.objects[obj]
    return ObjectSpec(
        object=obj,
        to=mapping.to,
        match_key=mapping.match_key,
        fields={
            name: FieldSpec(
                expression=quoted_column(field.column),
                columns=frozenset({field.column}),
                type=field.type or COLUMNS[obj][field.column],
                scale=field.scale,
            )
            for name, field in mapping.fields.items()
        },
        parents={
            parent: ParentSpec(contract.objects[parent].to, contract.objects[parent].match_key, relation)
            for parent, relation in mapping.parents.items()
        },
    )
