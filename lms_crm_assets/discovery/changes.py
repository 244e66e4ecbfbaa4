"""What is different between two schemas of one CRM object, and what that means for a contract.

How grave a change is follows from the contract: the same acceptance that judges a whole schema judges one that has this
change and no other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from enum import StrEnum

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.acceptance import Finding, Severity, accept
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind

# Below this two names are those of different things: "LMS_Country__c" and "LMS_Company__c" have 0.79.
_ALIKE = 0.8


class Effect(StrEnum):
    """What a change does to a tenant's runs.

    `block`: nothing is sent until it is mended. `alert`: single records are refused, or may be. `note`: worth knowing.
    """

    BLOCK = "block"
    ALERT = "alert"
    NOTE = "note"


class Change(StrEnum):
    """What can happen to an object in a CRM."""

    OBJECT_GONE = "object gone"
    OBJECT_NEW = "object made"
    RELATION_GONE = "relation gone"
    FIELD_NEW = "field made"
    FIELD_GONE = "field gone"
    FIELD_RENAMED = "field renamed"
    REQUIRED = "required"
    TYPE = "type changed"
    LENGTH = "length narrowed"
    DIGITS = "digits narrowed"
    DECIMALS = "decimals narrowed"
    VALUES_GONE = "picklist values gone"
    VALUES_NEW = "picklist values added"
    RESTRICTED = "picklist restricted"
    UNIQUE_LOST = "uniqueness lost"
    UNIQUE = "unique"
    KEY_LOST = "external id lost"
    CASELESS = "case ignored"
    READ_ONLY = "read-only"


_REMEDIES = {
    Change.FIELD_NEW: "nothing; map it if its value is in the LMS",
    Change.FIELD_GONE: "nothing; the contract does not name it",
    Change.REQUIRED: "see that the LMS gives it for every new record, or give it a constant in the contract",
    Change.TYPE: "nothing, the contract's values still fit; look at a record",
    Change.LENGTH: "nothing if texts stay so short; else lengthen the field, or set 'max_length'",
    Change.DIGITS: "widen the field; larger numbers are refused one by one",
    Change.DECIMALS: "nothing; the contract compares no more decimals",
    Change.VALUES_GONE: "nothing if no record has them; else add them there again, or translate with 'values'",
    Change.VALUES_NEW: "nothing; translate to them with 'values' if they fit better",
    Change.RESTRICTED: "see that every word that the LMS gives is one of the picklist's",
    Change.UNIQUE_LOST: "nothing; the contract does not find records by it",
    Change.UNIQUE: "see that the LMS gives no value twice: the second record is refused",
    Change.CASELESS: "see that no two ids of the LMS differ by case only, or make it case-sensitive again",
    Change.READ_ONLY: "nothing; the contract does not write it",
}


def change_text(of: str, change: str, before: str, after: str) -> str:
    """A change of something as one line; `before` and `after` stand there where there are any."""
    told = f"{before} → {after}" if before and after else before or after
    return f"{of}: {change}{f' ({told})' if told else ''}"


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One change: of a field where it has a name, else of the object; `before` and `after` are for people."""

    change: Change
    field: str
    before: str
    after: str
    effect: Effect
    remedy: str

    @property
    def identity(self) -> tuple[Change, str, str]:
        """What makes it the same change on another day."""
        return self.change, self.field, self.after

    @property
    def row(self) -> dict[str, str]:
        """The change as plain texts, for tables and programs."""
        return {name: f"{value}" for name, value in asdict(self).items()}

    @property
    def text(self) -> str:
        """The change as one line, without its object."""
        return change_text(self.field or "object", self.change, self.before, self.after)


@dataclass(frozen=True, slots=True)
class _Step:
    """A change, and the schema that the CRM had with this change alone; `least` is what it means at the least."""

    change: Change
    field: str
    before: str
    after: str
    least: Effect
    alone: CrmSchema | None


def compare(before: CrmSchema | None, after: CrmSchema | None, spec: ObjectSpec) -> list[SchemaChange]:
    """The changes from one schema to another, gravest first; None is an object that is not there.

    Of fields that the contract doesn't name only coming, going and being required is told.
    """
    if before is after or before == after:
        return []
    known = frozenset(accept(spec, before))
    found = [_judged(step, spec, known) for step in _steps(before, after, spec)]
    grades = list(Effect)
    return sorted(found, key=lambda each: (grades.index(each.effect), each.field, each.change))


def _judged(step: _Step, spec: ObjectSpec, known: frozenset[Finding]) -> SchemaChange:
    new = [each for each in accept(spec, step.alone) if each not in known]
    grave = sorted(new, key=lambda each: (not each.blocks, each.severity is Severity.NOTE))
    effect, remedy = step.least, _REMEDIES.get(step.change, "")
    if grave and grave[0].severity is not Severity.NOTE:
        remedy = grave[0].remedy
        effect = Effect.BLOCK if grave[0].blocks else Effect.ALERT
    if step.change is Change.FIELD_RENAMED and effect is Effect.BLOCK:
        remedy = f"write '{step.after}' in the contract, or give the field its name back"
    return SchemaChange(step.change, step.field, step.before, step.after, effect, remedy)


def _steps(before: CrmSchema | None, after: CrmSchema | None, spec: ObjectSpec) -> Iterator[_Step]:
    if after is None:
        yield _Step(Change.OBJECT_GONE, "", spec.to, "", Effect.BLOCK, None)
        return
    if before is None:
        yield _Step(Change.OBJECT_NEW, "", "", after.to, Effect.NOTE, after)
        return
    used = {spec.match_key, *spec.fields}
    yield from _coming_and_going(before, after, used)
    for name, now in after.fields.items():
        was = before.fields.get(name)
        if was is None or was == now:
            continue
        if now.required and not was.required:
            # What is mapped may be empty in the LMS; its id never is.
            least = Effect.ALERT if name in spec.fields else Effect.NOTE
            yield _step(before, was, Change.REQUIRED, "", "", least, required=True)
        if name in used:
            yield from _of_field(before, was, now, spec)
    for parent in spec.parents.values():
        had, has = (schema.relations.get(parent.to, frozenset()) for schema in (before, after))
        if parent.relation in had - has:
            relations: Mapping[str, frozenset[str]] = {**before.relations, parent.to: has}
            yield _Step(
                Change.RELATION_GONE,
                parent.relation,
                f"to {parent.to}",
                "",
                Effect.BLOCK,
                replace(before, relations=relations),
            )


def _coming_and_going(before: CrmSchema, after: CrmSchema, used: set[str]) -> Iterator[_Step]:
    new = {name: field for name, field in after.fields.items() if name not in before.fields}
    gone = [field for name, field in before.fields.items() if name not in after.fields]
    renamed = _renamed(
        [field for field in gone if field.name in used], [field for field in new.values() if field.name not in used]
    )
    for field in gone:
        left = {name: other for name, other in before.fields.items() if name != field.name}
        if (other := renamed.get(field.name)) is None:
            yield _Step(Change.FIELD_GONE, field.name, field.type, "", Effect.NOTE, replace(before, fields=left))
        else:
            del new[other.name]
            alone = replace(before, fields={**left, other.name: other})
            yield _Step(Change.FIELD_RENAMED, field.name, field.name, other.name, Effect.NOTE, alone)
    for name, field in new.items():
        alone = replace(before, fields={**before.fields, name: field})
        change = Change.REQUIRED if field.required else Change.FIELD_NEW
        yield _Step(change, name, "", f"new, {_typed(field)}", Effect.NOTE, alone)


def _renamed(gone: list[CrmField], new: list[CrmField]) -> dict[str, CrmField]:
    """By the names of fields that are gone, the new ones that hold the same and are called about the same."""
    pairs = [
        (likeness, was.name, now.name, now)
        for was in gone
        for now in new
        if was.kind is now.kind and (likeness := _likeness(was, now)) >= _ALIKE
    ]
    found: dict[str, CrmField] = {}
    taken: set[str] = set()
    for _, was_called, is_called, field in sorted(pairs, key=lambda pair: pair[:3], reverse=True):
        if was_called not in found and is_called not in taken:
            found[was_called] = field
            taken.add(is_called)
    return found


def _likeness(was: CrmField, now: CrmField) -> float:
    if was.label and was.label.casefold() == now.label.casefold():
        return 1.0
    return SequenceMatcher(None, was.name.casefold(), now.name.casefold()).ratio()


def _of_field(before: CrmSchema, was: CrmField, now: CrmField, spec: ObjectSpec) -> Iterator[_Step]:
    """The changes of a field that the contract names."""
    if _typed(was) != _typed(now):
        alone = {name: getattr(now, name) for name in ("type", "kind", "rich", "multiple", "references")}
        if was.kind is not now.kind:
            alone |= {name: getattr(now, name) for name in ("length", "scale", "digits", "picklist", "restricted")}
        yield _step(before, was, Change.TYPE, _typed(was), _typed(now), Effect.ALERT, **alone)
    if was.kind is now.kind:
        yield from _sizes(before, was, now, spec)
        yield from _picklist(before, was, now, spec)
    yield from _keys(before, was, now, spec)
    lost = [name for name in ("createable", "updateable") if getattr(was, name) and not getattr(now, name)]
    if lost:
        told = {"createable": "set at creation", "updateable": "changed"}
        yield _step(
            before,
            was,
            Change.READ_ONLY,
            "",
            f"can't be {' or '.join(told[name] for name in lost)}",
            Effect.NOTE,
            createable=now.createable,
            updateable=now.updateable,
        )


def _sizes(before: CrmSchema, was: CrmField, now: CrmField, spec: ObjectSpec) -> Iterator[_Step]:
    if _narrower(was.length, now.length):
        longest = _longest(spec.fields.get(now.name))
        fits = longest is not None and now.length is not None and longest <= now.length
        least = Effect.NOTE if fits else Effect.ALERT
        yield _step(before, was, Change.LENGTH, _number(was.length), _number(now.length), least, length=now.length)
    if _narrower(was.digits, now.digits):
        told = _number(was.digits), _number(now.digits)
        yield _step(before, was, Change.DIGITS, *told, Effect.ALERT, digits=now.digits)
    if _narrower(was.scale, now.scale):
        told = _number(was.scale), _number(now.scale)
        yield _step(before, was, Change.DECIMALS, *told, Effect.NOTE, scale=now.scale)


def _longest(field: FieldSpec | None) -> int | None:
    """The characters of the longest text that the contract can send; None where nothing tells."""
    if field is None:
        return None
    return max(map(len, field.words)) if field.words else field.max_length


def _picklist(before: CrmSchema, was: CrmField, now: CrmField, spec: ObjectSpec) -> Iterator[_Step]:
    if now.kind is not Kind.PICKLIST:
        return
    field = spec.fields.get(now.name)
    open_words = field is not None and field.words is None
    gone = [word for word in was.picklist if word not in now.picklist]
    new = [word for word in now.picklist if word not in was.picklist]
    if gone:
        left = tuple(word for word in was.picklist if word not in gone)
        least = Effect.ALERT if open_words and now.restricted else Effect.NOTE
        yield _step(before, was, Change.VALUES_GONE, ", ".join(gone), "", least, picklist=left)
    if new:
        yield _step(before, was, Change.VALUES_NEW, "", ", ".join(new), Effect.NOTE, picklist=(*was.picklist, *new))
    if now.restricted and not was.restricted:
        least = Effect.ALERT if open_words else Effect.NOTE
        yield _step(before, was, Change.RESTRICTED, "", "", least, restricted=True)


def _keys(before: CrmSchema, was: CrmField, now: CrmField, spec: ObjectSpec) -> Iterator[_Step]:
    is_match_key = now.name == spec.match_key
    if was.unique and not now.unique:
        yield _step(before, was, Change.UNIQUE_LOST, "", "", Effect.NOTE, unique=False)
    elif was.key and not now.key and is_match_key:
        yield _step(before, was, Change.KEY_LOST, "", "", Effect.NOTE, key=False)
    if now.unique and not was.unique:
        least = Effect.NOTE if is_match_key else Effect.ALERT
        yield _step(before, was, Change.UNIQUE, "", "", least, unique=True)
    elif now.unique and now.caseless and not was.caseless:
        yield _step(before, was, Change.CASELESS, "", "", Effect.ALERT, caseless=True)


def _step(
    before: CrmSchema, was: CrmField, change: Change, told: str, now: str, least: Effect, /, **alone: object
) -> _Step:
    """A change of a field, beside the schema in which only this is different."""
    field = replace(was, **alone)  # type: ignore[arg-type]  # attributes of the same class
    return _Step(change, was.name, told, now, least, replace(before, fields={**before.fields, was.name: field}))


def _typed(field: CrmField) -> str:
    """The type in words, with what else decides which values it takes."""
    more = [word for word, holds in (("rich", field.rich), ("several values", field.multiple)) if holds]
    more += [f"to {target}" for target in field.references]
    return " ".join([field.type, *more])


def _narrower(was: int | None, now: int | None) -> bool:
    return now is not None and (was is None or now < was)


def _number(value: int | None) -> str:
    return "unlimited" if value is None else str(value)
