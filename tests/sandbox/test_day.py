"""`POST /_sandbox/day`: a CRM's day passes, and other programs of its account use calls of it."""

from collections.abc import Iterator

import httpx
import pytest

from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from lms_crm_assets.sandbox.thinkific import ThinkificSimulator
from tests.salesforce_server import DATA, Clock, signed_in
from tests.simulator_server import serving

HALF_A_DAY = 43_200


@pytest.fixture
def hubspot() -> Iterator[httpx.Client]:
    with (
        serving(HubSpotSimulator(daily_limit=10)) as url,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer pat-sandbox"}) as api,
    ):
        yield api


def passed(api: httpx.Client, **what: float) -> dict[str, int]:
    told: dict[str, int] = api.post("/_sandbox/day", json=what).raise_for_status().json()
    return told


def test_hubspots_day_is_used_up_by_others_and_comes_anew(hubspot: httpx.Client) -> None:
    contacts = "/crm/v3/objects/contacts"
    assert hubspot.get(contacts).headers["X-HubSpot-RateLimit-Daily-Remaining"] == "9"
    assert passed(hubspot, calls=8) == {"used": 9, "allowed": 10}
    assert hubspot.get(contacts).status_code == 200
    refused = hubspot.get(contacts)
    assert (refused.status_code, refused.json()["policyName"]) == (429, "DAILY")

    assert passed(hubspot, seconds=HALF_A_DAY, calls=99) == {"used": 10, "allowed": 10}
    assert hubspot.get(contacts).status_code == 429
    assert passed(hubspot, seconds=HALF_A_DAY) == {"used": 0, "allowed": 10}
    assert hubspot.get(contacts).status_code == 200


def test_salesforces_day_is_that_of_utc() -> None:
    with serving(SalesforceSimulator(clock=Clock(), daily_limit=10)) as url, signed_in(url) as api:
        passed(api, calls=99)
        refused = api.get(f"{DATA}/limits")
        assert (refused.status_code, refused.json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")

        passed(api, seconds=2 * HALF_A_DAY)
        assert api.get(f"{DATA}/limits").headers["Sforce-Limit-Info"] == "api-usage=1/10"


@pytest.mark.parametrize("what", [{"seconds": -1}, {"calls": 1.5}, {"calls": True}, {"days": 1}, []])
def test_time_does_not_go_back(hubspot: httpx.Client, what: object) -> None:
    assert hubspot.post("/_sandbox/day", json=what).status_code == 400


def test_a_system_without_a_days_limit_says_so() -> None:
    with serving(ThinkificSimulator()) as url:
        assert "no calls of a day" in httpx.post(f"{url}/_sandbox/day", json={}).text
