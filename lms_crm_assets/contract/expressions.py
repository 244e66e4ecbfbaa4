"""Scalar SQL expressions over the canonical columns of one object or one kind of row: parsed by sqlglot, bound by DuckDB, whitelisted.

What comes out is regenerated from the tree, never the text of the file: columns are quoted, casts are TRY_CAST and the
whole is wrapped in TRY, so that one learner's odd value gives a null and not a failed run.

`extra ->> 'name'` gives an attribute of `extra` as text, `extra ->> '$.name.inner[0]'` one deeper in it. It becomes a
function call: DuckDB's own `->>` binds weaker than `=`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError

from lms_crm_assets.contract.canonical import EXTRA_COLUMN, columns_of, known_columns
from lms_crm_assets.domain import CrmObject, FieldType, LmsEntity

MAX_LENGTH = 2_000
# sqlglot, its generator and DuckDB's parser all recurse; Python's own limit of 1,000 frames is some 100 levels.
MAX_DEPTH = 40
# More of them, nested, would make a text that fills the memory: 20 characters for one, three times, are 8,000 for one.
MAX_GROWING_REPLACES, MAX_REPLACEMENT = 3, 20

_SQL_TYPES = {
    FieldType.TEXT: "VARCHAR",
    FieldType.EMAIL: "VARCHAR",
    FieldType.NUMBER: "DECIMAL(12,5)",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.DATETIME: "TIMESTAMPTZ",
}
_CASTS = {
    exp.DType.TEXT: "VARCHAR",
    exp.DType.VARCHAR: "VARCHAR",
    exp.DType.BOOLEAN: "BOOLEAN",
    exp.DType.INT: "BIGINT",
    exp.DType.BIGINT: "BIGINT",
    exp.DType.DOUBLE: "DOUBLE",
    exp.DType.DECIMAL: "DECIMAL(24,9)",
    exp.DType.DATE: "DATE",
    exp.DType.DATETIME: "TIMESTAMPTZ",
    exp.DType.TIMESTAMPNTZ: "TIMESTAMPTZ",
    exp.DType.TIMESTAMP: "TIMESTAMPTZ",
    exp.DType.TIMESTAMPTZ: "TIMESTAMPTZ",
}
_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.Coalesce: "COALESCE",
    exp.Nullif: "NULLIF",
    exp.Concat: "CONCAT",
    exp.Upper: "UPPER",
    exp.Lower: "LOWER",
    exp.Trim: "TRIM",
    exp.Left: "LEFT",
    exp.Right: "RIGHT",
    exp.Substring: "SUBSTRING",
    exp.Replace: "REPLACE",
    exp.Length: "LENGTH",
    exp.Round: "ROUND",
    exp.Abs: "ABS",
    exp.Cast: "CAST",
    exp.TryCast: "TRY_CAST",
    exp.Extract: "EXTRACT",
    exp.TimestampTrunc: "DATE_TRUNC",
    exp.DateTrunc: "DATE_TRUNC",
    exp.Year: "YEAR",
    exp.Quarter: "QUARTER",
    exp.Month: "MONTH",
    exp.Day: "DAY",
    exp.Hour: "HOUR",
    exp.If: "IF",
    exp.Case: "CASE",
}
_OPERATORS = (
    *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Paren, exp.DPipe),
    *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In, exp.Is, exp.Like, exp.ILike),
    *(exp.NullSafeEQ, exp.NullSafeNEQ, exp.And, exp.Or, exp.Not, exp.JSONExtractScalar),
)
_LEAVES = (exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Var, exp.DataType, exp.DataTypeParam)
_ALLOWED = frozenset({*_FUNCTIONS, *_OPERATORS, *_LEAVES})

# A step of a path: `.name`, `."any name"`, `[3]` or `[#-1]` from the end. DuckDB's wildcards would give a list.
_STEP = re.compile(r'\.([^\W\d][\w-]*)|\."([^"\\*]+)"|(\[(?:#-[1-9]|\d)\d{0,5}\])')
_READING = f"read an attribute of {EXTRA_COLUMN} as in {EXTRA_COLUMN} ->> 'department' or {EXTRA_COLUMN} ->> '$.a.b'"


class _Verbatim(DuckDB):
    """DuckDB's SQL with the right side of `->>` as it is written; sqlglot would read a key with a dot as a path."""

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        """The text itself."""
        return path


class ExpressionError(ValueError):
    """The text is no expression that a contract may use; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression as SQL for DuckDB, the canonical columns it reads, and what kind of value it gives.

    `type` is None when the kind is not evident: a text made of an e-mail may be either.
    """

    sql: str
    columns: frozenset[str]
    type: FieldType | None


def allowed_functions() -> list[str]:
    """The names of the functions that an expression may call, sorted."""
    return sorted(set(_FUNCTIONS.values()))


@cache
def compile_expression(text: str, obj: CrmObject | LmsEntity) -> Compiled:
    """Check an expression over the columns of `obj` and write it anew; `ExpressionError` says what is wrong."""
    tree = _parsed(text)
    _check_extra(tree)
    for node in tree.walk():
        _check(node)
    _check_growth(tree)
    columns = frozenset(_named(column, obj) for column in tree.find_all(exp.Column))
    if isinstance(tree, exp.Column):
        (name,) = columns
        return Compiled(f'"{name}"', columns, columns_of(obj)[name])
    sql = f"TRY({_regenerated(tree).sql(dialect='duckdb', comments=False)})"
    return Compiled(sql, columns, _bound_type(sql, columns, obj))


def _parsed(text: str) -> exp.Expr:
    """The one expression of the text; read as the projection of a SELECT, so that it can be nothing else."""
    if not text.strip():
        raise ExpressionError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH:,} characters")
    try:
        statements = sqlglot.parse(f"SELECT {text}", dialect=_Verbatim)
    except RecursionError:
        raise ExpressionError(f"the expression is nested deeper than {MAX_DEPTH} levels") from None
    except SqlglotError as exc:
        raise ExpressionError(f"this is no SQL expression{_near(exc)}") from exc
    select = statements[0]
    if len(statements) != 1 or not isinstance(select, exp.Select):
        raise ExpressionError("only one scalar expression is allowed, no ';' and no statement")
    clauses = [name for name, value in select.args.items() if value and name != "expressions"]
    if clauses:
        raise ExpressionError(f"only a scalar expression is allowed, no {clauses[0].strip('_').upper()}")
    if len(select.expressions) != 1:
        raise ExpressionError("only one expression is allowed, not a list")
    tree: exp.Expr = select.expressions[0].copy()
    if _depth(tree) > MAX_DEPTH:
        raise ExpressionError(f"the expression is nested deeper than {MAX_DEPTH} levels")
    return tree


def _near(exc: SqlglotError) -> str:
    found = getattr(exc, "errors", None) or [{}]
    word = str(found[0].get("highlight") or "").strip()
    return f": trouble at {word!r}" if word else ": it is not complete"


def _depth(tree: exp.Expr) -> int:
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting.extend((child, depth + 1) for child in node.iter_expressions())
    return deepest


def _check(node: exp.Expr) -> None:
    if type(node) in _ALLOWED:
        if isinstance(node, exp.Cast) and node.to.this not in _CASTS:
            raise ExpressionError(
                f"CAST to {node.to.sql(dialect='duckdb')} is not allowed: use TEXT, NUMBER, BOOLEAN or DATETIME"
            )
        if isinstance(node, exp.In) and not node.expressions:
            raise ExpressionError("IN takes a list of values, a subquery or a table is not allowed")
        return
    match node:
        case exp.Subquery() | exp.Select() | exp.Exists():
            raise ExpressionError("a subquery is not allowed")
        case exp.Star():
            raise ExpressionError("'*' is not allowed: name the columns")
        case exp.Alias():
            raise ExpressionError("a name (AS) is not allowed: the CRM field's name is the key")
        case exp.Window():
            raise ExpressionError("a window function is not allowed")
        case exp.Placeholder() | exp.Parameter():
            raise ExpressionError("a parameter is not allowed")
        case exp.Func():
            name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
            allowed = ", ".join(allowed_functions())
            raise ExpressionError(f"the function {name.upper()} is not allowed; allowed are {allowed}")
        case _:
            raise ExpressionError(f"{node.sql(dialect='duckdb')!r} is not allowed in an expression")


def _is_extra(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and not node.table and node.name.lower() == EXTRA_COLUMN


def _check_extra(tree: exp.Expr) -> None:
    """`extra` stands left of `->>` only, and only `extra` does; an attribute's name stands right of it."""
    for node in tree.find_all(exp.JSONExtractScalar):
        # Only the operator has this argument; of the function's further paths nothing would be left.
        if "only_json_types" not in node.args:
            raise ExpressionError(f"a JSON function is not allowed: {_READING}")
        if not _is_extra(node.this):
            raise ExpressionError(
                f"'->>' reads from {EXTRA_COLUMN} alone, put it in parentheses: ({EXTRA_COLUMN} ->> 'a')"
            )
        _json_path(node)
    for column in tree.find_all(exp.Column):
        if _is_extra(column) and not isinstance(column.parent, exp.JSONExtractScalar):
            raise ExpressionError(f"'{EXTRA_COLUMN}' is no value but a JSON object: {_READING}")


def _json_path(node: exp.JSONExtractScalar) -> str:
    """The path to an attribute, for DuckDB: a key as a JSON pointer, in which every text can stand, a path as a path."""
    text = _text(node.expression)
    if not text:
        raise ExpressionError(f"the attribute's name stands in single quotes: {_READING}")
    if not text.startswith(("$", "/")):
        return "/" + text.replace("~", "~0").replace("/", "~1")
    steps, at = [], 1
    while found := _STEP.match(text, at):
        name = found[1] or found[2]
        steps.append(f'."{name}"' if name else found[3])
        at = found.end()
    if at < len(text) or not steps or not steps[0].startswith(".") or text.startswith("/"):
        raise ExpressionError(
            f"{text!r} is no path to one attribute: write '$.a.b', '$.a[0]' or, with odd signs, '$.\"a/b\".c'"
        )
    return "$" + "".join(steps)


def _check_growth(tree: exp.Expr) -> None:
    """REPLACE is the only function whose result can be many times its argument."""
    growing = 0
    for replace in tree.find_all(exp.Replace):
        old, new = _text(replace.expression), _text(replace.args.get("replacement"))
        if old is None or new is None or len(new) > MAX_REPLACEMENT:
            raise ExpressionError(
                f"REPLACE takes what to replace and by what in single quotes, by at most {MAX_REPLACEMENT} characters"
            )
        growing += len(new) > len(old)
    if growing > MAX_GROWING_REPLACES:
        raise ExpressionError(f"at most {MAX_GROWING_REPLACES} REPLACE may make a text longer")


def _text(node: exp.Expr | None) -> str | None:
    """The text of a literal in single quotes."""
    return str(node.this) if isinstance(node, exp.Literal) and node.is_string else None


def _named(column: exp.Column, obj: CrmObject | LmsEntity) -> str:
    if column.table.lower() == EXTRA_COLUMN:
        raise ExpressionError(f"'{column.sql()}' names a table: {_READING}")
    if column.table:
        raise ExpressionError(f"'{column.sql()}': a column stands alone, other tables can't be read")
    name = column.name.lower()
    if name not in columns_of(obj) and name != EXTRA_COLUMN:
        raise ExpressionError(
            f"'{column.name}' is no column of {obj}; known are {known_columns(obj)} (a text stands in single quotes)"
        )
    return name


def _regenerated(tree: exp.Expr) -> exp.Expr:
    quoted = tree.transform(_made_plain)
    # DuckDB makes `x AND x` a bare cast, whose error no TRY catches.
    for both in list(quoted.find_all(exp.And)):
        for side in (both.left, both.right):
            if not isinstance(side.unnest(), exp.Predicate | exp.Connector | exp.Not):
                side.replace(exp.cast(side.copy(), "BOOLEAN"))
    # Bottom up, for a cast may stand in a cast.
    for cast in reversed(list(quoted.find_all(exp.Cast))):
        made = exp.TryCast(this=cast.this.copy(), to=_target(cast.to))
        if cast is quoted:
            return made
        cast.replace(made)
    return quoted


def _made_plain(node: exp.Expr) -> exp.Expr:
    """Columns quoted and `->>` as a call."""
    if isinstance(node, exp.JSONExtractScalar):
        column = exp.column(EXTRA_COLUMN, quoted=True)
        return exp.Anonymous(this="json_extract_string", expressions=[column, exp.Literal.string(_json_path(node))])
    return exp.column(node.name.lower(), quoted=True) if isinstance(node, exp.Column) else node


def _target(to: exp.DataType) -> exp.DataType:
    """The type to cast to; a DECIMAL keeps the digits it was given (NUMBER is read as DECIMAL(18, 3))."""
    if to.this is exp.DType.DECIMAL and [part.name for part in to.expressions] not in ([], ["18", "3"]):
        return to.copy()
    return exp.DataType.build(_CASTS[to.this], dialect="duckdb")


def _bound_type(sql: str, columns: frozenset[str], obj: CrmObject | LmsEntity) -> FieldType | None:
    """The kind of value that DuckDB sees in it; a row of nulls is computed, which folds all constants."""
    row = ", ".join(f'NULL::{_SQL_TYPES[kind]} AS "{name}"' for name, kind in columns_of(obj).items())
    row += f', NULL::JSON AS "{EXTRA_COLUMN}"'
    query = f"SELECT {sql.removeprefix('TRY')} AS made FROM (SELECT {row})"
    with duckdb.connect(":memory:", config={"autoload_known_extensions": "false"}) as con:
        try:
            con.execute(query).fetchall()
            given = str(con.execute(f"DESCRIBE {query}").fetchall()[0][1])
        except duckdb.Error as exc:
            raise ExpressionError(f"the types don't fit: {next(_sentences(str(exc)))}") from exc
    for start, kind in (
        ("VARCHAR", FieldType.TEXT),
        ("BOOLEAN", FieldType.BOOLEAN),
        ("TIMESTAMP", FieldType.DATETIME),
        ("DATE", FieldType.DATETIME),
        *((word, FieldType.NUMBER) for word in ("DECIMAL", "DOUBLE", "BIGINT", "INTEGER", "HUGEINT")),
    ):
        if given.startswith(start):
            emails = any(columns_of(obj).get(name) is FieldType.EMAIL for name in columns)
            return None if kind is FieldType.TEXT and emails else kind
    raise ExpressionError(f"it gives {given}, which no CRM field holds: CAST it")


def _sentences(message: str) -> Iterator[str]:
    for line in message.splitlines():
        said = line.removeprefix("Binder Error: ").removeprefix("Conversion Error: ").strip()
        if said:
            yield said.partition(". You might")[0]
