"""Live runs: what they need, what they leave behind, what they never show. The account is the sandbox's."""

import httpx
import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.contract.vendors.case_files import Case, Vendor, load
from tests.contract.vendors.endpoints import Endpoint, live_endpoint, missing_credentials
from tests.contract.vendors.playing import StepError, play
from tests.sandbox_control import records

KEYS = {"salesforce": ("Contact", "LMS_User_Id__c"), "hubspot": ("contacts", "lms_user_id")}


def environ(sandbox: Sandbox) -> dict[str, str]:
    return {
        "LIVE_SALESFORCE_URL": sandbox.salesforce,
        "LIVE_SALESFORCE_CLIENT_ID": "sandbox-client",
        "LIVE_SALESFORCE_CLIENT_SECRET": "sandbox-secret",
        "LIVE_HUBSPOT_URL": sandbox.hubspot,
        "LIVE_HUBSPOT_TOKEN": "pat-sandbox",
    }


def account(vendor: Vendor, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """A live account without its pauses."""
    monkeypatch.setattr(Endpoint, "pause_seconds", 0.01)
    return live_endpoint(vendor, environ(sandbox))


def case(vendor: Vendor, name: str) -> Case:
    return next(each for each in load(vendor) if each.name == name)


def held(vendor: Vendor, sandbox: Sandbox) -> list[str]:
    """The keys of the contacts that are neither deleted nor archived."""
    kind, key = KEYS[vendor]
    found = records(sandbox.salesforce if vendor == "salesforce" else sandbox.hubspot, kind)
    return [str(each.get(key) or each.get("properties", {}).get(key)) for each in found if not _gone(each)]


def _gone(record: dict[str, object]) -> bool:
    return bool(record.get("IsDeleted") or record.get("archived"))


@pytest.mark.parametrize(
    ("vendor", "name"),
    [("salesforce", "collections-one-bad-row-of-several"), ("hubspot", "upsert-in-part-with-trace-ids")],
)
def test_a_live_run_removes_what_it_wrote_and_nothing_else(
    vendor: Vendor, name: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = account(vendor, sandbox, monkeypatch)
    somebodys = {
        "salesforce": (f"/services/data/v68.0/sobjects/{KEYS[vendor][0]}", {"LastName": "X", KEYS[vendor][1]: "17"}),
        "hubspot": ("/crm/v3/objects/contacts", {"properties": {KEYS[vendor][1]: "17"}}),
    }
    path, body = somebodys[vendor]
    endpoint.client.post(path, json=body).raise_for_status()
    assert play(case(vendor, name), endpoint) == []
    assert len(held(vendor, sandbox)) == 3

    endpoint.clean_up()

    assert held(vendor, sandbox) == ["17"]
    endpoint.client.close()


def test_a_company_made_for_a_case_is_archived_with_it(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = account("hubspot", sandbox, monkeypatch)

    assert play(case("hubspot", "associate-by-default"), endpoint) == []

    assert [each for each in records(sandbox.hubspot, "companies") if not _gone(each)] == []
    endpoint.client.close()


def test_without_credentials_the_variables_are_named() -> None:
    some = {"LIVE_SALESFORCE_URL": "https://example.my.salesforce.com"}

    assert missing_credentials("salesforce", some) == (
        "no live salesforce account: LIVE_SALESFORCE_CLIENT_ID, LIVE_SALESFORCE_CLIENT_SECRET not set"
    )
    assert missing_credentials("hubspot", {}) == "no live hubspot account: LIVE_HUBSPOT_TOKEN not set"
    assert missing_credentials("hubspot", {"LIVE_HUBSPOT_TOKEN": "pat"}) == ""


def test_tokens_and_secrets_are_hidden(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = account("salesforce", sandbox, monkeypatch)
    mistaken = case("salesforce", "client-credentials-in-the-form")
    mistaken = mistaken.model_copy(update={"expect": mistaken.expect.model_copy(update={"body": {"error": "x"}})})

    said = "\n".join(play(mistaken, endpoint))

    assert '$.access_token: expected no such key, came "(hidden)"' in said
    assert "sandbox-secret" not in repr(endpoint)
    assert "sandbox-secret" not in endpoint.hidden("sandbox-client:sandbox-secret")
    endpoint.client.close()


def test_a_step_that_fails_is_no_difference(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = account("salesforce", sandbox, monkeypatch)
    httpx.post(f"{sandbox.salesforce}/_sandbox/reset").raise_for_status()

    with pytest.raises(StepError, match="answered 401"):
        play(case("salesforce", "upsert-updates"), endpoint)
    endpoint.client.close()
