"""How a tenant's CRM does, as the calls of all processes found it: looked up, without a call of our own."""

import math
from dataclasses import dataclass

from lms_crm_assets.contract.credentials import Resolve
from lms_crm_assets.contract.models import Contract, HubSpotDestination, SalesforceDestination
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.breaker import Breaker
from lms_crm_assets.ops.gate import gate_name
from lms_crm_assets.ops.quota import Quota
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore


@dataclass(frozen=True)
class CrmStanding:
    """Whether the breaker is open and since when, and the day's calls used and allowed where the CRM tells them."""

    is_open: bool
    down_seconds: float
    quota: tuple[int, int] | None


def crm_standing(contract: Contract, store: OperationalStore, quota_within_seconds: float = math.inf) -> CrmStanding:
    """The standing of the tenant's CRM; the quota is not known without its credential, or when it was told of longer ago."""
    destination = contract.destination
    down_seconds = Breaker(store, destination.url).down_seconds()
    try:
        quota = Quota(
            store, gate_name(destination.url, _credential(destination, secrets_of(contract.tenant, store)))
        ).known(quota_within_seconds)
    except CredentialError:
        quota = None
    return CrmStanding(down_seconds is not None, down_seconds or 0.0, quota)


def _credential(destination: SalesforceDestination | HubSpotDestination, secret_of: Resolve) -> str:
    """What the adapters enter their gates with."""
    if isinstance(destination, SalesforceDestination):
        refs = [destination.client_id]
    elif destination.flow == "token":
        refs = [destination.access_token]
    else:
        refs = [destination.client_id, destination.refresh_token]
    return " ".join(secret_of(str(ref)).get_secret_value() for ref in refs)
