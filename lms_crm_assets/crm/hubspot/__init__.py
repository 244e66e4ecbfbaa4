"""HubSpot through hubspot-api-client, one concept a file."""

from lms_crm_assets.crm.hubspot.adapter import HubSpotAdapter

__all__ = ["HubSpotAdapter"]
