"""When the API versions that a contract names come to their end, as their vendors have announced."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from lms_crm_assets.contract.destinations import HubSpotDestination, SalesforceDestination

WARNED_AHEAD = timedelta(days=90)

_SALESFORCE_POLICY = "Salesforce, API End-of-Life Policy"
_HUBSPOT_POLICY = "HubSpot, Developer platform and API versioning"
_HUBSPOT_CHANGELOG = "HubSpot changelog"
_SALESFORCE_REMEDY = "set destination.api_version to the newest version that the org offers"
_HUBSPOT_REMEDY = "set destination.api_version to the newest dated version"


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends when: `answers` tells whether it is answered still after that day, though without support."""

    what: str
    on: date
    answers: bool
    source: str
    remedy: str


# Up to this version, and when. Of a season no day is announced: the first of its first month is taken.
_SALESFORCE = (
    (30, date(2025, 6, 1), False),  # "As of Summer '25 … retired and unavailable"
    (40, date(2028, 6, 1), False),  # "Retired from Summer '28"
    (40, date(2027, 6, 1), True),  # "Deprecated and unsupported from Summer '27"
)
_HUBSPOT = {
    "v3": (
        # What the client library calls beside v3: associations.
        Ending("the HubSpot API v4", date(2027, 3, 30), False, _HUBSPOT_CHANGELOG, _HUBSPOT_REMEDY),
        Ending("support of the HubSpot API v3", date(2027, 9, 1), True, _HUBSPOT_CHANGELOG, _HUBSPOT_REMEDY),
    ),
    # Unsupported 18 months after it came.
    "2026-03": (
        Ending("support of the HubSpot API 2026-03", date(2027, 9, 1), True, _HUBSPOT_POLICY, _HUBSPOT_REMEDY),
    ),
    "2026-09": (
        Ending("support of the HubSpot API 2026-09", date(2028, 3, 1), True, _HUBSPOT_POLICY, _HUBSPOT_REMEDY),
    ),
}


def endings(destination: SalesforceDestination | HubSpotDestination) -> list[Ending]:
    """Every known end of what the destination's API version uses, the first one first."""
    if isinstance(destination, SalesforceDestination):
        return sorted(_of_salesforce(destination.api_version), key=lambda each: each.on)
    return sorted(_HUBSPOT.get(destination.api_version, ()), key=lambda each: each.on)


def nearing(destination: SalesforceDestination | HubSpotDestination, today: date) -> list[Ending]:
    """Those that have come, or come within the next 90 days."""
    return [each for each in endings(destination) if each.on - WARNED_AHEAD <= today]


def _of_salesforce(version: str) -> Iterator[Ending]:
    number = int(version.partition(".")[0])
    lowest = min((last for last, _, _ in _SALESFORCE if number <= last), default=None)
    for last, on, answers in _SALESFORCE:
        if last == lowest:
            what = f"{'support of ' if answers else ''}the Salesforce API {version}"
            yield Ending(what, on, answers, _SALESFORCE_POLICY, _SALESFORCE_REMEDY)
