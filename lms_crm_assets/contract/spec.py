"""What the layers below need to know of one mapped object, resolved from the contract."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lms_crm_assets.contract.canonical import PERSONAL, TEXTS
from lms_crm_assets.contract.expressions import Compiled, compile_expression
from lms_crm_assets.contract.models import Contract, FieldMapping, ObjectMapping
from lms_crm_assets.contract.rules import constant_type, vocabulary
from lms_crm_assets.domain import CrmObject, FieldType, Owner, RuleSeverity, SyncMode

# The code of a record without a value that the CRM needs.
_NEEDED = "LMS-303"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One CRM field: where its value comes from, whose word counts, and how values are compared.

    `expression` is SQL over the canonical columns of the object, `columns` those that it reads. `words` is the closed
    set of CRM words that it gives, None when it is open.
    """

    expression: str
    columns: frozenset[str]
    type: FieldType
    owner: Owner = Owner.NEVER_NULL
    normalisers: tuple[str, ...] = ()
    scale: int = 5
    max_length: int | None = None
    pii: bool = False
    words: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ParentSpec:
    """A parent: the CRM's name and match key of it, and how a child names it (relationship or association label)."""

    to: str
    match_key: str
    relation: str


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object as it is kept in the CRM; `fields` maps CRM field → spec. `gone: archive` has become a mode here, `crm` is its address.

    `filled_there` are the fields that the CRM fills by itself, as the contract says (LMS-303 that is no error); None: any.
    """

    object: CrmObject
    to: str
    match_key: str
    fields: Mapping[str, FieldSpec]
    parents: Mapping[CrmObject, ParentSpec]
    mode: SyncMode = SyncMode.UPSERT
    crm: str = ""
    filled_there: frozenset[str] | None = frozenset()

    @property
    def only_filled(self) -> frozenset[str]:
        """The fields that we write only while they are empty."""
        return frozenset(name for name, field in self.fields.items() if field.owner is Owner.FILL_IF_EMPTY)


def object_spec(contract: Contract, obj: CrmObject) -> ObjectSpec:
    """The spec of a mapped object."""
    mapping = contract.objects[obj]
    return ObjectSpec(
        object=obj,
        to=mapping.to,
        match_key=mapping.match_key,
        fields={name: field_spec(obj, field) for name, field in mapping.fields.items()},
        parents={
            parent: ParentSpec(contract.objects[parent].to, contract.objects[parent].match_key, relation)
            for parent, relation in mapping.parents.items()
        },
        mode=_mode(mapping),
        crm=contract.destination.url,
        filled_there=_filled_there(contract),
    )


def field_spec(obj: CrmObject, field: FieldMapping) -> FieldSpec:
    """The spec of one field of a valid contract."""
    compiled = _compiled(obj, field)
    expression, words = compiled.sql, vocabulary(obj, compiled)
    if field.values:
        cases = " ".join(f"WHEN {_literal(word)} THEN {_literal(crm)}" for word, crm in field.values.items())
        expression = f"CASE TRIM(({expression})::VARCHAR) {cases} ELSE ({expression})::VARCHAR END"
        words = words and frozenset(field.values.values())
    elif isinstance(field.value, str):
        words = frozenset({field.value.strip()})
    if field.max_length is not None:
        expression = f"LEFT(TRIM(({expression})::VARCHAR), {field.max_length})"
        words = words and frozenset(word[: field.max_length] for word in words)
    natural = compiled.type or FieldType.TEXT
    personal = not compiled.columns.isdisjoint(PERSONAL.get(obj, frozenset()))
    kind = field.type or (FieldType.TEXT if field.values else natural)
    return FieldSpec(
        expression=expression,
        columns=compiled.columns,
        type=kind,
        owner=field.owner,
        normalisers=tuple(dict.fromkeys(field.normalise)),
        scale=field.scale,
        max_length=field.max_length,
        pii=personal if field.pii is None else field.pii,
        words=_spelled(words, field.normalise) if kind in TEXTS and words else None,
    )


def _spelled(words: frozenset[str], normalisers: Iterable[str]) -> frozenset[str]:
    """The words as they are sent."""
    for name in normalisers:
        if name in {"lower", "upper"}:
            words = frozenset(word.lower() if name == "lower" else word.upper() for word in words)
    return words


def _compiled(obj: CrmObject, field: FieldMapping) -> Compiled:
    if field.source is not None:
        return compile_expression(field.source, obj)
    if isinstance(field.value, str):
        return Compiled(_literal(field.value), frozenset(), FieldType.TEXT)
    return Compiled(str(field.value), frozenset(), constant_type(field.value))


def _filled_there(contract: Contract) -> frozenset[str] | None:
    left = [
        rule.column for rule in contract.checks.rules if rule.code == _NEEDED and rule.severity != RuleSeverity.ERROR
    ]
    return None if None in left else frozenset(name for name in left if name is not None)


def _mode(mapping: ObjectMapping) -> SyncMode:
    if mapping.gone == "archive" and mapping.mode is SyncMode.UPSERT:
        return SyncMode.MIRROR
    return mapping.mode


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
