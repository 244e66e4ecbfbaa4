"""Running a parsed query: names against the schema, conditions as predicates, and the paging cursors.

Semantics (SOQL reference): text compares without regard to case, ids with it; `!=` and NOT IN hold for null; null sorts
first unless NULLS LAST is asked for. A condition on Id or on a unique key goes through the index, all else is a scan.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .ids import long_id
from .schema import TEXT_TYPES, Field, SObject
from .soql import Comparison, Condition, Junction, Literal, Negation, Order, Query, Token, parse, refusal
from .store import Record, Store
from .values import Value, fold, parse_datetime, to_json

Predicate = Callable[[Record], bool]
Read = Callable[[Record], Value]
Project = Callable[[Record], dict[str, Any]]

MAX_OFFSET = 2000
_HINT = "Please reference your WSDL or the describe call for the appropriate names."
_SOAP_NAMES = {"double": "double", "boolean": "boolean", "datetime": "dateTime"}
_LITERALS = {"double": "number", "boolean": "boolean", "datetime": "datetime"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A selected field: its path as the schema spells it, and how it is read from a record."""

    name: str
    read: Read
    field: Field


@dataclass(frozen=True, slots=True)
class Search:
    """A query that is understood but not answered yet: who can match, who does, in which order; COUNT() has no columns."""

    sobject: SObject
    candidates: Iterable[Record]
    holds: Predicate
    ordered: Callable[[list[Record]], list[Record]]
    columns: list[Column]
    offset: int


@dataclass(frozen=True, slots=True)
class Found:
    """A query's answer before paging: how many, which, and how each is shown (None for COUNT())."""

    total: int
    records: list[Record]
    project: Project | None


def run(store: Store, text: str, data_url: str, *, include_deleted: bool) -> Found:
    """Answer a query; `ApiError` when it is malformed or names what is not there."""
    return _compiled(store, text, data_url, include_deleted=include_deleted).found()


def search(store: Store, text: str, data_url: str, *, include_deleted: bool) -> Search:
    """Understand a query and leave the work to the caller; `ApiError` as `run`."""
    return _compiled(store, text, data_url, include_deleted=include_deleted).search()


def _compiled(store: Store, text: str, data_url: str, *, include_deleted: bool) -> "_Compiler":
    query = parse(text)
    sobject = store.schema.find(query.sobject.text)
    if sobject is None:
        message = (
            f"sObject type '{query.sobject.text}' is not supported. If you are attempting to use a custom object, "
            f"be sure to append the '__c' after the entity name. {_HINT}"
        )
        raise refusal("INVALID_TYPE", query.text, query.sobject.position, message)
    if query.offset > MAX_OFFSET:
        message = f"Maximum SOQL offset allowed is {MAX_OFFSET}"
        raise refusal("NUMBER_OUTSIDE_VALID_RANGE", query.text, query.text.upper().rfind("OFFSET"), message)
    return _Compiler(store, query, sobject, data_url, include_deleted=include_deleted)


class _Compiler:
    def __init__(self, store: Store, query: Query, sobject: SObject, data_url: str, *, include_deleted: bool) -> None:
        self._store = store
        self._query = query
        self._sobject = sobject
        self._data_url = data_url
        self._include_deleted = include_deleted

    def found(self) -> Found:
        project = self._projection() if self._query.fields else None
        understood = self.search()
        records = understood.ordered([record for record in understood.candidates if understood.holds(record)])
        return Found(len(records), records if project else [], project)

    def search(self) -> Search:
        query = self._query
        matches = self._predicate(query.where) if query.where is not None else None
        orders = [(order, *self._resolve(order.path)) for order in query.order]
        columns = [Column(self._spelt(token), *self._resolve(token)) for token in query.fields]

        def holds(record: Record) -> bool:
            return (self._include_deleted or not record.deleted) and (matches is None or matches(record))

        def ordered(records: list[Record]) -> list[Record]:
            for order, read, field in reversed(orders):
                records = self._sorted(records, order, read, field)
            end = None if query.limit is None else query.offset + query.limit
            return records[query.offset : end]

        return Search(self._sobject, self._candidates(), holds, ordered, columns, query.offset)

    def _candidates(self) -> Iterable[Record]:
        """The records that can match: those of an index when a term of the outermost AND names one, else all."""
        where = self._query.where
        terms = where.terms if isinstance(where, Junction) and where.operator == "AND" else (where,)
        table = self._store.tables[self._sobject.name]
        for term in terms:
            if not isinstance(term, Comparison) or term.operator not in {"=", "IN"}:
                continue
            texts = [literal.value for literal in term.literals if literal.kind == "string"]
            field = self._sobject.field(term.path.text)
            if field is None or len(texts) < len(term.literals):
                continue
            if field.type == "id":
                return _present({long_id(text): table.rows.get(long_id(text) or "") for text in texts}.values())
            if field.unique and not self._include_deleted:  # the index holds live records only
                index = table.keys[field.name]
                return _present({fold(text): index.get(fold(text)) for text in texts}.values())
        return table.rows.values()

    def _parts(self, path: Token) -> list[str]:
        """A path's names, without the object's own in front."""
        head, *rest = path.text.split(".")
        return rest if rest and head.lower() == self._sobject.name.lower() else [head, *rest]

    def _spelt(self, path: Token) -> str:
        """A path that is known to exist, with the schema's upper and lower case."""
        sobject, names = self._sobject, []
        *relationships, name = self._parts(path)
        for relationship in relationships:
            lookup, parent = self._lookup(sobject, relationship)
            if lookup is not None and parent is not None:
                names.append(lookup.relationship)
                sobject = parent
        field = sobject.field(name)
        return ".".join([*names, field.name if field is not None else name])

    def _resolve(self, path: Token) -> tuple[Read, Field]:
        """How a path such as `Contact__r.LMS_User_Id__c` is read from a record, and the field at its end."""
        *relationships, name = self._parts(path)
        sobject = self._sobject
        steps: list[tuple[Read, dict[str, Record]]] = []
        for relationship in relationships:
            lookup, parent = self._lookup(sobject, relationship)
            if lookup is None or parent is None:
                message = (
                    f"Didn't understand relationship '{relationship}' in field path. If you are attempting to use a "
                    f"custom relationship, be sure to append the '__r' after the custom relationship name. {_HINT}"
                )
                raise self._refusal(path, message)
            read_id = self._store.reader(sobject, lookup)
            sobject = parent
            steps.append((read_id, self._store.tables[sobject.name].rows))
        field = sobject.field(name)
        if field is None:
            message = (
                f"No such column '{name}' on entity '{sobject.name}'. If you are attempting to use a custom field, "
                f"be sure to append the '__c' after the custom field name. {_HINT}"
            )
            raise self._refusal(path, message)
        read = self._store.reader(sobject, field)
        for read_id, parents in reversed(steps):
            read = _through(read_id, parents, read)
        return read, field

    def _lookup(self, sobject: SObject, relationship: str) -> tuple[Field | None, SObject | None]:
        """The lookup field behind a relationship's name, and the object it leads to; None where there is none to see."""
        lookup = sobject.lookup(relationship)
        return lookup, None if lookup is None else self._store.schema.parent(lookup)

    def _projection(self) -> Project:
        """How a record is shown: its fields, and those of its parents as nested records."""
        paths: dict[str, list[str]] = {}
        for token in self._query.fields:
            if token.text.lower() in paths:
                message = f"duplicate field selected: {token.text}"
                raise refusal("MALFORMED_QUERY", self._query.text, token.position, message)
            self._resolve(token)
            paths[token.text.lower()] = self._parts(token)
        return self._shape(self._sobject, list(paths.values()))

    def _shape(self, sobject: SObject, paths: list[list[str]]) -> Project:
        """The projection of paths that are known to exist."""
        columns: dict[str, Callable[[Record], Any]] = {}
        for head in dict.fromkeys(path[0].lower() for path in paths):
            below = [path[1:] for path in paths if path[0].lower() == head and len(path) > 1]
            (lookup, target), field = self._lookup(sobject, head), sobject.field(head)
            if below and lookup is not None and target is not None:
                rows = self._store.tables[target.name].rows
                columns[lookup.relationship] = _nested(
                    self._store.reader(sobject, lookup), rows, self._shape(target, below)
                )
            elif field is not None:
                columns[field.name] = _shown(field, self._store.reader(sobject, field))
        url = f"{self._data_url}/sobjects/{sobject.name}/"

        def project(record: Record) -> dict[str, Any]:
            shown: dict[str, Any] = {"attributes": {"type": sobject.name, "url": url + record.id}}
            for name, column in columns.items():
                shown[name] = column(record)
            return shown

        return project

    def _predicate(self, condition: Condition) -> Predicate:
        match condition:
            case Negation(term):
                inner = self._predicate(term)
                return lambda record: not inner(record)
            case Junction(operator, terms):
                parts = [self._predicate(term) for term in terms]
                if operator == "AND":
                    return lambda record: all(part(record) for part in parts)
                return lambda record: any(part(record) for part in parts)
            case Comparison():
                return self._comparison(condition)

    def _comparison(self, condition: Comparison) -> Predicate:
        read, field = self._resolve(condition.path)
        if field.type == "textarea":
            message = f"field '{field.name}' can not be filtered in a query call"
            raise self._refusal(condition.path, message)
        operator = condition.operator
        key = _key(field)
        if operator == "LIKE":
            if field.type not in TEXT_TYPES or condition.literals[0].kind != "string":
                raise refusal(
                    "INVALID_QUERY_FILTER_OPERATOR", self._query.text, condition.path.position, "invalid operator"
                )
            pattern = _like(condition.literals[0].text)
            return lambda record: pattern.fullmatch(str(read(record) or "")) is not None
        wanted = {self._operand(condition.path, field, literal) for literal in condition.literals}
        if operator in {"=", "IN"}:
            return lambda record: key(read(record)) in wanted
        if operator in {"!=", "NOT IN"}:
            return lambda record: key(read(record)) not in wanted
        (bound,) = wanted
        compare = _COMPARE[operator]

        def ordered(record: Record) -> bool:
            value = read(record)
            return value is not None and bound is not None and compare(key(value), bound)

        return ordered

    def _operand(self, path: Token, field: Field, literal: Literal) -> Value:
        """A literal as the field's own kind of value."""
        if literal.kind == "null":
            return None
        if field.type in {"id", "reference"}:
            found = long_id(literal.value) if literal.kind == "string" else None
            if found is None:
                message = f"invalid ID field: {literal.value}"
                raise refusal("INVALID_QUERY_FILTER_OPERATOR", self._query.text, path.position, message)
            return found
        expected = _LITERALS.get(field.type, "string")
        if literal.kind != expected:
            name, quotes = _SOAP_NAMES.get(field.type, "string"), "" if expected == "string" else "not "
            message = (
                f"value of filter criterion for field '{field.name}' must be of type {name} "
                f"and should {quotes}be enclosed in quotes"
            )
            raise self._refusal(path, message)
        match expected:
            case "number":
                return float(literal.value)
            case "boolean":
                return literal.value == "TRUE"
            case "datetime":
                moment = parse_datetime(literal.value)
                if moment is None:  # text unverified
                    message = f"Invalid datetime: {literal.value}"
                    raise refusal("MALFORMED_QUERY", self._query.text, path.position, message)
                return moment
            case _:
                return fold(literal.value)

    def _sorted(self, records: list[Record], order: Order, read: Read, field: Field) -> list[Record]:
        if field.type == "textarea":
            raise self._refusal(order.path, f"field '{field.name}' can not be sorted in a query call")
        key = _key(field)
        empty = [record for record in records if read(record) is None]
        filled = [record for record in records if read(record) is not None]

        def sort_key(record: Record) -> Any:
            return key(read(record))

        filled.sort(key=sort_key, reverse=order.descending)
        return empty + filled if order.nulls_first else filled + empty

    def _refusal(self, path: Token, message: str) -> Exception:
        return refusal("INVALID_FIELD", self._query.text, path.position, message)


def _key(field: Field) -> Callable[[Value], Value]:
    """How a field's values are compared."""
    if field.type in TEXT_TYPES:
        return lambda value: fold(value) if isinstance(value, str) else value
    return lambda value: value


def _like(text: str) -> re.Pattern[str]:
    """A LIKE pattern: `%` any run, `_` any character, a backslash takes the next character as it is."""
    parts: Iterator[re.Match[str]] = re.finditer(r"\\(.)|(.)", text, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return re.compile(
        "".join(re.escape(part[1]) if part[1] else wild.get(part[2], re.escape(part[2])) for part in parts),
        re.IGNORECASE | re.DOTALL,
    )


def _through(read_id: Read, parents: dict[str, Record], read: Read) -> Read:
    """Read a field of the record that a lookup points at; null when it points at none."""

    def read_parent(record: Record) -> Value:
        parent = parents.get(str(read_id(record)))
        return None if parent is None else read(parent)

    return read_parent


def _nested(read_id: Read, parents: dict[str, Record], project: Project) -> Callable[[Record], Any]:
    def show(record: Record) -> dict[str, Any] | None:
        parent = parents.get(str(read_id(record)))
        return None if parent is None else project(parent)

    return show


def _shown(field: Field, read: Read) -> Callable[[Record], Value]:
    return (lambda record: to_json(field, read(record))) if field.type == "datetime" else read


def _present(records: Iterable[Record | None]) -> list[Record]:
    return [record for record in records if record is not None]
