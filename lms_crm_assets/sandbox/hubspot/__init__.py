"""A strict HubSpot over real HTTP: enough of the wire protocol for `hubspot-api-client` and its successors.

Wire facts come from HubSpot's OpenAPI specs, its documentation and recorded answers; what is not verified says so.
"""

from lms_crm_assets.sandbox.hubspot.simulator import HubSpotSimulator

__all__ = ["HubSpotSimulator"]
