"""What HubSpot tells of its objects: properties, the schema's required ones, association labels."""

from collections.abc import Iterable, Mapping
from typing import Any

from lms_crm_assets.crm.discovery import CrmSchema, from_properties
from lms_crm_assets.crm.hubspot.client import HubSpotClient
from lms_crm_assets.errors import PermissionMissingError, ProtocolError


def discover(client: HubSpotClient, to: str, parents: Iterable[str]) -> CrmSchema | None:
    """The object of that name, None when there is none."""
    paths = client.paths
    try:
        properties = client.read("GET", paths.properties(to))["results"]
    except ProtocolError:  # no object of that name; what else can go wrong has errors of its own
        return None
    try:
        required = client.read("GET", paths.schemas(to))["requiredProperties"]
    except (PermissionMissingError, ProtocolError):  # needs a scope of its own, and is not told of every object
        required = []
    labels: dict[str, list[Mapping[str, Any]]] = {}
    for parent in parents:
        try:
            labels[parent] = client.read("GET", paths.associations(to, parent, "labels"), pool="associations")[
                "results"
            ]
        except ProtocolError:  # as above, for the parent's name
            labels[parent] = []
    return from_properties(to, properties, required, labels)
