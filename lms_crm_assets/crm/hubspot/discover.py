"""What HubSpot tells of its objects: properties, the schema's required ones, association labels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lms_crm_assets.contract.standard_objects import type_id
from lms_crm_assets.crm.discovery import CrmSchema, from_properties
from lms_crm_assets.crm.hubspot.answers import listed
from lms_crm_assets.crm.hubspot.client import HubSpotClient, PoolName
from lms_crm_assets.errors import PermissionMissingError, ProtocolError


def discover(client: HubSpotClient, to: str, parents: Iterable[str]) -> CrmSchema | None:
    """The object of that name, None when there is none."""
    paths = client.paths
    properties = _listed(client, to, paths.properties(to))
    if properties is None:
        return None
    try:
        required = client.read("GET", paths.schemas(to))["requiredProperties"]
    except (PermissionMissingError, ProtocolError):  # needs a scope of its own, and is not told of every object
        required = []
    labels = {
        parent: _listed(client, parent, paths.associations(to, parent, "labels"), "associations") or []
        for parent in parents
    }
    return from_properties(to, properties, required, labels)


def _listed(client: HubSpotClient, to: str, path: str, pool: PoolName = "") -> Sequence[Mapping[str, Any]] | None:
    """The results of a list, None when there is no object `to`."""
    try:
        return listed(client.read("GET", path, pool=pool), "results")
    except ProtocolError:  # no object of that name; what else can go wrong has errors of its own
        return None
    except PermissionMissingError:
        if _is_active(client, to):
            raise
        return None


def _is_active(client: HubSpotClient, to: str) -> bool:
    """Whether a standard object is there; until an admin has activated it, it answers as if a scope were missing."""
    try:
        told = client.read("GET", client.paths.activation(type_id(to)))
    except (PermissionMissingError, ProtocolError):  # not one that has to be activated
        return True
    return bool(told.get("enablement", True))
