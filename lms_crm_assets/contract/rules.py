"""The rules of a contract that span several keys.

They look at the document as it is, whatever else is wrong with it, so that all mistakes of a file are told at once;
what the models refuse by themselves is passed over here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lms_crm_assets.contract import destinations, sources
from lms_crm_assets.contract.canonical import EXTRA_COLUMN, PARENTS, TEXTS, VOCABULARIES
from lms_crm_assets.contract.expressions import Compiled, ExpressionError, compile_expression
from lms_crm_assets.domain import CrmObject, FieldType, LmsEntity, SyncMode

_CONSTANTS = {bool: FieldType.BOOLEAN, int: FieldType.NUMBER, float: FieldType.NUMBER, str: FieldType.TEXT}
# Beside a column for each CRM field the warehouse's tables have these.
_OUR_COLUMNS = frozenset(
    {"external_id", "crm_id", "captured_at", "fingerprint", "source_hash", "rowid"}
    | {column for obj in CrmObject for column in (f"parent_{obj}", f"{obj}_key")}
)
_NORMALISERS = {
    "lower": TEXTS,
    "upper": TEXTS,
    "country": frozenset({FieldType.TEXT}),
    "choices": frozenset({FieldType.TEXT}),
    "date": frozenset({FieldType.DATETIME}),
}


class Problem(NamedTuple):
    """One mistake: the keys that lead to it, and what to mend."""

    path: tuple[str, ...]
    message: str


def contradictions(document: Mapping[str, Any]) -> list[Problem]:
    """Every rule that the document breaks, in its order."""
    objects = {obj: _mapping(document, "objects", obj) for obj in CrmObject if obj in _mapping(document, "objects")}
    found: list[Problem] = []
    for obj, mapping in objects.items():
        found.extend(_of_object(obj, mapping, objects))
    found.extend(_of_targets(objects))
    found.extend(_of_extra(document, objects))
    found.extend(_of_checks(_mapping(document, "checks")))
    found.extend(
        Problem(("guardrails", "min_source_count", str(name)), f"objects.{name} is not mapped")
        for name in _mapping(document, "guardrails", "min_source_count")
        if name in set(CrmObject) and name not in objects
    )
    found.extend(_of_entry("source", _mapping(document, "source"), sources.NEEDED))
    found.extend(_of_entry("destination", _mapping(document, "destination"), destinations.NEEDED))
    burst = _mapping(document, "throttle", "crm").get("calls_per_10_seconds")
    other = _mapping(document, "destination").get("calls_per_10_seconds", burst)
    if burst is not None and other != burst:
        found.append(
            Problem(
                ("destination", "calls_per_10_seconds"),
                "says otherwise than throttle.crm.calls_per_10_seconds: drop it",
            )
        )
    return found


def constant_type(value: Any) -> FieldType | None:
    """The type of a constant; None for what is none."""
    return _CONSTANTS.get(type(value))


def fits(wanted: FieldType, own: FieldType) -> bool:
    """Whether values of one type can be compared as another: anything as text, and a text as what it may spell."""
    return wanted is own or own in TEXTS or wanted is FieldType.TEXT


def vocabulary(obj: CrmObject, compiled: Compiled) -> frozenset[str] | None:
    """The closed set of words that an expression gives; None when it is open."""
    words = VOCABULARIES.get(obj, {})
    (name,) = compiled.columns if len(compiled.columns) == 1 else ("",)
    return words.get(name) if compiled.sql == f'"{name}"' else None


def _of_object(
    obj: CrmObject, mapping: Mapping[str, Any], objects: Mapping[CrmObject, Mapping[str, Any]]
) -> Iterator[Problem]:
    here = ("objects", str(obj))
    fields, key = _mapping(mapping, "fields"), str(mapping.get("match_key", "")).lower()
    seen: dict[str, str] = {}
    for name, field in fields.items():
        at = (*here, "fields", str(name))
        lowered = str(name).lower()
        if lowered in _OUR_COLUMNS:
            yield Problem(at, "the warehouse keeps a column of that name for itself: use another CRM field")
        if lowered == key:
            yield Problem(at, "the match key is filled from the LMS's id, it can't be mapped as well")
        elif lowered in seen:
            yield Problem(at, f"'{seen[lowered]}' is the same CRM field: one field can be filled only once")
        seen.setdefault(lowered, str(name))
        yield from _of_field(obj, at, {"from": field} if isinstance(field, str) else field)
    yield from _of_parents(obj, mapping, objects)
    if mapping.get("mode") == SyncMode.MIRROR and mapping.get("gone") == "nothing":
        yield Problem((*here, "gone"), "mode 'mirror' archives what is gone: drop 'gone' or use mode 'upsert'")
    if mapping.get("gone") == "archive" and mapping.get("mode") in {SyncMode.UPDATE, SyncMode.INSERT}:
        yield Problem((*here, "gone"), f"mode '{mapping['mode']}' never archives: use 'upsert', 'mirror' or 'archive'")


def _of_field(obj: CrmObject, at: tuple[str, ...], field: Any) -> Iterator[Problem]:
    if not isinstance(field, Mapping):
        return
    source, value = field.get("from"), field.get("value")
    if (source is None) == (value is None):
        yield Problem(at, "give either 'from' (a column or an expression) or 'value' (a constant)")
        return
    own = constant_type(value)
    if source is not None:
        if not isinstance(source, str):
            return
        try:
            compiled = compile_expression(source, obj)
        except ExpressionError as exc:
            yield Problem((*at, "from"), str(exc))
            return
        own = compiled.type
        yield from _of_values(obj, at, field, compiled)
    if "country" in (field.get("normalise") or ()) and field.get("max_length") is not None:
        yield Problem((*at, "max_length"), "cuts a country's name before 'country' reads it: drop it")
    if source is None and field.get("values") is not None:
        yield Problem((*at, "values"), "a constant has no words to translate: drop 'values' or use 'from'")
    yield from _of_type(at, field, own)


def _of_type(at: tuple[str, ...], field: Mapping[str, Any], own: FieldType | None) -> Iterator[Problem]:
    given = field.get("type")
    if given is not None and given not in set(FieldType):
        return
    wanted = own if given is None else FieldType(given)
    if wanted is None:
        yield Problem((*at, "type"), "the expression's type is not evident: add 'type: text' or 'type: email'")
        return
    if own is not None and not fits(wanted, own):
        yield Problem((*at, "type"), f"a {own} can't be compared as {wanted}: use 'type: {own}' or 'type: text'")
    normalisers = [n for n in field.get("normalise") or [] if isinstance(n, str)]
    for name in normalisers:
        if wanted not in _NORMALISERS.get(name, {wanted}):
            fitting = " or ".join(sorted(_NORMALISERS[name]))
            yield Problem((*at, "normalise"), f"'{name}' is for {fitting}, this field is a {wanted}")
    if {"lower", "upper"} <= set(normalisers):
        yield Problem((*at, "normalise"), "'lower' and 'upper' exclude each other")
    if field.get("max_length") is not None and wanted not in TEXTS:
        yield Problem((*at, "max_length"), f"only a text can be cut, this field is a {wanted}")
    if "scale" in field and wanted is not FieldType.NUMBER:
        yield Problem((*at, "scale"), f"only a number has decimals, this field is a {wanted}")
    if field.get("values") is not None and wanted not in TEXTS:
        yield Problem((*at, "values"), f"only texts can be translated, this field is a {wanted}: add 'type: text'")


def _of_values(obj: CrmObject, at: tuple[str, ...], field: Mapping[str, Any], compiled: Compiled) -> Iterator[Problem]:
    values, words = field.get("values"), vocabulary(obj, compiled)
    if not isinstance(values, Mapping) or not values or words is None:
        return
    (column,) = compiled.columns
    missing = sorted(words - set(values))
    if missing:
        yield Problem((*at, "values"), f"{', '.join(missing)}: no CRM word is given for it (every {column} needs one)")
    for word in values:
        if word not in words and isinstance(word, str):
            known = ", ".join(sorted(words))
            yield Problem((*at, "values", word), f"'{word}' is no {column} of {obj}; known are {known}")


def _of_parents(
    obj: CrmObject, mapping: Mapping[str, Any], objects: Mapping[CrmObject, Mapping[str, Any]]
) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, relation in _mapping(mapping, "parents").items():
        at = ("objects", str(obj), "parents", str(name))
        if name not in set(CrmObject):
            continue
        parent = CrmObject(name)
        if obj in _above(parent, objects):
            each = "itself" if parent is obj else f"{parent}, and {parent} above it"
            yield Problem(at, f"{obj} would stand above {each}, which is a cycle")
        elif parent not in PARENTS[obj]:
            possible = ", ".join(sorted(PARENTS[obj])) or "no parent at all"
            yield Problem(at, f"{obj} has no parent of that kind; it can have {possible}")
        elif parent not in objects:
            yield Problem(at, f"add objects.{parent} or drop this parent")
        lookup = str(relation).lower()
        same_object = seen.get(lookup)
        if same_object is not None and lookup.endswith("__r"):
            yield Problem(at, f"'{relation}' is the relationship to {same_object} already")
        seen[lookup] = str(name)


def _above(start: CrmObject, objects: Mapping[CrmObject, Mapping[str, Any]]) -> set[CrmObject]:
    """The object itself and everything above it."""
    found: set[CrmObject] = set()
    waiting = [start]
    while waiting:
        obj = waiting.pop()
        if obj not in found:
            found.add(obj)
            parents = _mapping(objects.get(obj, {}), "parents")
            waiting.extend(CrmObject(name) for name in parents if name in set(CrmObject))
    return found


def _of_entry(
    where: str, end: Mapping[str, Any], needed: Mapping[tuple[str, str], tuple[str, ...]]
) -> Iterator[Problem]:
    """What the way to enter a system needs and what belongs to another one."""
    adapter = end.get("adapter")
    ways = {flow: names for (of, flow), names in needed.items() if of == adapter}
    if not ways:
        return
    flow = end.get("flow", next(iter(ways)))
    if not isinstance(flow, str) or flow not in ways:
        return
    for name in ways[flow]:
        if end.get(name) is None:
            yield Problem((where,), f"{name} is missing: flow {flow} needs it")
    others = {name for names in ways.values() for name in names} - {*ways[flow], "client_secret"}
    for name in sorted(others & end.keys()):
        yield Problem((where, name), f"belongs to another flow than {flow}: set flow, or drop it")


def _of_targets(objects: Mapping[CrmObject, Mapping[str, Any]]) -> Iterable[Problem]:
    seen: dict[tuple[str, str], CrmObject] = {}
    for obj, mapping in objects.items():
        target = (str(mapping.get("to")).lower(), str(mapping.get("match_key")).lower())
        if "to" in mapping and target in seen:
            yield Problem(
                ("objects", str(obj), "to"), f"objects.{seen[target]} goes to the same CRM object by the same match key"
            )
        seen.setdefault(target, obj)


def _of_extra(document: Mapping[str, Any], objects: Mapping[CrmObject, Mapping[str, Any]]) -> Iterator[Problem]:
    """One mistake a contract: told at the first field or rule that reads what is not kept."""
    if document.get("unknown_attributes", "ignore") != "ignore":
        return
    for at, source, what in _expressions(document, objects):
        if EXTRA_COLUMN in _columns(source, what):
            yield Problem(
                at, f"'{EXTRA_COLUMN}' is always empty here: set 'unknown_attributes: keep' at the top of the contract"
            )
            return


def _of_checks(checks: Mapping[str, Any]) -> Iterator[Problem]:
    """Rules that are said twice: of two one would have to be left unheard."""
    for name, keys in (("rules", ("code", "entity", "column")), ("own", ("name",))):
        seen: dict[tuple[Any, ...], int] = {}
        entries = checks.get(name)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping) and entry.get(keys[0]) is not None:
                first = seen.setdefault(tuple(str(entry.get(key)) for key in keys), number)
                if first != number:
                    said = "this rule is changed" if name == "rules" else "a rule has this name"
                    yield Problem(
                        ("checks", name, str(number)), f"{said} already: put both into one entry, or drop one"
                    )


def _expressions(
    document: Mapping[str, Any], objects: Mapping[CrmObject, Mapping[str, Any]]
) -> Iterator[tuple[tuple[str, ...], str, CrmObject | LmsEntity]]:
    """Every expression of the contract with its place, and over whose columns it is."""
    for obj, mapping in objects.items():
        for name, field in _mapping(mapping, "fields").items():
            source = field.get("from") if isinstance(field, Mapping) else field
            if isinstance(source, str):
                yield ("objects", str(obj), "fields", str(name), "from"), source, obj
    own = _mapping(document, "checks").get("own")
    for number, rule in enumerate(own if isinstance(own, list) else ()):
        holds, entity = (rule.get(name) for name in ("holds", "entity")) if isinstance(rule, Mapping) else (None, None)
        if isinstance(holds, str) and entity in set(LmsEntity):
            yield ("checks", "own", str(number), "holds"), holds, LmsEntity(entity)


def _columns(source: str, what: CrmObject | LmsEntity) -> frozenset[str]:
    """The columns that an expression reads; none of one that is told as a mistake anyway."""
    try:
        return compile_expression(source, what).columns
    except ExpressionError:
        return frozenset()


def _mapping(document: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """What stands under the path when it is a mapping, else nothing."""
    found: Any = document
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
