"""The filters of a search, compiled, with what spares a scan of all records.

HubSpot documentation, "Search the CRM": text is compared without case.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lms_crm_assets.sandbox.hubspot.errors import bad_json, validation_error
from lms_crm_assets.sandbox.hubspot.schema import ObjectType
from lms_crm_assets.sandbox.hubspot.table import Record, Table
from lms_crm_assets.sandbox.hubspot.values import epoch_ms
from lms_crm_assets.sandbox.hubspot.wire import Call, Shape

_FILTER: Shape = {
    "propertyName": "string",
    "operator": "string",
    "value": "string",
    "values": "strings",
    "highValue": "string",
}
_NEEDS = {
    "EQ": "value",
    "NEQ": "value",
    "LT": "value",
    "LTE": "value",
    "GT": "value",
    "GTE": "value",
    "CONTAINS_TOKEN": "value",
    "NOT_CONTAINS_TOKEN": "value",
    "BETWEEN": "highValue",
    "IN": "values",
    "NOT_IN": "values",
    "HAS_PROPERTY": None,
    "NOT_HAS_PROPERTY": None,
}

ALWAYS = (float("-inf"), float("inf"))

Comparable = float | str
Read = Callable[[Record], Comparable | None]
Test = Callable[[Comparable | None], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """One compiled filter.

    `keys` are the values of a unique property that alone can match, `span` the first and last moment of change that
    can: what spares a scan.
    """

    name: str
    read: Read
    test: Test
    keys: Sequence[str] | None
    span: tuple[float, float] | None


def read_filter(call: Call, table: Table, sent: object) -> Filter:
    """The filter a body states; `HubSpotError` 400 for one that HubSpot refuses."""
    given = call.fit(sent, _FILTER, "propertyName", "operator")
    name, operator = given["propertyName"], given["operator"]
    if operator not in _NEEDS:
        raise bad_json(
            1,
            2,
            f': Cannot deserialize value of type `Filter$OperatorEnum` from String "{operator}": '
            f"not one of the values accepted for Enum class: [{', '.join(_NEEDS)}]",
        )
    if name not in table.type.properties:
        raise validation_error(f"There was a problem with the request. Property {name} does not exist.")
    needed = _NEEDS[operator]
    for part in (needed, "value" if operator == "BETWEEN" else None):
        if part is not None and not given.get(part):
            raise validation_error(f"A filter with operator {operator} on {name} needs {part}")
    wanted = given.get("values") if needed == "values" else [given.get("value"), given.get("highValue")]
    values = [_comparable(table.type, name, text) for text in wanted or [] if text is not None]
    keys = span = None
    if operator in {"EQ", "IN"} and name in table.unique:
        keys = [table.key(name, text) for text in wanted or [] if text is not None]
    if name == table.type.modified_property:
        span = _span_of(operator, values)
    return Filter(name, reader(table.type, name), _test(operator, values), keys, span)


def _span_of(operator: str, values: list[Comparable]) -> tuple[float, float] | None:
    """The moments between which a filter on the time of change can match."""
    moments = [float(value) for value in values]
    match operator:
        case "EQ" | "IN" | "BETWEEN":
            return (min(moments), max(moments))
        case "GT" | "GTE":
            return (moments[0], ALWAYS[1])
        case "LT" | "LTE":
            return (ALWAYS[0], moments[0])
        case _:
            return None


def _test(operator: str, wanted: list[Comparable]) -> Test:
    first = wanted[0] if wanted else ""
    match operator:
        case "EQ" | "IN":
            return lambda value: value in wanted
        case "NEQ" | "NOT_IN":  # a record without a value matches too (unverified)
            return lambda value: value not in wanted
        case "LT":
            return lambda value: value is not None and value < first  # type: ignore[operator]
        case "LTE":
            return lambda value: value is not None and value <= first  # type: ignore[operator]
        case "GT":
            return lambda value: value is not None and value > first  # type: ignore[operator]
        case "GTE":
            return lambda value: value is not None and value >= first  # type: ignore[operator]
        case "BETWEEN":
            return lambda value: value is not None and first <= value <= wanted[1]  # type: ignore[operator]
        case "HAS_PROPERTY":
            return lambda value: value is not None
        case "NOT_HAS_PROPERTY":
            return lambda value: value is None
        case "CONTAINS_TOKEN":
            return lambda value: _has_token(str(value or ""), str(first))
        case _:
            return lambda value: not _has_token(str(value or ""), str(first))


def matches(record: Record, groups: Sequence[Sequence[Filter]]) -> bool:
    """Whether any group holds for the record with all its filters; no groups: always."""
    for group in groups:
        for one in group:
            if not one.test(one.read(record)):
                break
        else:
            return True
    return not groups


def reader(object_type: ObjectType, name: str) -> Read:
    """How to get a property's value in a form that compares."""
    if name == "hs_object_id":
        return lambda record: float(record.id)
    if name == object_type.created_property:
        return lambda record: float(record.created)
    if name == object_type.modified_property:
        return lambda record: float(record.updated)

    def read(record: Record) -> Comparable | None:
        text = record.properties.get(name)
        return None if text is None else _comparable(object_type, name, text)

    return read


def _comparable(object_type: ObjectType, name: str, text: str) -> Comparable:
    match object_type.properties[name].type:
        case "number":
            try:
                return float(text)
            except ValueError:
                raise validation_error(f"{text} was not a valid number.") from None
        case "datetime" | "date":
            ms = epoch_ms(text)
            if ms is None:
                raise validation_error(f"{text} was not a valid long.")
            return float(ms)
        case _:
            return text.lower()


def tokens(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(re.split(r"[^\w]+", text.lower())) - {""}


def _has_token(text: str, wanted: str) -> bool:
    if "*" in wanted:
        return any(fnmatchcase(part, wanted) for part in (text, *tokens(text)))
    return bool(wanted) and tokens(wanted) <= tokens(text)
