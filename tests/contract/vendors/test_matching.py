"""The matcher documents: what matches, and what is said when it does not."""

from typing import Any

import pytest

from tests.contract.vendors.case_files import filled, parsed
from tests.contract.vendors.matching import differences


def document(text: str) -> Any:
    """The expected body of a case, as a file holds it."""
    lines = "".join(f"\n      {line}" for line in text.splitlines())
    case = f"- name: x\n  source: the tests of the matcher\n  request: {{path: /}}\n  expect:\n    status: 200\n    body:{lines}\n"
    return parsed(case, "salesforce", "x")[0].expect.body


def found(text: str, actual: Any) -> list[str]:
    return [str(each) for each in differences(document(text), actual)]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("5", 5),
        ("{a: [1, x], b: null}", {"a": [1, "x"], "b": None}),
        ("!any", None),
        ("!text", "x"),
        ("!int", 0),
        ("!moment", "2026-11-24T21:07:02.000Z"),
        ("!moment", "2026-11-24T21:07:02.000+0000"),
        ("!digits", "42"),
        ("!digits", 42),
        ("!digits 42", "42"),
        ("!id18", "001D000000IqhSLIAZ"),
        ("!regex ^a+$", "aaa"),
        ("!regex 5", "5"),
        ('{"a?": 1, b: 2}', {"b": 2}),
        ('{"a?": 1, b: 2}', {"a": 1, "b": 2}),
        ("!subset {a: 1}", {"a": 1, "b": 2}),
        ("!unordered [1, !any , 2]", [2, 1, 3]),
        ("!each {a: !int }", [{"a": 1}, {"a": 2}]),
        ("!each [!text ]", ["x", "y"]),
        ("!some [!regex b]", ["a", "b"]),
        ("!one_of [1, !text ]", "x"),
        ("!as_json {a: !int }", '{"a": 5}'),
        ("!repeat [2, {key: 'k{n}'}]", [{"key": "k0"}, {"key": "k1"}]),
        ("!filler 3", "xxx"),
    ],
)
def test_a_document_matches(expected: str, actual: Any) -> None:
    assert found(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        ("5", "5", ['$: expected 5, came "5"']),
        ("1", True, ["$: expected 1, came true"]),
        ("59.0", 59, ["$: expected 59.0, came 59"]),
        ("!text", " ", ['$: expected !text, came " "']),
        ("!int", True, ["$: expected !int, came true"]),
        ("!digits 42", 43, ["$: expected !digits 42, came 43"]),
        ("!moment", "2026-11-24T21:07:02", ['$: expected !moment, came "2026-11-24T21:07:02"']),
        ("!id18", "001D000000IqhSLIAA", ['$: expected !id18, came "001D000000IqhSLIAA"']),
        ("!regex ^a$", "b", ['$: expected !regex "^a$", came "b"']),
        ("{a: {b: [1, 2]}}", {"a": {"b": [1, 3]}}, ["$.a.b[1]: expected 2, came 3"]),
        ("{a: 1}", {"b": 2}, ["$.a: expected 1, came no such key", "$.b: expected no such key, came 2"]),
        ('{"a?": 1}', {"a": 2}, ["$.a: expected 1, came 2"]),
        ("[1]", [1, 2], ["$: expected 1 elements, came 2: [1, 2]"]),
        ("!subset {a: 1}", {"b": 2}, ["$.a: expected 1, came no such key"]),
        ("!subset {a: 1}", [], ["$: expected an object, came []"]),
        ("!unordered [1, 2]", [1, 3], ["$[*]: expected 2, came only 3"]),
        ("!unordered [1]", [1, 3], ["$[*]: expected no other element, came 3"]),
        ("!each 1", [], ["$: expected a list that is not empty, came []"]),
        ("!each 1", [1, 2], ["$[1]: expected 1, came 2"]),
        ("!some 1", [2], ["$: expected !some 1, came [2]"]),
        ("!one_of [1, 2]", 3, ["$: expected !one_of [1, 2], came 3"]),
        ("!as_json 1", "x", ['$: expected JSON in a text, came "x"']),
    ],
)
def test_a_difference_names_its_place(expected: str, actual: Any, said: list[str]) -> None:
    assert found(expected, actual) == said


def test_unordered_elements_find_the_partner_that_leaves_most_for_the_others() -> None:
    assert found("!unordered [!any , !int , 1]", [1, "x", 2]) == []


def test_a_long_value_is_cut() -> None:
    (said,) = found("1", "x" * 500)

    assert len(said) < 400
    assert said.endswith("… (502 characters)")


def test_names_in_braces_are_filled_in() -> None:
    values = {"prefix": "a.b", "id": 5}
    expected = filled(document("[!regex '^{prefix}-[0-9]{2}$' , '{id}', 'x{id}', !subset {k: '{prefix}'} ]"), values)

    assert list(differences(expected, ["a.b-12", 5, "x5", {"k": "a.b", "other": 1}])) == []
    assert [str(each) for each in differences(expected[0], "aXb-12")] != []


def test_a_name_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="unknown"):
        filled("{unknown}", {})


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("  options: {daily_limit: 1}\n", "say in sandbox_only why"),
        ("  expects: 5\n", "Extra inputs are not permitted"),
    ],
)
def test_a_case_that_is_mistyped_is_refused(line: str, complaint: str) -> None:
    case = "- name: x\n  source: the tests of the matcher\n  request: {path: /}\n  expect: {status: 200, body: !any }\n"

    with pytest.raises(ValueError, match=complaint):
        parsed(case + line, "salesforce", "x")


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(Exception, match="unknown tag !txt"):
        document("!txt")
