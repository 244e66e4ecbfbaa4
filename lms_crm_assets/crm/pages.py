"""Where people look at a record in the CRM."""

from urllib.parse import quote

from lms_crm_assets.contract.models import HubSpotDestination, SalesforceDestination
from lms_crm_assets.contract.standard_objects import type_id


def page_of(destination: SalesforceDestination | HubSpotDestination, to: str, crm_id: str) -> str | None:
    """The address of a record's page; None where the contract doesn't tell HubSpot's portal, which is part of it.

    Both are as the address bar of a browser has them, which no vendor promises. HubSpot's objects stand there by their type's
    id: custom ones by `2-…`, which a contract that names them `p_…` does not tell.
    """
    if isinstance(destination, SalesforceDestination):
        return f"{destination.url.rstrip('/')}/lightning/r/{quote(to, '')}/{quote(crm_id, '')}/view"
    kind = type_id(to)
    if destination.portal_id is None or not kind[:1].isdigit():
        return None
    return f"{destination.app_url.rstrip('/')}/contacts/{destination.portal_id}/record/{kind}/{quote(crm_id, '')}"
