"""A CRM beside another tenant's."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.examine import examine
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.discovery.changes import Change, Effect
from lms_crm_assets.discovery.crm_schema import keep
from lms_crm_assets.discovery.likeness import ask_other, likeness, store_other
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.warehouse.connection import connect
from tests.conftest import TENANTS, empty_store

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_what_the_other_crm_lacks_is_told_and_what_it_has_more_is_not(sandbox: Sandbox, tmp_path: Path) -> None:  # noqa: ARG001 - sets the environment
    here = load_contract(TENANTS, "acme")
    production = here.model_copy(update={"tenant": "production", "objects": {}})
    specs = {obj: object_spec(here, obj) for obj in here.in_order()}
    store = empty_store()
    with connect(tmp_path / "w.duckdb") as con:
        keep(con, examine(here, store), NOW)
        assert likeness(con, "production", specs) is None

        other = ask_other(here, production, store)
        store_other(con, other, NOW)
        alike = likeness(con, "production", specs)
        assert alike is not None
        assert (alike.trouble, {obj: [] for obj in specs}) == ("", alike.lacks)

        contact, course = other.schemas[CrmObject.CONTACT], other.schemas[CrmObject.COURSE]
        assert contact is not None
        assert course is not None
        short = replace(contact.fields["LMS_Username__c"], length=10)
        free = replace(short, name="More__c")
        fields = {**contact.fields, short.name: short, free.name: free}
        del fields["LMS_Country__c"]
        changed = {**other.schemas, CrmObject.CONTACT: replace(contact, fields=fields), CrmObject.COURSE: None}
        store_other(con, replace(other, schemas=changed), NOW)
        found = likeness(con, "production", specs)

    assert found is not None
    assert [(each.field, each.change, each.effect) for each in found.lacks[CrmObject.CONTACT]] == [
        ("LMS_Country__c", Change.FIELD_GONE, Effect.BLOCK),
        ("LMS_Username__c", Change.LENGTH, Effect.ALERT),
    ]
    assert [each.change for each in found.lacks[CrmObject.COURSE]] == [Change.OBJECT_GONE]


def test_what_can_not_be_compared_is_trouble_and_no_error(
    sandbox: Sandbox,  # noqa: ARG001 - sets the environment
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, other = load_contract(TENANTS, "acme"), load_contract(TENANTS, "globex")
    vendors = ask_other(here, other, empty_store())
    assert (dict(vendors.schemas), vendors.trouble) == ({}, "globex is of hubspot, acme of salesforce")

    monkeypatch.setenv("ACME_CRM_CLIENT_SECRET", "wrong")
    refused = ask_other(here, here, empty_store())
    assert refused.trouble
    assert "wrong" not in refused.trouble
    with connect(tmp_path / "w.duckdb") as con:
        store_other(con, refused, NOW)
        found = likeness(con, "acme", {})
    assert found is not None
    assert (found.trouble, dict(found.lacks)) == (refused.trouble, {})
