"""Which CRM field takes which canonical column: the usual name where it is there, else the one that means the same."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from lms_crm_assets.contract.canonical import COLUMNS, PARENTS
from lms_crm_assets.crm.acceptance import Finding, Severity
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.domain import CrmObject, FieldType, Owner
from lms_crm_assets.proposal.usual import NOT_GIVEN, USUAL, Usual

# What else people call a column; each as words without separators.
_ALSO = {
    "given_name": {"firstname"},
    "family_name": {"lastname", "surname"},
    "username": {"login", "userlogin"},
    "organization": {"organisation", "institution"},
    "title": {"name", "coursename", "coursetitle"},
    "code": {"coursecode", "shortname", "competencycode"},
    "name": {"competencyname"},
    "progress_pct": {"progress", "progresspercent", "percentcomplete"},
    "state": {"completionstate"},
    "enrolled_at": {"enrolledon", "enrollmentdate", "enrolmentdate"},
    "completed_at": {"completedon", "completiondate"},
    "rated_at": {"ratedon"},
    "starts_at": {"startdate", "startsat"},
    "ends_at": {"enddate", "endsat"},
}
_KEY_WORDS = {
    CrmObject.CONTACT: {"userid", "learnerid", "studentid"},
    CrmObject.COURSE: {"courseid"},
    CrmObject.ENROLLMENT: {"enrollmentid", "enrolmentid"},
    CrmObject.COMPLETION: {"completionid"},
    CrmObject.COMPETENCY: {"competencyid"},
}
# Names may be cut where the CRM is short; a code or an address that is cut is another one.
_MAY_BE_CUT = frozenset({"given_name", "family_name", "title", "name", "organization"})
_SHORT = 100
# A number is compared with so many decimals where a contract says nothing.
_USUAL_SCALE = 5


@dataclass(frozen=True, slots=True)
class ProposedField:
    """One line of a mapping; `is_there`: the CRM has the field, else it is to be made."""

    crm_field: str
    column: str
    is_there: bool
    owner: Owner = Owner.NEVER_NULL
    max_length: int | None = None
    scale: int | None = None


@dataclass(frozen=True, slots=True)
class ProposedObject:
    """One object: `is_there` and `has_key` tell what the CRM has of it already."""

    object: CrmObject
    to: str
    match_key: str
    fields: tuple[ProposedField, ...]
    relations: Mapping[CrmObject, str]
    is_there: bool = False
    has_key: bool = False

    @property
    def lacks(self) -> list[str]:
        """What is to be made in the CRM, in words."""
        if not self.is_there:
            return [f"the object {self.to}"]
        missing = [] if self.has_key else [self.match_key]
        return [f"{self.to}.{name}" for name in [*missing, *(f.crm_field for f in self.fields if not f.is_there)]]


def objects_given(lms: str, wanted: Collection[CrmObject] | None) -> list[CrmObject]:
    """The objects to propose, parents first: those wanted with their parents, or all that the LMS has rows for."""
    chosen = set(CrmObject if wanted is None else wanted) - NOT_GIVEN.get(lms, frozenset())
    chosen |= {parent for obj in chosen for parent in PARENTS[obj]}
    return [obj for obj in CrmObject if obj in chosen]


def propose(
    crm: str, names: Mapping[CrmObject, str], schemas: Mapping[CrmObject, CrmSchema | None]
) -> list[ProposedObject]:
    """The mapping of the objects in `names`, which says how the CRM calls them; no schema: there is no such object."""
    return [_proposed(obj, USUAL[crm][obj], names, schemas.get(obj)) for obj in names]


def usual_names(crm: str, objects: Collection[CrmObject], given: Mapping[CrmObject, str]) -> dict[CrmObject, str]:
    """How the CRM calls the objects: as a person gave it, else as is usual."""
    return {obj: given.get(obj, USUAL[crm][obj].to) for obj in objects}


def without_misfits(proposed: ProposedObject, findings: Collection[Finding]) -> ProposedObject:
    """The proposal without fields that are there and can't hold what they would be sent."""
    unfit = {f.path[3] for f in findings if f.severity is Severity.ERROR and f.path[2:3] == ("fields",)}
    kept = tuple(field for field in proposed.fields if not (field.is_there and field.crm_field in unfit))
    return replace(proposed, fields=kept)


def _proposed(obj: CrmObject, usual: Usual, names: Mapping[CrmObject, str], schema: CrmSchema | None) -> ProposedObject:
    fields = schema.fields if schema else {}
    linked = schema.relations if schema else {}
    key = usual.match_key if usual.match_key in fields else _key(obj, fields) or usual.match_key
    return ProposedObject(
        obj,
        names[obj],
        key,
        tuple(_fields(obj, usual, fields, taken={key})),
        {
            parent: _relation(usual.relations[parent], linked.get(to, frozenset()))
            for parent, to in names.items()
            if parent in PARENTS[obj]
        },
        is_there=schema is not None,
        has_key=key in fields,
    )


def _fields(obj: CrmObject, usual: Usual, there: Mapping[str, CrmField], taken: set[str]) -> Iterator[ProposedField]:
    for column, name in usual.fields.items():
        found = there.get(name) or _means(column, obj, there, taken)
        # What the CRM came with is its people's too.
        owner = Owner.NEVER_NULL if _is_ours(found.name if found else name, obj) else Owner.FILL_IF_EMPTY
        if found is None:
            yield ProposedField(name, column, is_there=False, owner=owner)
            continue
        taken.add(found.name)
        short = found.kind is Kind.TEXT and found.length and found.length <= _SHORT and column in _MAY_BE_CUT
        yield ProposedField(
            found.name,
            column,
            is_there=True,
            owner=owner,
            max_length=found.length if short else None,
            scale=found.scale if found.kind is Kind.NUMBER and found.scale != _USUAL_SCALE else None,
        )


def _is_ours(name: str, obj: CrmObject) -> bool:
    """Whether a field was made for the LMS: all but those that a contact has for everybody."""
    return obj is not CrmObject.CONTACT or name.endswith("__c") or name.lower().startswith("lms")


def _means(column: str, obj: CrmObject, there: Mapping[str, CrmField], taken: set[str]) -> CrmField | None:
    """The field whose name or label says the same, if it is the only one and can be written."""
    wanted = {_plain(column), *_ALSO.get(column, ())}
    kind = COLUMNS[obj][column]
    found = [
        field
        for field in there.values()
        if field.name not in taken
        and field.createable
        and field.updateable
        and (field.kind is Kind.TEXT or kind not in {FieldType.TEXT, FieldType.EMAIL} or field.kind is Kind.EMAIL)
        and not wanted.isdisjoint({_plain(field.name), _plain(field.label)})
    ]
    return found[0] if len(found) == 1 else None


def _key(obj: CrmObject, there: Mapping[str, CrmField]) -> str | None:
    """A unique text field that is called like the LMS's id, if there is just one."""
    found = [
        field.name
        for field in there.values()
        if field.kind is Kind.TEXT and field.unique and field.key and _plain(field.name) in _KEY_WORDS[obj]
    ]
    return found[0] if len(found) == 1 else None


def _relation(usual: str, told: Collection[str]) -> str:
    """How a child names its parent: as is usual where the CRM has that, else by the only name there is."""
    return next(iter(told)) if usual not in told and len(told) == 1 else usual


def _plain(name: str) -> str:
    """A name as words alone: `LMS_Start_Date__c` and "LMS start date" are both `startdate`."""
    words = re.sub(r"__c$", "", name.lower())
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^lms[ _-]*", "", words))
