"""The vault: secrets that change while we run (rotated refresh tokens), sealed at rest.

AES-GCM with tenant and kind as associated data, so that a row copied to another tenant opens for nobody. The key comes
from the file that `LMS_CRM_KEY_FILE` names or from `LMS_CRM_KEY`: 32 bytes in base64.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.store import OperationalStore

_KEY_BYTES = 32
_NONCE_BYTES = 12
_HOW = "make one with `head -c 32 /dev/urandom | base64` and put it into a file that LMS_CRM_KEY_FILE names"


@dataclass(frozen=True)
class Vault:
    """The sealed secrets of a state folder; `CredentialError` when there is no key, or another one."""

    store: OperationalStore
    key: SecretStr

    @classmethod
    def opened(cls, store: OperationalStore, environ: Mapping[str, str] = os.environ) -> "Vault":
        """The vault with the environment's key."""
        return cls(store, environment_key("a token that rotates has", environ))

    def get(self, tenant: str, kind: str, since: float = 0.0) -> SecretStr | None:
        """The tenant's secret of that kind, None when there is none that was kept since that moment."""
        found = self.store.read(
            "SELECT sealed FROM credentials WHERE tenant = ? AND kind = ? AND saved_at >= ?", (tenant, kind, since)
        )
        if not found:
            return None
        opened = Seal(self.key).open(found[0][0], _associated(tenant, kind))
        if opened is None:
            raise CredentialError(
                f"the {kind.split(maxsplit=1)[0]} that is kept for {tenant} was sealed with another key than the present one: "
                "give the former key, or enter the CRM anew"
            )
        return SecretStr(opened.decode())

    def put(self, tenant: str, kind: str, secret: str) -> None:
        """Keep a secret; it is on the disk when this returns."""
        sealed = Seal(self.key).close(secret.encode(), _associated(tenant, kind))
        with self.store.transaction(on=tenant, durable=True) as run:
            run(
                "INSERT INTO credentials (tenant, kind, sealed, saved_at) VALUES (?, ?, ?, ?) ON CONFLICT (tenant, kind)"
                " DO UPDATE SET sealed = excluded.sealed, saved_at = excluded.saved_at",
                (tenant, kind, sealed, self.store.clock()),
            )


def environment_key(what_has: str, environ: Mapping[str, str] = os.environ) -> SecretStr:
    """The key that the environment names; `what_has` to be kept sealed is said when there is none."""
    text = environ.get("LMS_CRM_KEY", "")
    if file := environ.get("LMS_CRM_KEY_FILE"):
        try:
            text = Path(file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as exc:
            raise CredentialError(f"the key file {file} can't be read: {_HOW}") from exc
    if not text.strip():
        raise CredentialError(f"{what_has} to be kept, sealed with a key, and there is none: {_HOW}")
    key = SecretStr(text.strip())
    key_bytes(key)
    return key


def key_bytes(key: SecretStr) -> bytes:
    """The key itself; `CredentialError` when the text is none."""
    try:
        found = base64.b64decode(key.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != _KEY_BYTES:
        raise CredentialError(f"the key of LMS_CRM_KEY_FILE has to be {_KEY_BYTES} bytes in base64: {_HOW}")
    return found


class Seal:
    """What lies on a disk is sealed with a key; it opens with the same associated data only."""

    def __init__(self, key: SecretStr) -> None:
        self._cipher = AESGCM(key_bytes(key))

    def close(self, content: bytes, associated: bytes) -> bytes:
        """The content as it may lie on a disk."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        """What was sealed; None when it was sealed with another key, or for somebody else."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except InvalidTag:
            return None


def _associated(tenant: str, kind: str) -> bytes:
    return f"{tenant}\0{kind}".encode()
