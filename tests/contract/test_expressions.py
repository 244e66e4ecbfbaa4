"""Expressions: what is allowed, what it becomes, what it gives in DuckDB, and why another is refused."""

import json
from decimal import Decimal

import duckdb
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lms_crm_assets.contract.canonical import COLUMNS, ENTITY_COLUMNS, VOCABULARIES
from lms_crm_assets.contract.expressions import ExpressionError, compile_expression
from lms_crm_assets.contract.models import FieldMapping
from lms_crm_assets.contract.spec import field_spec
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.staging.tables import COLUMNS as TABLES

TEXT, NUMBER, BOOLEAN, DATETIME = FieldType.TEXT, FieldType.NUMBER, FieldType.BOOLEAN, FieldType.DATETIME
ROW = (
    "SELECT '7' AS source_id, 'x-1' AS external_id, 'Ada.L' AS username, 'Ada@Example.org' AS email, ' Ada ' AS"
    " given_name, 'Lovelace' AS family_name, NULL::VARCHAR AS organization, 'gb' AS country, 'active' AS status,"
    ' \'{"dept": "R&D", "a.b": "flat", "a": {"b": ["x", {"c d": "y"}], "0": "z"}, "hours": "12.50", "n": 3, "ok": true,'
    ' "none": null, "$ref": "r", "é": "ü", "it\'\'s": "q"}\'::JSON AS extra'
)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("given_name", TEXT, " Ada "),
        ("Family_Name", TEXT, "Lovelace"),
        ("trim(given_name) || ' ' || family_name", TEXT, "Ada Lovelace"),
        ("CONCAT(family_name, ', ', organization)", TEXT, "Lovelace, "),
        ("COALESCE(organization, NULLIF(country, 'us'), 'none')", TEXT, "gb"),
        ("UPPER(LEFT(username, 3)) || LOWER(RIGHT(username, 1))", TEXT, "ADAl"),
        ("SUBSTRING(username, 1, 3)", TEXT, "Ada"),
        ("REPLACE(username, '.', '-')", TEXT, "Ada-L"),
        ("LENGTH(family_name) * 2 - 1", NUMBER, 15),
        ("ROUND(ABS(-2.6), 0)", NUMBER, 3),
        ("status = 'active' AND NOT (country <> 'gb' OR country IS NULL)", BOOLEAN, True),
        ("status IN ('active', 'invited')", BOOLEAN, True),
        ("CASE status WHEN 'active' THEN 'Student' ELSE 'Former' END", TEXT, "Student"),
        ("IF(status = 'active', 1, 0)", NUMBER, 1),
        ("CAST(source_id AS number) + 0.5", NUMBER, 7.5),
        ("CAST(username AS number)", NUMBER, None),
        ("CAST(CAST(source_id AS int) AS text) || 'st'", TEXT, "7st"),
        ("YEAR(CAST('2026-11-24' AS datetime))", NUMBER, 2026),
        ("EXTRACT(month FROM CAST('2026-11-24' AS datetime))", NUMBER, 11),
        ("'it''s'", TEXT, "it's"),
        ("CAST('2.345' AS DECIMAL(9,2))", NUMBER, Decimal("2.35")),
        ("extra ->> 'dept'", TEXT, "R&D"),
        ("EXTRA ->> 'nothing'", TEXT, None),
        ("extra ->> 'none'", TEXT, None),
        ("extra ->> 'a.b'", TEXT, "flat"),
        ("extra ->> '$.a.b[0]'", TEXT, "x"),
        ("extra ->> '$.a.b[#-1].\"c d\"'", TEXT, "y"),
        ("extra ->> '$.a.\"0\"'", TEXT, "z"),
        ("extra ->> '$.\"$ref\"'", TEXT, "r"),
        ("extra ->> 'é'", TEXT, "ü"),
        ("extra ->> 'it''s'", TEXT, "q"),
        ("extra ->> 'a'", TEXT, '{"b":["x",{"c d":"y"}],"0":"z"}'),
        # Not as in DuckDB, where '->>' binds weaker than '='.
        ("extra ->> 'dept' = 'R&D' AND extra ->> 'n' IN ('3')", BOOLEAN, True),
        ("'in ' || (extra ->> 'dept')", TEXT, "in R&D"),
        ("COALESCE(extra ->> 'division', UPPER(extra ->> 'dept'), country)", TEXT, "R&D"),
        ("CAST(extra ->> 'hours' AS number) * 2", NUMBER, 25),
        ("CAST(extra ->> 'dept' AS number)", NUMBER, None),
        ("CAST(extra ->> 'ok' AS boolean)", BOOLEAN, True),
        # Reads as text and could not be a truth value for this row: a null, not a failed run.
        ("username AND true", BOOLEAN, None),
    ],
)
def test_an_expression_gives_its_value_and_type(text: str, kind: FieldType, value: object) -> None:
    compiled = compile_expression(text, CrmObject.CONTACT)

    assert compiled.type is kind
    assert duckdb.sql(f"SELECT {compiled.sql} FROM ({ROW})").fetchall() == [(value,)]


def test_a_moment_keeps_its_type() -> None:
    assert compile_expression("DATE_TRUNC('month', completed_at)", CrmObject.COMPLETION).type is DATETIME
    assert compile_expression("score / NULLIF(score_max, 0)", CrmObject.COMPLETION).type is NUMBER


def test_the_type_of_a_text_made_of_an_e_mail_is_not_evident() -> None:
    assert compile_expression("email", CrmObject.CONTACT).type is FieldType.EMAIL
    assert compile_expression("COALESCE(email, username)", CrmObject.CONTACT).type is None


def test_what_an_lms_adds_is_personal_until_the_contract_says_otherwise() -> None:
    for obj in CrmObject:
        mapped = {"from": "extra ->> 'dept'"}
        assert field_spec(obj, FieldMapping.model_validate(mapped)).pii
        assert not field_spec(obj, FieldMapping.model_validate({**mapped, "pii": False})).pii


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
@example('a"b')
@example("~1/~0")
@example("'; DROP TABLE x; --")
@example("\\")
@example("[0].*")
def test_any_key_that_is_no_path_names_exactly_its_attribute(key: str) -> None:
    assume(not key.startswith(("$", "/")))
    record = json.dumps({"a": "wrong", key: "right", f"{key}.x": "wrong"})

    sql = compile_expression("extra ->> '" + key.replace("'", "''") + "'", CrmObject.COURSE).sql

    assert duckdb.execute(f"SELECT {sql} FROM (SELECT $1::JSON AS extra)", [record]).fetchall() == [("right",)]


def test_what_it_reads_is_told_and_quoted() -> None:
    compiled = compile_expression("name || CAST(rated_at AS text) || name -- why", CrmObject.COMPETENCY)

    assert compiled.columns == {"name", "rated_at"}
    assert compiled.sql == 'TRY("name" || TRY_CAST("rated_at" AS TEXT) || "name")'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("given_name ||", "no SQL expression: trouble at '||'"),
        ("'open", "no SQL expression: it is not complete"),
        ("nickname", "'nickname' is no column of contact; known are external_id, username"),
        ("CASE WHEN status = active THEN 1 END", "'active' is no column .*single quotes"),
        ("learner.email", "'learner.email': a column stands alone"),
        ("(SELECT max(email) FROM staging.learner)", "a subquery is not allowed"),
        ("email IN (SELECT email FROM x)", "a subquery or a table is not allowed"),
        ("EXISTS (SELECT 1)", "a subquery is not allowed"),
        ("email FROM staging.learner", "no FROM"),
        ("email; DROP TABLE sync.ledger", "no ';' and no statement"),
        ("email, username", "only one expression"),
        ("*", "'\\*' is not allowed"),
        ("email AS mail", "a name \\(AS\\) is not allowed"),
        ("GETENV('HOME')", "the function GETENV is not allowed; allowed are ABS"),
        ("read_text('/etc/passwd')", "the function READ_TEXT is not allowed"),
        ("now()", "the function NOW is not allowed"),
        ("current_date", "the function CURRENT_DATE is not allowed"),
        ("COUNT(email)", "the function COUNT is not allowed"),
        ("LAG(email) OVER (ORDER BY email)", "window function|function LAG"),
        ("$1", "a parameter is not allowed"),
        ("CAST(email AS blob)", "CAST to BLOB is not allowed"),
        ("given_name + 1", "the types don't fit"),
        ("COALESCE(country, 5)", "the types don't fit"),
        ("IF(status = 'a', 1, 'x')", "the types don't fit"),
        ("email[1]", "not allowed in an expression"),
        ("REPLACE(given_name, username, email)", "REPLACE takes what to replace and by what in single quotes"),
        ("REPLACE(" * 4 + "email" + ", 'a', 'aa')" * 4, "at most 3 REPLACE may make a text longer"),
        ("extra", "'extra' is no value but a JSON object: read an attribute of extra as in extra ->> 'department'"),
        ("CAST(extra AS text)", "'extra' is no value"),
        ("extra['dept']", "'extra' is no value"),
        ("extra -> 'dept'", "'extra' is no value"),
        ("extra.dept", "'extra.dept' names a table: read an attribute of extra"),
        ("'in ' || extra ->> 'dept'", "put it in parentheses: \\(extra ->> 'a'\\)"),
        ("email ->> 'dept'", "'->>' reads from extra alone"),
        ("extra ->> 'a' ->> 'b'", "'->>' reads from extra alone"),
        ("extra ->> email", "the attribute's name stands in single quotes"),
        ("extra ->> ('a' || email)", "the attribute's name stands in single quotes"),
        ("extra ->> 0", "the attribute's name stands in single quotes"),
        ("extra ->> ''", "the attribute's name stands in single quotes"),
        ("json_extract_string(extra, 'a')", "a JSON function is not allowed"),
        ("json_extract_path_text(extra, 'a', 'b')", "a JSON function is not allowed"),
        ("json_extract(extra, 'a')", "'extra' is no value"),
        ("json_extract(email, 'a')", "the function JSON_EXTRACT is not allowed"),
        ("extra ->> '$'", "'\\$' is no path to one attribute"),
        ("extra ->> '$[0]'", "is no path to one attribute"),
        ("extra ->> '$.a[*]'", "is no path to one attribute"),
        ("extra ->> '$..a'", "is no path to one attribute"),
        ("extra ->> '$.\"*\"'", "is no path to one attribute"),
        ("extra ->> '$.a[99999999999999999999]'", "is no path to one attribute"),
        ("extra ->> '/a'", "is no path to one attribute"),
        ("CAST(email AS int[])", "CAST to .* is not allowed"),
        ("(" * 500 + "1" + ")" * 500, "nested deeper than 40 levels"),
        ("NOT " * 400 + "true", "nested deeper than 40 levels"),
        ("'" + "x" * 2000 + "'", "longer than 2,000 characters"),
    ],
)
def test_another_expression_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        compile_expression(text, CrmObject.CONTACT)

    assert "\n" not in str(caught.value)


def test_the_columns_that_rules_judge_are_those_of_the_tables() -> None:
    types = {
        FieldType.TEXT: "VARCHAR",
        FieldType.EMAIL: "VARCHAR",
        FieldType.NUMBER: "DECIMAL(12,5)",
        FieldType.BOOLEAN: "BOOLEAN",
        FieldType.DATETIME: "TIMESTAMPTZ",
    }
    for entity, columns in ENTITY_COLUMNS.items():
        tables = {"source_id": "VARCHAR", **{n: kind for n, kind in TABLES[entity].items() if n != "extra"}}
        assert {name: types[kind] for name, kind in columns.items()} == tables
    assert all(set(words) <= set(COLUMNS[obj]) for obj, words in VOCABULARIES.items())


@pytest.mark.parametrize("text", ["given_name AND given_name", "(email) AND email", "UPPER(email) AND UPPER(email)"])
def test_a_text_that_is_no_truth_gives_nothing_and_no_failed_run(text: str) -> None:
    sql = compile_expression(text, CrmObject.CONTACT).sql
    assert duckdb.sql(f"SELECT {sql} FROM ({ROW})").fetchall() == [(None,)]


TOKENS = (
    "given_name email status ( ) , || + - / = < AND OR NOT CASE WHEN THEN ELSE END 'x' 1 NULL IS IN LIKE CAST( AS TEXT"
    " :: [ extra ->> '$.a' ; -- /* . ? $1 -> \" SELECT FROM EXISTS DISTINCT OVER UPPER( COALESCE( EXTRACT( year now() e'x' x'ab' \0 *"
)


@example(["given_name", "AND", "given_name"])
@given(st.lists(st.sampled_from(TOKENS.split()), max_size=9))
@settings(max_examples=300, deadline=None)
def test_any_text_is_compiled_or_refused_in_one_line(words: list[str]) -> None:
    try:
        compiled = compile_expression(" ".join(words), CrmObject.CONTACT)
    except ExpressionError as exc:
        assert len(str(exc).splitlines()) == 1  # noqa: PT017 - either is right
    else:
        duckdb.sql(f"SELECT {compiled.sql} FROM ({ROW})").fetchall()
