"""A HubSpot portal for the adapter's tests: its options, adapters for the example contract, and records to send."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract, CrmThrottle, HubSpotDestination, Throttle
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.hubspot import HubSpotAdapter
from lms_crm_assets.domain import Action, CrmObject, CrmWrite
from lms_crm_assets.ops.store import OperationalStore
from tests.conftest import TENANTS, empty_store

OAUTH: dict[str, Any] = {
    "flow": "refresh_token",
    "access_token": None,
    "client_id": "env:T_CLIENT_ID",
    "client_secret": "env:T_CLIENT_SECRET",
    "refresh_token": "env:T_REFRESH_TOKEN",
}
OAUTH_ENVIRON = {
    "T_CLIENT_ID": "sandbox-client",
    "T_CLIENT_SECRET": "sandbox-secret",
    "T_REFRESH_TOKEN": "sandbox-refresh-token",
}
UNLIMITED: dict[str, Any] = {"requests_per_10_seconds": None}


def reset(address: str, **options: Any) -> None:
    """An empty portal with these options."""
    httpx.post(f"{address}/_sandbox/reset", json=options).raise_for_status()


def configure(address: str, **options: Any) -> None:
    """Change options of the running portal."""
    httpx.post(f"{address}/_sandbox/options", json=options).raise_for_status()


def globex(calls: int | None = None, **destination: Any) -> Contract:
    """The example contract with another destination and pace."""
    contract = load_contract(TENANTS, "globex")
    changed = HubSpotDestination.model_validate({**contract.destination.model_dump(), **destination})
    throttle = Throttle(crm=CrmThrottle(calls_per_10_seconds=calls))
    return contract.model_copy(update={"destination": changed, "throttle": throttle})


@contextmanager
def adapter(contract: Contract, store: OperationalStore | None = None) -> Iterator[HubSpotAdapter]:
    """An adapter with a state of its own."""
    assert isinstance(contract.destination, HubSpotDestination)
    crm = HubSpotAdapter(contract, contract.destination, store or empty_store())
    try:
        yield crm
    finally:
        crm.close()


def spec_of(obj: CrmObject) -> ObjectSpec:
    """The example contract's spec of one object."""
    nowhere = {"GLOBEX_LMS_URL": "https://lms.test", "GLOBEX_CRM_URL": "https://crm.test"}
    return object_spec(load_contract(TENANTS, "globex", nowhere), obj)


def contacts(keys: Sequence[str], **values: str) -> list[CrmWrite]:
    """Contacts to create, one a key."""
    return [
        CrmWrite(key, None, Action.CREATE, {"firstname": f"F {key}", "email": f"{key}@School.test", **values})
        for key in keys
    ]


def keys_of(records: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """The portal's live records by match key."""
    return {
        record["properties"][name]: record
        for record in records
        if name in record["properties"] and not record["archived"]
    }
