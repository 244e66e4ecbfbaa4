"""The ends of API versions, by the vendors' calendars."""

from datetime import date

import pytest

from lms_crm_assets.contract.destinations import HubSpotDestination, SalesforceDestination
from lms_crm_assets.crm.lifecycle import endings, nearing


def salesforce(version: str) -> SalesforceDestination:
    return SalesforceDestination(adapter="salesforce", url="https://acme.my.salesforce.com", api_version=version)


def hubspot(version: str) -> HubSpotDestination:
    return HubSpotDestination.model_validate({"adapter": "hubspot", "api_version": version})


@pytest.mark.parametrize(
    ("destination", "today", "told"),
    [
        (salesforce("68.0"), date(2040, 1, 1), []),
        (salesforce("41.0"), date(2040, 1, 1), []),
        (salesforce("40.0"), date(2027, 3, 2), []),
        (salesforce("40.0"), date(2027, 3, 3), [("support of the Salesforce API 40.0", True)]),
        (salesforce("31.0"), date(2028, 6, 1), [("support of the Salesforce API 31.0", True), ("the Salesforce API 31.0", False)]),
        (salesforce("30.0"), date(2026, 11, 27), [("the Salesforce API 30.0", False)]),
        (hubspot("v3"), date(2026, 12, 29), []),
        (hubspot("v3"), date(2026, 12, 30), [("the HubSpot API v4", False)]),
        (hubspot("v3"), date(2027, 9, 1), [("the HubSpot API v4", False), ("support of the HubSpot API v3", True)]),
        (hubspot("2026-03"), date(2027, 6, 3), [("support of the HubSpot API 2026-03", True)]),
        (hubspot("2026-09"), date(2027, 6, 3), []),
    ],
)  # fmt: skip
def test_an_end_is_told_ninety_days_ahead(
    destination: SalesforceDestination | HubSpotDestination, today: date, told: list[tuple[str, bool]]
) -> None:
    assert [(each.what, each.answers) for each in nearing(destination, today)] == told


def test_every_version_that_a_contract_may_name_has_a_known_end_or_is_current() -> None:
    versions = HubSpotDestination.model_json_schema()["properties"]["api_version"]["enum"]

    assert all(endings(hubspot(version)) for version in versions)
    assert endings(salesforce("68.0")) == []
