"""The plan of what a CRM lacks, from what was discovered; needs no network."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.crm.acceptance import accept
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.crm.examine import Examination
from lms_crm_assets.crm.setup import Change, Crm, SetupPlan, What, plan
from lms_crm_assets.domain import CrmObject, FieldType

TEXT = FieldSpec('"title"', frozenset({"title"}), FieldType.TEXT)
KEY = CrmField("lms_id", "string", Kind.TEXT, unique=True, key=True)
SPEC = ObjectSpec(CrmObject.COURSE, "p_course", "lms_id", {}, {})
LINKED = replace(
    SPEC,
    object=CrmObject.ENROLLMENT,
    to="p_seat",
    parents={CrmObject.COURSE: ParentSpec("p_course", "lms_id", "default")},
)


def planned(spec: ObjectSpec, schema: CrmSchema | None, crm: Crm = "hubspot", *groups: str) -> SetupPlan:
    found = {spec.object: Examination(spec, schema, accept(spec, schema))}
    return plan(crm, found, {spec.to: frozenset(groups)})


def schema(*fields: CrmField, relations: Mapping[str, frozenset[str]] | None = None) -> CrmSchema:
    return CrmSchema("p_course", {field.name: field for field in (KEY, *fields)}, relations or {})


def made(changes: list[Change]) -> list[tuple[What, str]]:
    return [(change.what, change.name) for change in changes]


def test_a_crm_that_has_all_needs_nothing() -> None:
    assert planned(SPEC, schema()) == SetupPlan([], [])


def test_a_group_is_made_before_the_first_property_and_once() -> None:
    spec = replace(SPEC, fields={"lms_a": TEXT, "lms_b": TEXT})

    assert made(planned(spec, schema()).changes) == [
        (What.GROUP, "lms"),
        (What.PROPERTY, "lms_a"),
        (What.PROPERTY, "lms_b"),
    ]
    assert made(planned(spec, schema(), "hubspot", "lms").changes) == [
        (What.PROPERTY, "lms_a"),
        (What.PROPERTY, "lms_b"),
    ]


@pytest.mark.parametrize(("name", "crm"), [("LMS_A", "hubspot"), ("a-b", "hubspot"), ("Industry", "salesforce")])
def test_a_name_that_the_crm_would_not_take_is_left_for_the_contract(name: str, crm: Crm) -> None:
    found = planned(replace(SPEC, fields={name: TEXT}), schema(), crm)

    assert found.changes == []
    assert [finding.path[-1] for finding in found.left] == [name]


def test_a_multiple_choice_gets_each_of_its_words() -> None:
    topics = replace(TEXT, words=frozenset({"a;b", "b;c"}), normalisers=("choices",))
    (_, change) = planned(replace(SPEC, fields={"topics": topics}), schema()).changes

    assert (change.fields[0].words, change.fields[0].multiple) == (("a", "b", "c"), True)


def test_a_choice_that_takes_any_word_needs_no_option() -> None:
    held = CrmField("stage", "enumeration", Kind.PICKLIST, picklist=("a",))
    spec = replace(SPEC, fields={"stage": replace(TEXT, words=frozenset({"a", "b"}), normalisers=("lower",))})

    assert planned(spec, schema(held)).changes == []
    assert made(planned(spec, schema(replace(held, restricted=True))).changes) == [(What.OPTIONS, "stage")]


def test_objects_that_are_not_associated_are() -> None:
    nothing: Mapping[str, frozenset[str]] = {"p_course": frozenset()}
    tutor = replace(LINKED, parents={CrmObject.COURSE: ParentSpec("p_course", "lms_id", "Tutor")})

    assert made(planned(LINKED, schema(relations=nothing)).changes) == [(What.ASSOCIATION, "")]
    assert made(planned(tutor, schema(relations=nothing)).changes) == [(What.ASSOCIATION, ""), (What.LABEL, "Tutor")]
    known = {"p_course": frozenset({"default"})}
    assert made(planned(tutor, schema(relations=known)).changes) == [(What.LABEL, "Tutor")]


def test_a_new_object_comes_with_its_associations() -> None:
    (change,) = planned(LINKED, None).changes

    assert (change.what, change.name, change.parents) == (What.OBJECT, "seat", ("p_course",))
    assert [field.name for field in change.fields] == ["lms_id"]


@pytest.mark.parametrize("to", ["0-410", "2-1001", "courses"])
def test_an_object_that_is_not_ours_to_make_is_left(to: str) -> None:
    found = planned(replace(SPEC, to=to), None)

    assert found.changes == []
    assert len(found.left) == 1


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (TEXT, "Text(255)"),
        (replace(TEXT, max_length=80), "Text(80)"),
        (replace(TEXT, max_length=2000), "Long Text Area(2000)"),
        (replace(TEXT, type=FieldType.EMAIL), "Email"),
        (replace(TEXT, type=FieldType.NUMBER, scale=2), "Number(16, 2)"),
        (replace(TEXT, type=FieldType.BOOLEAN), "Checkbox"),
        (replace(TEXT, type=FieldType.DATETIME), "Date/Time"),
        (replace(TEXT, type=FieldType.DATETIME, normalisers=("date",)), "Date"),
        (replace(TEXT, words=frozenset({"b", "a"})), "Picklist: a, b"),
    ],
)
def test_salesforces_words_for_a_type(field: FieldSpec, said: str) -> None:
    (change,) = planned(replace(SPEC, fields={"A__c": field}), schema(), "salesforce").changes

    assert change.fields[0].description == said
