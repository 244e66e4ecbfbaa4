"""A proposed mapping takes what the CRM has under the usual name or one that means the same, and nothing that can't hold it."""

from dataclasses import replace
from pathlib import Path

import pytest

from lms_crm_assets.contract.canonical import COLUMNS
from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.acceptance import accept
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.domain import CrmObject, Owner
from lms_crm_assets.proposal.document import contract_text
from lms_crm_assets.proposal.ends import adapters, completed
from lms_crm_assets.proposal.mapping import ProposedField, objects_given, propose, usual_names, without_misfits
from lms_crm_assets.proposal.usual import USUAL

SOURCE = {"adapter": "changes", "url": "https://lms.test", "token": "env:TOKEN"}
DESTINATIONS = {
    "salesforce": {
        "adapter": "salesforce",
        "url": "https://crm.test",
        "client_id": "env:ID",
        "client_secret": "env:SECRET",
    },
    "hubspot": {"adapter": "hubspot", "access_token": "env:TOKEN"},
}
NAME = CrmField("FirstName", "string", Kind.TEXT, length=40)
COUNTRY = CrmField("Land__c", "string", Kind.TEXT, length=255, label="LMS Country")
KEY = CrmField("Learner_ID__c", "string", Kind.TEXT, unique=True, key=True)


def contact(*fields: CrmField) -> dict[str, ProposedField]:
    """The proposed lines of a Salesforce contact with these fields, by column."""
    schema = CrmSchema("Contact", {field.name: field for field in fields})
    names = usual_names("salesforce", [CrmObject.CONTACT], {})
    (proposed,) = propose("salesforce", names, {CrmObject.CONTACT: schema})
    return {field.column: field for field in proposed.fields}


def written(crm: str, names: dict[CrmObject, str], schemas: dict[CrmObject, CrmSchema | None]) -> Contract:
    text = contract_text("new", SOURCE, DESTINATIONS[crm], propose(crm, names, schemas))
    return parse_contract(text, Path("new.yaml"), {})


@pytest.mark.parametrize("crm", ["salesforce", "hubspot"])
def test_the_usual_names_are_a_valid_contract_that_writes_nothing_by_itself(crm: str) -> None:
    contract = written(crm, usual_names(crm, list(CrmObject), {}), {})

    assert list(contract.in_order()) == list(CrmObject)
    assert not contract.guardrails.auto_apply
    assert {obj: set(usual.fields) - COLUMNS[obj].keys() for obj, usual in USUAL[crm].items() if usual} == {
        obj: set() for obj in CrmObject
    }


def test_of_a_crm_that_was_not_asked_the_contract_does_not_say_what_it_lacks() -> None:
    proposed = propose("hubspot", usual_names("hubspot", list(CrmObject), {}), {})

    assert "not there yet" not in contract_text("new", SOURCE, DESTINATIONS["hubspot"], proposed, asked=False)
    assert "to: contacts  # not there yet" in contract_text("new", SOURCE, DESTINATIONS["hubspot"], proposed)


def test_a_field_is_found_by_its_label_and_what_the_crm_came_with_is_only_filled() -> None:
    found = contact(NAME, COUNTRY)

    assert found["given_name"] == ProposedField("FirstName", "given_name", True, Owner.FILL_IF_EMPTY, 40)
    assert found["country"] == ProposedField("Land__c", "country", True)
    assert not found["username"].is_there


def test_of_two_that_mean_the_same_none_is_guessed() -> None:
    found = contact(COUNTRY, replace(COUNTRY, name="Country__c"))

    assert (found["country"].crm_field, found["country"].is_there) == ("LMS_Country__c", False)


def test_a_field_that_nobody_may_write_is_not_proposed() -> None:
    assert not contact(replace(COUNTRY, updateable=False))["country"].is_there


def test_the_key_is_one_that_is_there() -> None:
    names = usual_names("salesforce", [CrmObject.CONTACT], {})
    schema = CrmSchema("Contact", {KEY.name: KEY})
    (proposed,) = propose("salesforce", names, {CrmObject.CONTACT: schema})

    assert (proposed.match_key, proposed.has_key) == ("Learner_ID__c", True)
    assert "Contact.LMS_Username__c" in proposed.lacks


def test_what_can_not_hold_the_values_is_left_out() -> None:
    schema = CrmSchema("Contact", {"Email": CrmField("Email", "double", Kind.NUMBER)})
    names = usual_names("salesforce", [CrmObject.CONTACT], {})
    schemas: dict[CrmObject, CrmSchema | None] = {CrmObject.CONTACT: schema}
    (proposed,) = propose("salesforce", names, schemas)
    spec = object_spec(written("salesforce", names, schemas), CrmObject.CONTACT)

    kept = without_misfits(proposed, accept(spec, schema)).fields
    assert "email" not in {field.column for field in kept}
    assert "username" in {field.column for field in kept}


def test_objects_come_with_their_parents_and_without_what_the_lms_has_not() -> None:
    assert objects_given("moodle", [CrmObject.COMPLETION]) == [
        CrmObject.CONTACT,
        CrmObject.COURSE,
        CrmObject.COMPLETION,
    ]
    assert CrmObject.COMPETENCY not in objects_given("thinkific", None)


@pytest.mark.parametrize("end", ["source", "destination"])
def test_what_an_end_needs_is_taken_for_a_variable_or_asked_for(end: str) -> None:
    for adapter in adapters(end):
        values, asked = completed("new", end, {"adapter": adapter})
        assert {name for name, _ in asked} <= {"url", "token_url", "subdomain", "username"}
        assert all(str(ref).startswith("env:NEW_") for name, ref in values.items() if name != "adapter")
