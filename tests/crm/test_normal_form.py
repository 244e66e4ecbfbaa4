"""One spelling for each value: what is equal, what stays what it is, and that the form is stable."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.contract.spec import FieldSpec
from lms_crm_assets.crm.normal_form import is_readable, normal_form, without_trailing_zeros
from lms_crm_assets.domain import FieldType, Owner


@pytest.mark.parametrize(
    ("kind", "scale", "given_values", "expected"),
    [
        (FieldType.NUMBER, 2, ["71.8", "71.80000", "7.18e1", "71.804"], "71.80"),
        (FieldType.NUMBER, 0, ["3", "3.0", "2.6"], "3"),
        (FieldType.BOOLEAN, 5, ["true", "True", "1", "t"], "true"),
        (FieldType.DATETIME, 5, ["2026-11-22T22:50:00.000+0000", "2026-11-22 22:50:00+00"], "2026-11-22T22:50:00Z"),
        (FieldType.EMAIL, 5, ["A@B.test", " a@b.test\n"], "a@b.test"),
        (FieldType.TEXT, 5, ["", "  ", "\t\n", "\u00a0\u3000 \ufeff"], None),
        (FieldType.TEXT, 5, ["a\u00a0b", "\u200ba\u00a0b\u2028", "\u3000a\u00a0b\v"], "a\u00a0b"),
        (FieldType.TEXT, 5, ["a\nb", "a\r\nb\r\n", " a\rb"], "a\nb"),
        (FieldType.NUMBER, 5, ["", " ", "\u00a0"], None),
        (
            FieldType.NUMBER,
            5,
            ["12345678901234567", "12345678901234568.0", "1.2345678901234568e16"],
            "12345678901234568.00000",
        ),
        (FieldType.NUMBER, 2, ["-99999999999.994", "-99999999999.99"], "-99999999999.99"),
        # What is no value of the type stays what it is: it equals nothing, and is no empty field.
        (FieldType.NUMBER, 5, ["85,5", " 85,5 "], "85,5"),
        (FieldType.BOOLEAN, 5, ["oui"], "oui"),
        (FieldType.DATETIME, 5, ["soon"], "soon"),
    ],
)
def test_different_spellings_have_one_normal_form(
    kind: FieldType, scale: int, given_values: list[str], expected: str | None
) -> None:
    expression = normal_form("v", FieldSpec("v", frozenset(), kind, scale=scale))
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for value in given_values:
            assert con.execute(f"SELECT {expression} FROM (SELECT $1 AS v)", [value]).fetchall() == [(expected,)], value


NORMALISERS = ("trim", "lower", "upper", "country", "choices")


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.text(st.sampled_from(" \t\r\n\u00a0;;aAbBßİé1-.,"), max_size=8), min_size=1, max_size=20),
    kind=st.sampled_from(FieldType),
    normalisers=st.lists(st.sampled_from(NORMALISERS), max_size=3, unique=True),
    owner=st.sampled_from(Owner),
)
def test_a_normal_form_is_its_own_normal_form(
    values: list[str], kind: FieldType, normalisers: list[str], owner: Owner
) -> None:
    chosen = tuple(normalisers) if kind in {FieldType.TEXT, FieldType.EMAIL} else ()
    form = normal_form("v", FieldSpec("v", frozenset(), kind, owner, normalisers=chosen))
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        once = con.execute(f"SELECT {form} FROM (SELECT unnest($1::VARCHAR[]) AS v)", [values]).fetchall()
        again = con.execute(
            f"SELECT {form} FROM (SELECT unnest($1::VARCHAR[]) AS v)", [[o[0] for o in once]]
        ).fetchall()

    assert again == once


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("2024-04-03", True),
        ("2024-04-03 05:06:07+02", True),
        ("03-04-24", False),
        ("24-03-04", False),
        ("infinity", False),
        ("epoch", True),
        ("0044-03-15 (BC)", False),
        ("soon", False),
    ],
)
def test_a_moment_that_can_t_be_meant_is_not_readable(text: str, *, readable: bool) -> None:
    spec = FieldSpec("v", frozenset(), FieldType.DATETIME)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        query = f"SELECT {is_readable('f', spec)} FROM (SELECT {normal_form('v', spec)} AS f FROM (SELECT $1 AS v))"
        assert con.execute(query, [text]).fetchall() == [(readable,)]


def test_several_choices_have_no_order() -> None:
    expression = normal_form("v", FieldSpec("v", frozenset(), FieldType.TEXT, normalisers=("lower", "choices")))
    with duckdb.connect() as con:
        found = con.execute(f"SELECT {expression} FROM unnest(['b;a', 'A; b;;a', ';', NULL]) t(v)").fetchall()

    assert found == [("a;b",), ("a;b",), (None,), (None,)]


def test_numbers_are_shown_without_trailing_zeros() -> None:
    assert [without_trailing_zeros(n) for n in ("71.80000", "70.00", "70", "0.00")] == ["71.8", "70", "70", "0"]
