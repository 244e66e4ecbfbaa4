"""The secrets that a tenant's contract refers to, wherever they lie."""

from functools import partial

from pydantic import SecretStr

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault


def secrets_of(tenant: str, store: OperationalStore) -> Resolve:
    """How the references of that tenant's contract are looked up; the vault is asked only for what lies in it."""

    def vaulted(name: str) -> SecretStr:
        return Vault.opened(store).named(tenant, name)

    return partial(resolve, vaulted=vaulted)
