"""What of a tenant's access ends on a known day: tokens that say so themselves, and the CRM's API version."""

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import UTC, datetime

from lms_crm_assets.alerts.state import Expiry
from lms_crm_assets.contract.credentials import references, resolve
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.lifecycle import endings
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import kept_in

_TOKENS = ("token", "access_token", "api_key", "refresh_token")


def expiries(contract: Contract, store: OperationalStore) -> list[Expiry]:
    """What ends when, without a call: what a person said of a secret in the vault, and what a JWT says itself.

    A token that is no JWT with `exp` (RFC 7519), or can't be read here, tells no day.
    """
    return [
        *_vaulted(contract, store),
        *_tokens(contract),
        *(Expiry(each.what, each.on, each.remedy) for each in endings(contract.destination)),
    ]


def _vaulted(contract: Contract, store: OperationalStore) -> Iterator[Expiry]:
    # What the contract does not name any more may end.
    named = {ref for _, ref in references(contract.model_dump(mode="json", by_alias=True))}
    for kept in kept_in(store, contract.tenant):
        if kept.expires_at is not None and f"vault:{kept.name}" in named:
            ends = datetime.fromtimestamp(kept.expires_at, UTC).date()
            todo = f"lms-crm credentials set {kept.name} --tenant {contract.tenant} keeps a new one"
            yield Expiry(f"the credential vault:{kept.name}", ends, todo)


def _tokens(contract: Contract) -> Iterator[Expiry]:
    for end, side in (("source", contract.source), ("destination", contract.destination)):
        for name in _TOKENS:
            ref = getattr(side, name, None)
            if ref is None or (ends := _end(str(ref))) is None:
                continue
            todo = f"put a new one at {ref}"
            yield Expiry(f"the credential {end}.{name}", ends.date(), todo)


def _end(ref: str) -> datetime | None:
    try:
        parts = resolve(ref).get_secret_value().split(".")
    except CredentialError:
        return None  # the process that looks need not be one that may read it
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
