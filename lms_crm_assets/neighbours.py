"""Tenants that write to the same records: one CRM account, one object in it, one match key.

Each takes the other's records for its own. Where both LMSs give an id, its record holds what the last run wrote, a learner
of one school or of the other; and a tenant that archives what is gone archives the other's.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract, HubSpotDestination, ObjectMapping
from lms_crm_assets.contract.standard_objects import type_id
from lms_crm_assets.errors import ContractError, CredentialError
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore

_PORTS = {"https": 443, "http": 80}
_HUBSPOT = "hubapi.com"

REMEDY = "give one of them match keys of its own, or another account: docs/concepts.md, Two tenants in one CRM"


def neighbours(contract: Contract, folder: Path, store: OperationalStore) -> Iterator[str]:
    """A sentence for each of the other tenants that writes to records of this one.

    Only contracts are read, 10 to 30 ms each, and the secrets that they name; one that can't be read has its own error.
    `RetryableError` where a store that keeps secrets does not answer.
    """
    accounts = _accounts(contract, store)
    for tenant in tenant_names(folder):
        if tenant == contract.tenant:
            continue
        with suppress(ContractError):
            other = load_contract(folder, tenant)
            shared = [
                f"{obj} ({mapping.to}.{mapping.match_key})"
                for obj, mapping in contract.objects.items()
                if any(_place(mapping) == _place(others) for others in other.objects.values())
            ]
            if shared and accounts & _accounts(other, store):
                yield f"{tenant} writes to the same records of the same CRM account: {', '.join(shared)}"


def _place(mapping: ObjectMapping) -> tuple[str, str]:
    """Salesforce takes names in any case; HubSpot's are in lower case, and some objects have two."""
    return type_id(mapping.to.casefold()), mapping.match_key.casefold()


def _accounts(contract: Contract, store: OperationalStore) -> set[str]:
    """What tells the CRM account; two that have one of these in common are the same.

    A Salesforce org has its own address. All HubSpot portals have one: there the portal's id tells, or the same token;
    two tokens of one portal don't.
    """
    destination, address = contract.destination, urlsplit(contract.destination.url)
    host, port = address.hostname or "", address.port or _PORTS.get(address.scheme)
    if host.endswith(_HUBSPOT):  # one account answers at the address of any of its regions
        host = _HUBSPOT
    where = f"{destination.adapter} {host}:{port}"
    if not isinstance(destination, HubSpotDestination):
        return {where}
    found = set()
    if destination.portal_id is not None:
        found.add(f"{where} portal {destination.portal_id}")
    with suppress(CredentialError):
        secret = secrets_of(contract.tenant, store)(str(destination.access_token or destination.refresh_token))
        found.add(f"{where} {hashlib.sha256(secret.get_secret_value().encode()).hexdigest()}")
    return found
