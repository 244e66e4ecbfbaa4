"""Discovery of both CRMs over HTTP, and the judgement on a contract, which needs no network."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec, object_spec
from lms_crm_assets.crm.acceptance import Finding, Severity, accept, unmapped
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind, from_describe, from_properties
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode
from tests.conftest import TENANTS, empty_store


def discovered(contract: Contract, to: str, *parents: str) -> CrmSchema | None:
    crm = crm_adapter(contract, empty_store())
    try:
        return crm.discover(to, parents)
    finally:
        crm.close()


def test_salesforce_describes_an_object(sandbox: Sandbox) -> None:  # noqa: ARG001 - sets the environment
    contract = load_contract(TENANTS, "acme")

    contact = discovered(contract, "Contact")
    completion = discovered(contract, "LMS_Completion__c", "Contact", "LMS_Course__c", "Account")

    assert contact is not None
    assert completion is not None
    assert contact.fields["LastName"] == CrmField(
        "LastName", "string", Kind.TEXT, length=80, required=True, nullable=False
    )
    assert [name for name, field in contact.fields.items() if field.required] == ["LastName"]
    key, status = contact.fields["LMS_User_Id__c"], contact.fields["LMS_Status__c"]
    assert (key.unique, key.key, key.length) == (True, True, 64)
    assert (status.kind, status.picklist, status.restricted) == (Kind.PICKLIST, ("active", "suspended"), True)
    assert not contact.fields["CreatedDate"].createable
    assert (completion.fields["Progress__c"].digits, completion.fields["Progress__c"].scale) == (3, 2)
    assert completion.fields["Contact__c"].references == ("Contact",)
    assert completion.relations == {"Contact": {"Contact__r"}, "LMS_Course__c": {"Course__r"}, "Account": set()}
    assert discovered(contract, "No_Such__c") is None


def test_hubspot_tells_properties_and_labels(sandbox: Sandbox) -> None:  # noqa: ARG001 - sets the environment
    contract = load_contract(TENANTS, "globex")

    course = discovered(contract, "0-410")
    completion = discovered(contract, "p_lms_completion", "contacts", "0-410", "nonsense")

    assert course is not None
    assert completion is not None
    assert course.fields["hs_course_name"].required
    assert (course.fields["lms_course_id"].unique, course.fields["lms_course_code"].unique) == (True, False)
    assert course.fields["lms_visible"].kind is Kind.BOOLEAN
    assert not course.fields["hs_object_id"].createable
    state = completion.fields["lms_state"]
    assert (state.kind, state.picklist) == (Kind.PICKLIST, ("not_started", "in_progress", "completed"))
    assert completion.relations == {"contacts": {"default"}, "0-410": {"default"}, "nonsense": set()}
    assert discovered(contract, "p_nonsense") is None


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_the_example_contracts_are_accepted(sandbox: Sandbox, tenant: str) -> None:  # noqa: ARG001 - as above
    contract = load_contract(TENANTS, tenant)
    for obj in contract.in_order():
        spec = object_spec(contract, obj)
        schema = discovered(contract, spec.to, *(parent.to for parent in spec.parents.values()))
        assert [f.text for f in accept(spec, schema) if f.severity is not Severity.NOTE] == []


def test_labels_that_a_portal_has_made_are_relations() -> None:
    labels: dict[str, list[dict[str, Any]]] = {
        "contacts": [{"label": None, "typeId": 1}, {"label": "Tutor", "typeId": 2}]
    }

    assert from_properties("x", [], [], labels).relations == {"contacts": {"default", "Tutor"}}


def test_a_master_detail_to_several_objects_is_a_relation_to_each() -> None:
    told = {
        "name": "Owner__c",
        "type": "reference",
        "length": 18,
        "scale": 0,
        "createable": True,
        "nillable": False,
        "defaultedOnCreate": False,
        "updateable": False,
        "unique": False,
        "externalId": False,
        "picklistValues": [],
        "restrictedPicklist": False,
        "referenceTo": ["Contact", "Lead"],
        "relationshipName": "Owner__r",
    }

    schema = from_describe({"name": "X", "fields": [told]}, ["contact", "Account"])

    assert schema.relations == {"contact": {"Owner__r"}, "Account": set()}
    assert schema.fields["Owner__c"].required


# The judgement: a small CRM object and a contract that it suits, and one change at a time.

CRM = CrmSchema(
    "Course",
    {
        "Key": CrmField("Key", "string", Kind.TEXT, 64, unique=True, key=True),
        "Name": CrmField("Name", "string", Kind.TEXT, 255, required=True),
        "Stage": CrmField("Stage", "picklist", Kind.PICKLIST, picklist=("Active", "Inactive"), restricted=True),
        "Points": CrmField("Points", "double", Kind.NUMBER, scale=2),
        "Open": CrmField("Open", "boolean", Kind.BOOLEAN),
        "Starts": CrmField("Starts", "datetime", Kind.DATETIME),
        "Born": CrmField("Born", "date", Kind.DATE),
        "Mail": CrmField("Mail", "email", Kind.EMAIL, 80),
        "Short": CrmField("Short", "string", Kind.TEXT, 2),
        "Fixed": CrmField("Fixed", "string", Kind.TEXT, 255, createable=False, updateable=False),
        "Once": CrmField("Once", "string", Kind.TEXT, 255, updateable=False),
        "Topics": CrmField(
            "Topics", "multipicklist", Kind.PICKLIST, picklist=("a", "b"), restricted=True, multiple=True
        ),
        "Loose": CrmField("Loose", "picklist", Kind.PICKLIST, picklist=("Test",)),
        "Summary": CrmField("Summary", "textarea", Kind.TEXT, 32_000, rich=True),
        "lifecyclestage": CrmField("lifecyclestage", "string", Kind.TEXT, 255),
        "Owner": CrmField("Owner", "reference", Kind.REFERENCE, references=("Contact",), relationship="Owner__r"),
    },
    {"Contact": frozenset({"Owner__r"})},
)
TEXT = FieldSpec('"title"', frozenset({"title"}), FieldType.TEXT)
SPEC = ObjectSpec(CrmObject.COURSE, "Course", "Key", {"Name": TEXT}, {})


def judged(field: str, spec: FieldSpec, mode: SyncMode = SyncMode.UPSERT) -> list[Finding]:
    return accept(replace(SPEC, fields={**SPEC.fields, field: spec}, mode=mode), CRM)


def test_what_fits_is_accepted() -> None:
    moment = replace(TEXT, type=FieldType.DATETIME)
    fields = {
        "Name": TEXT,
        "Stage": replace(TEXT, words=frozenset({"Active"})),
        "Points": replace(TEXT, type=FieldType.NUMBER, scale=2),
        "Open": replace(TEXT, type=FieldType.BOOLEAN),
        "Starts": moment,
        "Born": replace(moment, normalisers=("date",)),
        "Mail": replace(TEXT, type=FieldType.EMAIL, max_length=80),
        "Short": replace(TEXT, max_length=2),
        "Topics": replace(TEXT, normalisers=("choices",), words=frozenset({"b;a"})),
        "Loose": replace(TEXT, normalisers=("lower",)),
        "Summary": replace(TEXT, owner=Owner.FILL_IF_EMPTY),
        "Fixed": replace(TEXT, owner=Owner.OBSERVE),
    }
    parents = {CrmObject.CONTACT: ParentSpec("Contact", "Id", "Owner__r")}

    assert accept(replace(SPEC, fields=fields, parents=parents), CRM) == []


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("Nmae", {}, "Course has no field 'Nmae'; write 'Name', or make the field there"),
        ("name", {}, "Course has no field 'name'; write 'Name'"),
        ("Zzz", {}, "Course has no field 'Zzz'; make the field there"),
        ("Points", {}, "the CRM's type is double, the contract's text; use 'type: number'"),
        ("Mail", {}, "the CRM's type is email, the contract's text; use 'type: email'"),
        ("Open", {"type": FieldType.DATETIME}, "is boolean, the contract's datetime; use 'type: boolean'"),
        ("Name", {"type": FieldType.NUMBER}, "is string, the contract's number; use 'type: text'"),
        ("Owner", {}, "the CRM's type is reference, the contract's text; name it under 'parents'"),
        ("Born", {"type": FieldType.DATETIME}, "the CRM's field is a date; add 'normalise: [date]'"),
        ("Starts", {"type": FieldType.DATETIME, "normalisers": ("date",)}, "is a datetime; drop 'normalise: [date]'"),
        ("Points", {"type": FieldType.NUMBER}, "the CRM keeps 2 decimals, the contract compares 5.*use 'scale: 2'"),
        ("Short", {"max_length": 3}, "holds 2 characters, the contract sends up to 3; .*'max_length: 2'"),
        ("Short", {"words": frozenset({"yes", "no"})}, "holds 2 characters, the contract sends up to 3"),
        ("Fixed", {}, "'Fixed' can't be written; let the integration's user write it"),
        ("Once", {}, "'Once' can't be changed after creation"),
        ("Stage", {"words": frozenset({"Active", "gone"})}, "the picklist has no value 'gone'; add it there, or tran"),
        (
            "Topics",
            {"words": frozenset({"a"})},
            "several choices back in an order of its own, which would differ for ever; add 'normalise: [choi",
        ),
        ("Topics", {"words": frozenset({"b;c"}), "normalisers": ("choices",)}, "the picklist has no value 'c'"),
        (
            "Summary",
            {},
            "the CRM rewrites rich text, which would differ for ever; map a plain field, or use 'owner: fil",
        ),
        ("Name", {"owner": Owner.OBSERVE}, "can't be created without it, and 'observe' never writes"),
    ],
)
def test_what_does_not_fit_is_an_error_with_what_to_do(field: str, change: Mapping[str, Any], message: str) -> None:
    (found,) = judged(field, replace(TEXT, **change))

    assert found.severity is Severity.ERROR
    assert found.path == ("objects", "course", "fields", field)
    assert re.search(message.replace("[", r"\["), found.text), found.text


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("Loose", {}, "keeps a word in the spelling that it has already, 'Test' for 'TEST'; add 'normalise: [lower]'"),
        ("lifecyclestage", {}, "moves a lifecycle stage forwards only, and says nothing; use 'owner: fill_if_empty'"),
        ("Open", {"type": FieldType.BOOLEAN, "owner": Owner.FILL_IF_EMPTY}, "a checkbox of Salesforce is never empty"),
    ],
)
def test_what_may_never_come_to_rest_is_a_warning(field: str, change: Mapping[str, Any], message: str) -> None:
    (found,) = judged(field, replace(TEXT, **change))

    assert found.severity is Severity.WARNING
    assert message in found.text


def test_what_may_trouble_some_day_is_a_note() -> None:
    (short,) = judged("Short", TEXT)
    (open_words,) = judged("Stage", TEXT)

    assert short.severity is open_words.severity is Severity.NOTE
    assert "max_length: 2" in short.remedy
    assert open_words.remedy == "they are: Active, Inactive"


def test_an_open_picklist_only_warns() -> None:
    open_list = replace(CRM.fields["Stage"], restricted=False)
    spec = replace(SPEC, fields={"Name": TEXT, "Stage": replace(TEXT, words=frozenset({"gone"}))})

    (found,) = accept(spec, replace(CRM, fields={**CRM.fields, "Stage": open_list}))

    assert found.severity is Severity.WARNING


def test_a_field_that_is_set_once_suits_records_that_are_only_inserted() -> None:
    assert judged("Once", TEXT, SyncMode.INSERT) == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("Keys", "Course has no field 'Keys'; write 'Key'"),
        ("Name", "'Name' is not unique"),
        ("Points", "the field is a double; use a text field"),
        ("Fixed", "'Fixed' can't be written"),
    ],
)
def test_the_match_key_has_to_be_a_unique_text(key: str, message: str) -> None:
    found = accept(replace(SPEC, match_key=key), CRM)

    assert any(message in finding.text for finding in found), found
    assert {finding.path[:3] for finding in found} == {("objects", "course", "match_key")}


@pytest.mark.parametrize(("lacking", "message"), [("unique", "is not unique"), ("key", "is no external id")])
def test_a_match_key_is_unique_and_an_external_id(lacking: str, message: str) -> None:
    half = replace(CRM.fields["Key"], **{lacking: False})  # type: ignore[arg-type]  # both are booleans

    (found,) = accept(SPEC, replace(CRM, fields={**CRM.fields, "Key": half}))

    assert message in found.message
    assert "external id" in found.remedy


def test_an_object_that_is_not_there_is_one_error() -> None:
    (found,) = accept(SPEC, None)

    assert found.text.startswith("objects.course.to: the CRM has no object 'Course'; make it there")


def test_a_required_field_has_to_be_mapped_where_records_are_created() -> None:
    bare = replace(SPEC, fields={"Short": replace(TEXT, max_length=2)})

    (found,) = accept(bare, CRM)

    assert found.text == (
        "objects.course.fields: Course can't be created without 'Name', which is not mapped; map it, or give it a"
        " constant: Name: {value: …}"
    )
    assert accept(replace(bare, mode=SyncMode.UPDATE), CRM) == []
    # A flow of the CRM's fills it, as the contract says.
    assert (
        accept(replace(bare, filled_there=frozenset({"Name"})), CRM)
        == accept(replace(bare, filled_there=None), CRM)
        == []
    )
    assert accept(replace(bare, filled_there=frozenset({"Other"})), CRM) == [found]


def test_a_required_reference_is_filled_by_a_parent() -> None:
    owned = replace(CRM, fields={**CRM.fields, "Owner": replace(CRM.fields["Owner"], required=True)})
    parents = {CrmObject.CONTACT: ParentSpec("Contact", "Id", "Owner__r")}

    assert accept(replace(SPEC, parents=parents), owned) == []
    assert accept(SPEC, owned)[0].remedy.startswith("name it under 'parents'")


@pytest.mark.parametrize(
    ("to", "remedy"), [("Contact", "use one of: Owner__r"), ("Lead", "make a relationship from Course to Lead")]
)
def test_an_unknown_relationship_is_an_error(to: str, remedy: str) -> None:
    (found,) = accept(replace(SPEC, parents={CrmObject.CONTACT: ParentSpec(to, "Id", "Nobody__r")}), CRM)

    assert found.path == ("objects", "course", "parents", "contact")
    assert found.remedy.startswith(remedy)


def test_what_could_be_mapped_too_is_listed() -> None:
    spec = replace(SPEC, parents={CrmObject.CONTACT: ParentSpec("Contact", "Id", "Owner__r")})

    names = [field.name for field in unmapped(spec, CRM)]

    assert names == [
        "Born",
        "Loose",
        "Mail",
        "Once",
        "Open",
        "Points",
        "Short",
        "Stage",
        "Starts",
        "Summary",
        "Topics",
        "lifecyclestage",
    ]
