"""The SOQL that is understood: a tokenizer and a recursive-descent parser. What a name means is for `query` to say.

    query      = SELECT (COUNT() | path {, path}) FROM name [WHERE condition] [ORDER BY order {, order}]
                 [LIMIT number] [OFFSET number]
    condition  = term {AND term} | term {OR term}          (mixing needs parentheses, as on the platform)
    term       = NOT term | ( condition ) | path operator literal | path [NOT] IN ( literal {, literal} )
    order      = path [ASC | DESC] [NULLS FIRST | NULLS LAST]

SOQL and SOSL reference. Subqueries, GROUP BY, date literals and aggregates other than COUNT() are refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeVar

from .errors import ApiError

_T = TypeVar("_T")
LiteralKind = OneOf["string", "number", "datetime", "date", "boolean", "null"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)
  | (?P<number>[+-]?\d+(?:\.\d+)?)
  | (?P<name>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)
  | (?P<symbol><=|>=|!=|<>|[=<>(),])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_OPERATORS = {"=", "!=", "<>", "<", "<=", ">", ">="}
_MAX_NESTING = 100
_RESERVED = {"AND", "ASC", "DESC", "FROM", "IN", "LIKE", "LIMIT", "NOT", "NULL", "NULLS", "OR", "SELECT", "WHERE"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the query and where it starts."""

    kind: str
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value in a condition. `text` is the source without quotes, escapes still in it; `value` has them resolved."""

    kind: LiteralKind
    text: str

    @property
    def value(self) -> str:
        """The text with its escapes resolved."""
        return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), self.text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator literal`; for IN and NOT IN there may be several literals."""

    path: Token
    operator: str
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Junction:
    """Terms that are joined by AND or by OR."""

    operator: str
    terms: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """NOT."""

    term: "Condition"


Condition = Comparison | Junction | Negation


@dataclass(frozen=True, slots=True)
class Order:
    """One key of ORDER BY."""

    path: Token
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; `fields` is empty for COUNT()."""

    text: str
    fields: tuple[Token, ...]
    sobject: Token
    where: Condition | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int


def refusal(code: str, text: str, position: int, message: str) -> ApiError:
    """A refused query, with the place marked as the platform marks it."""
    start = text.rfind("\n", 0, position) + 1
    line = text[start:].split("\n", 1)[0]
    row, column = text.count("\n", 0, position) + 1, position - start + 1
    mark = " " * (column - 1) + "^"
    return ApiError(400, code, f"\n{line}\n{mark}\nERROR at Row:{row}:Column:{column}\n{message}")


def parse(text: str) -> Query:
    """The query; `ApiError` MALFORMED_QUERY when it is none."""
    if not text.strip():
        raise ApiError(400, "MALFORMED_QUERY", "SOQL statements cannot be empty or null")
    return _Parser(text).query()


def _tokens(text: str) -> list[Token]:
    found = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            message = f"line 1:{position} no viable alternative at character '{text[position]}'"
            raise refusal("MALFORMED_QUERY", text, position, message)
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match[0], position))
        position = match.end()
    return [*found, Token("end", "<EOF>", len(text))]


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def query(self) -> Query:
        self._expect("SELECT")
        fields = self._fields()
        self._expect("FROM")
        sobject = self._name()
        where = self._condition() if self._accept("WHERE") else None
        order = self._orders() if self._accept("ORDER") else ()
        limit = self._number() if self._accept("LIMIT") else None
        offset = self._number() if self._accept("OFFSET") else 0
        if self._peek().kind != "end":
            raise self._unexpected()
        return Query(self._text, fields, sobject, where, order, limit, offset)

    def _fields(self) -> tuple[Token, ...]:
        first = self._name()
        if first.text.upper() == "COUNT" and self._accept("("):
            self._expect(")")
            return ()
        return (first, *self._rest(self._name))

    def _condition(self) -> Condition:
        terms = [self._term()]
        for operator in ("AND", "OR"):
            while self._accept(operator):
                terms.append(self._term())
            if len(terms) > 1:
                return Junction(operator, tuple(terms))
        return terms[0]

    def _term(self) -> Condition:
        if self._peek().text == "(" or self._peek().text.upper() == "NOT":
            return self._nested()
        return self._comparison()

    def _nested(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_NESTING:
            raise self._unexpected()
        if self._accept("NOT"):
            nested: Condition = Negation(self._term())
        else:
            self._expect("(")
            nested = self._condition()
            self._expect(")")
        self._depth -= 1
        return nested

    def _comparison(self) -> Condition:
        path = self._name()
        if self._accept("NOT"):
            self._expect("IN")
            return Comparison(path, "NOT IN", self._literals())
        if self._accept("IN"):
            return Comparison(path, "IN", self._literals())
        if self._accept("LIKE"):
            return Comparison(path, "LIKE", (self._literal(),))
        if self._peek().text not in _OPERATORS:
            raise self._unexpected()
        operator = self._next().text
        return Comparison(path, "!=" if operator == "<>" else operator, (self._literal(),))

    def _literals(self) -> tuple[Literal, ...]:
        self._expect("(")
        found = (self._literal(), *self._rest(self._literal))
        self._expect(")")
        return found

    def _literal(self) -> Literal:
        token = self._peek()
        match token.kind, token.text.upper():
            case "string", _:
                literal = Literal("string", token.text[1:-1])
            case ("datetime" | "date" | "number") as kind, text:
                literal = Literal(kind, text)
            case "name", "NULL":
                literal = Literal("null", "null")
            case "name", ("TRUE" | "FALSE") as text:
                literal = Literal("boolean", text)
            case _:
                raise self._unexpected()
        self._at += 1
        return literal

    def _orders(self) -> tuple[Order, ...]:
        self._expect("BY")
        return (self._order(), *self._rest(self._order))

    def _order(self) -> Order:
        path = self._name()
        descending = self._accept("DESC")
        if not descending:
            self._accept("ASC")
        nulls_first = True
        if self._accept("NULLS"):
            nulls_first = self._accept("FIRST")
            if not nulls_first:
                self._expect("LAST")
        return Order(path, descending, nulls_first)

    def _number(self) -> int:
        token = self._peek()
        if not token.text.isdigit():
            raise self._unexpected()
        self._at += 1
        return int(token.text)

    def _name(self) -> Token:
        token = self._peek()
        if token.kind != "name" or token.text.upper() in _RESERVED:
            raise self._unexpected()
        return self._next()

    def _rest(self, item: Callable[[], _T]) -> list[_T]:
        found = []
        while self._accept(","):
            found.append(item())
        return found

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, word: str) -> bool:
        token = self._peek()
        if token.kind in {"name", "symbol"} and token.text.upper() == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._unexpected()

    def _unexpected(self) -> ApiError:
        token = self._peek()
        return refusal("MALFORMED_QUERY", self._text, token.position, f"unexpected token: '{token.text}'")
