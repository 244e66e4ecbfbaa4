"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import Contract, SalesforceDestination
from lms_crm_assets.crm.hubspot import HubSpotAdapter
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.crm.salesforce import SalesforceAdapter
from lms_crm_assets.ops.store import OperationalStore


def crm_adapter(contract: Contract, store: OperationalStore) -> CrmAdapter:
    """The adapter for a contract's destination, at the contract's pace."""
    destination = contract.destination
    if isinstance(destination, SalesforceDestination):
        return SalesforceAdapter(contract, destination, store)
    return HubSpotAdapter(contract, destination, store)
