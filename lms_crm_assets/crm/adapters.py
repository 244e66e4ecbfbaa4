"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import Contract, SalesforceDestination
from lms_crm_assets.crm.hubspot import HubSpotAdapter
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.crm.salesforce import SalesforceAdapter


def crm_adapter(contract: Contract) -> CrmAdapter:
    """The adapter for a contract's destination, at the contract's pace."""
    destination, limit = contract.destination, contract.throttle.crm
    if isinstance(destination, SalesforceDestination):
        return SalesforceAdapter(destination, limit)
    return HubSpotAdapter(destination, limit)
