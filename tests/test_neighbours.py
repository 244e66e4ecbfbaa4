"""Which tenants write to the same records, told from contracts and the secrets that they name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.neighbours import neighbours
from lms_crm_assets.ops.store import OperationalStore
from tests.conftest import TENANTS

Told = Callable[..., list[str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What one of `first` is told beside `second`, each an example with some keys changed."""
    for name in ("ACME_LMS_URL", "GLOBEX_LMS_URL"):
        monkeypatch.setenv(name, "https://lms.test")
    monkeypatch.setenv("ACME_CRM_URL", "https://acme.my.salesforce.test")
    monkeypatch.setenv("GLOBEX_CRM_URL", "https://api.hubapi.test")
    for name, value in (("ONE", "pat-1"), ("SAME", "pat-1"), ("OTHER", "pat-2")):
        monkeypatch.setenv(name, value)
    (tmp_path / "tenants").mkdir()
    store = OperationalStore(tmp_path / "state")

    def ask(example: str, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
        for tenant, changes in (("first", first), ("second", second)):
            content = yaml.safe_load((TENANTS / f"{example}.yaml").read_bytes())
            content["tenant"] = tenant
            content["destination"] |= changes.get("destination", {})
            content["objects"] = {"contact": content["objects"]["contact"] | changes.get("contact", {})}
            (tmp_path / "tenants" / f"{tenant}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return list(neighbours(load_contract(tmp_path / "tenants", "first"), tmp_path / "tenants", store))

    return ask


@pytest.mark.parametrize(
    "second",
    [
        {"contact": {"match_key": "lms_user_id__C"}},
        {"destination": {"url": "https://ACME.my.salesforce.test:443/"}},
    ],
)
def test_one_org_one_object_one_match_key_is_told(told: Told, second: dict[str, Any]) -> None:
    assert told("acme", {}, second) == [
        "second writes to the same records of the same CRM account: contact (Contact.LMS_User_Id__c)"
    ]


def test_an_object_of_two_names_is_one(told: Told) -> None:
    token = {"destination": {"access_token": "env:ONE"}}
    assert told("globex", token, {**token, "contact": {"to": "0-1"}}) == [
        "second writes to the same records of the same CRM account: contact (contacts.lms_user_id)"
    ]


@pytest.mark.parametrize(
    "second",
    [
        {"destination": {"url": "https://other.my.salesforce.test"}},
        {"contact": {"match_key": "LMS2_User_Id__c"}},
        {"contact": {"to": "Lead"}},
    ],
)
def test_another_org_object_or_match_key_is_none(told: Told, second: dict[str, Any]) -> None:
    assert told("acme", {}, second) == []


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ({"access_token": "env:ONE"}, {"access_token": "env:SAME"}, True),
        ({"access_token": "env:ONE"}, {"access_token": "env:OTHER"}, False),
        ({"access_token": "env:ONE", "portal_id": 7}, {"access_token": "env:OTHER", "portal_id": 7}, True),
        ({"access_token": "env:ONE", "portal_id": 7}, {"access_token": "env:OTHER", "portal_id": 8}, False),
        ({"access_token": "env:UNSET"}, {"access_token": "env:UNSET"}, False),
        (
            {"access_token": "env:ONE", "url": "https://api.hubapi.com"},
            {"access_token": "env:SAME", "url": "https://api-eu1.hubapi.com"},
            True,
        ),
    ],
)
def test_a_portal_is_told_by_its_id_or_its_token(
    told: Told, first: dict[str, Any], second: dict[str, Any], *, is_one: bool
) -> None:
    assert bool(told("globex", {"destination": first}, {"destination": second})) is is_one


def test_a_contract_that_can_not_be_read_is_none_of_our_business(told: Told, tmp_path: Path) -> None:
    told("acme", {}, {})
    (tmp_path / "tenants" / "second.yaml").write_text("tenant: [", encoding="utf-8")
    (tmp_path / "tenants" / "third.yaml").write_text("url: ${NOWHERE}", encoding="utf-8")

    first = load_contract(tmp_path / "tenants", "first")
    assert list(neighbours(first, tmp_path / "tenants", OperationalStore(tmp_path / "state"))) == []
