"""The secrets that a tenant's contract refers to, wherever they lie."""

from functools import partial

from pydantic import SecretStr

from lms_crm_assets.contract.credentials import Resolve, references, resolve
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault


def secrets_of(tenant: str, store: OperationalStore) -> Resolve:
    """How the references of that tenant's contract are looked up; the vault is asked only for what lies in it."""

    def vaulted(name: str) -> SecretStr:
        return Vault.opened(store).named(tenant, name)

    return partial(resolve, vaulted=vaulted)


def references_in(contract: Contract) -> list[tuple[str, str]]:
    """The contract's keys that name a secret, each with where it lies."""
    return list(references(contract.model_dump(mode="json", by_alias=True)))


def missing_secrets(contract: Contract, store: OperationalStore) -> dict[str, CredentialError]:
    """Why a secret can't be had, by the key of the contract that names it; nothing is asked of the other sides."""
    secret_of = secrets_of(contract.tenant, store)
    missing = {}
    for of, ref in references_in(contract):
        try:
            secret_of(ref)
        except CredentialError as exc:
            missing[of] = exc
    return missing
