"""The query of a listing (OneRoster 1.2 REST/JSON binding, 3.4): paging, sorting, selection, and filters."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from typing import Any

from lms_crm_assets.sandbox.oneroster.errors import invalid_data, invalid_field
from lms_crm_assets.sandbox.oneroster.fields import NUMBERS, TIMES, has_field
from lms_crm_assets.sandbox.school.layout import Row

_CLAUSE = r"\s*([A-Za-z][\w.]*)\s*(!=|>=|<=|=|>|<|~)\s*'([^']*)'\s*"
_FILTER = re.compile(rf"{_CLAUSE}(?:\s(AND|OR)\s{_CLAUSE})?")
_DEFAULT_LIMIT = 100

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "~": lambda own, wanted: str(wanted) in str(own),
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison; `value` is a number for a field of numbers and of times (epoch seconds), else text."""

    path: str
    predicate: str
    value: str | float

    def holds(self, item: Row) -> bool:
        """Whether any value under the path fits; with `!=`, whether none is equal."""
        own = list(values_at(item, self.path.split(".")))
        if self.predicate != "~":
            own = [_comparable(self.path, value) for value in own]
        if self.predicate == "!=":
            return self.value not in own
        return any(_COMPARE[self.predicate](value, self.value) for value in own)


@dataclass(frozen=True, slots=True)
class Query:
    """What of a collection is wanted, and in which order."""

    limit: int
    offset: int
    sort: str | None
    descending: bool
    fields: tuple[str, ...]
    clauses: tuple[Clause, ...]
    either: bool

    def holds(self, item: Row) -> bool:
        """Whether the filter keeps it."""
        return (any if self.either else all)(clause.holds(item) for clause in self.clauses)

    def since(self) -> int | None:
        """The second before which nothing that the filter keeps was modified, if it says one."""
        if self.either:
            return None
        bounds = [
            floor(float(clause.value))
            for clause in self.clauses
            if clause.path in TIMES and clause.predicate in {"=", ">", ">="}
        ]
        return max(bounds, default=None)

    def selected(self, item: Row) -> Row:
        """The item with the fields asked for."""
        return {name: value for name, value in item.items() if name in self.fields} if self.fields else item


def read_query(given: Mapping[str, str], kind: str, page_limit: int) -> Query:
    """The query for objects of a kind; `StatusInfoError` for what it can't be."""
    sort, order = given.get("sort"), given.get("orderBy", "asc")
    if sort is not None and not has_field(kind, sort):
        raise invalid_field("sort", f"{kind} has no field {sort!r}.")
    if order not in {"asc", "desc"}:
        raise invalid_data("orderBy is asc or desc.")
    clauses, either = _read_filter(given["filter"], kind) if "filter" in given else ((), False)
    return Query(
        limit=min(_whole(given, "limit", default=_DEFAULT_LIMIT, least=1), page_limit),
        offset=_whole(given, "offset", default=0, least=0),
        sort=sort,
        descending=order == "desc",
        fields=read_fields(given, kind),
        clauses=clauses,
        either=either,
    )


def read_fields(given: Mapping[str, str], kind: str) -> tuple[str, ...]:
    """The selection; empty for everything."""
    fields = tuple(name.strip() for name in given["fields"].split(",")) if "fields" in given else ()
    for name in fields:
        if not has_field(kind, name, inner=False):
            raise invalid_field("selection", f"{kind} has no field {name!r}.")
    return fields


def values_at(item: Any, path: list[str]) -> Iterable[Any]:
    """The values under a path; of a list, those of its members."""
    if isinstance(item, list):
        for member in item:
            yield from values_at(member, path)
    elif not path:
        yield item
    elif isinstance(item, dict) and path[0] in item:
        yield from values_at(item[path[0]], path[1:])


def _whole(given: Mapping[str, str], name: str, *, default: int, least: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise invalid_data(f"{name} is a whole number from {least}.")
    return int(text)


def _read_filter(text: str, kind: str) -> tuple[tuple[Clause, ...], bool]:
    found = _FILTER.fullmatch(text)
    if found is None:
        raise invalid_field("filter", "A filter is one clause field='value', or two joined by AND or OR.")
    first, second = found.group(1, 2, 3), found.group(5, 6, 7)
    clauses = tuple(_read_clause(kind, *parts) for parts in (first, second) if parts[0] is not None)
    return clauses, found[4] == "OR"


def _read_clause(kind: str, path: str, predicate: str, text: str) -> Clause:
    if not has_field(kind, path):
        raise invalid_field("filter", f"{kind} has no field {path!r}.")
    try:
        return Clause(path, predicate, text if predicate == "~" else _comparable(path, text))
    except ValueError as exc:
        raise invalid_field("filter", f"{path} can't be {text!r}.") from exc


def _comparable(path: str, value: Any) -> Any:
    if path in TIMES:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(value) if path in NUMBERS else str(value)
