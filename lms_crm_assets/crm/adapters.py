"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import HubSpotDestination, SalesforceDestination
from lms_crm_assets.crm.hubspot import HubSpotAdapter
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.crm.salesforce import SalesforceAdapter


def crm_adapter(destination: SalesforceDestination | HubSpotDestination) -> CrmAdapter:
    """The adapter for a contract's destination."""
    if isinstance(destination, SalesforceDestination):
        return SalesforceAdapter(destination)
    return HubSpotAdapter(destination)
