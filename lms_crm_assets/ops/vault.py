"""The vault: a tenant's secrets, sealed at rest. Owns the table `credentials`.

A kind is `secret NAME` for what a person keeps and a contract calls `vault:NAME`, and `refresh_token …` or `access_token …`
for what the other side hands out while we run. Tenant and kind are associated with the seal, so that a row that is copied
to another tenant opens for nobody.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice

from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.seal import HEAD_BYTES, Resealed, Seal, key_id
from lms_crm_assets.ops.store import OperationalStore

_NAMED = "secret "
_FOLLOWERS = ("refresh_token", "access_token")
_PAGE = 100


@dataclass(frozen=True)
class Kept:
    """What is known of a secret without its value; moments are seconds since 1970, `key` is the id of its key.

    `name` is that of `vault:NAME`, None for what the other side handed out.
    """

    tenant: str
    kind: str
    key: str | None
    saved_at: float
    expires_at: float | None

    @property
    def name(self) -> str | None:
        """The name behind `vault:`."""
        return self.kind.removeprefix(_NAMED) if self.kind.startswith(_NAMED) else None


@dataclass(frozen=True)
class Vault:
    """The sealed secrets of a state folder; `CredentialError` when there is no key, or another one."""

    store: OperationalStore
    ring: KeyRing

    @classmethod
    def opened(cls, store: OperationalStore, environ: Mapping[str, str] = os.environ) -> "Vault":
        """The vault with the environment's keys."""
        return cls(store, KeyRing.of_environment("a secret of the vault, or a token that rotates, has", environ))

    @cached_property
    def _seal(self) -> Seal:
        return Seal(self.ring)

    def get(self, tenant: str, kind: str, since: float = 0.0) -> SecretStr | None:
        """The tenant's secret of that kind, None when there is none that was kept since that moment."""
        found = self.store.read(
            "SELECT sealed FROM credentials WHERE tenant = ? AND kind = ? AND saved_at >= ?", (tenant, kind, since)
        )
        if not found:
            return None
        return SecretStr(self._seal.open(bytes(found[0][0]), _associated(tenant, kind), _what(tenant, kind)).decode())

    def put(self, tenant: str, kind: str, secret: str, expires_at: float | None = None) -> None:
        """Keep a secret; it is on the disk when this returns."""
        sealed = self._seal.close(secret.encode(), _associated(tenant, kind))
        with self.store.transaction(on=tenant, durable=True) as run:
            run(
                "INSERT INTO credentials (tenant, kind, sealed, saved_at, expires_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (tenant, kind) DO UPDATE SET sealed = excluded.sealed, saved_at = excluded.saved_at,"
                " expires_at = excluded.expires_at",
                (tenant, kind, sealed, self.store.clock(), expires_at),
            )

    def named(self, tenant: str, name: str) -> SecretStr:
        """The secret that the tenant's contract calls `vault:NAME`; `CredentialError` when nobody kept it."""
        found = self.get(tenant, f"{_NAMED}{name}")
        if found is None:
            raise CredentialError(
                f"the vault holds no secret {name} of {tenant}: keep it with `lms-crm credentials set {name} --tenant {tenant}`"
            )
        return found

    def keep(self, tenant: str, name: str, secret: str, expires_at: float | None = None) -> None:
        """Keep what a person entered as `vault:NAME`; the tokens that followed the former value are forgotten."""
        former = None
        with suppress(CredentialError):  # its key is gone: what followed it is left, and does no harm
            former = self.get(tenant, f"{_NAMED}{name}")
        self.put(tenant, f"{_NAMED}{name}", secret, expires_at)
        if former is not None and former.get_secret_value() != secret:
            kinds = [f"{each} {digest_of(former)}" for each in _FOLLOWERS]
            with self.store.transaction(on=tenant) as run:
                run("DELETE FROM credentials WHERE tenant = ? AND kind IN (?, ?)", (tenant, *kinds))

    def kept(self, tenant: str | None = None) -> list[Kept]:
        """What is kept of a tenant or of all, without opening any of it: no key is needed."""
        return kept_in(self.store, tenant)

    def reseal(self, most: int | None = None, tenant: str | None = None) -> Resealed:
        """Seal with the present key what is not, up to so many; see `Resealed`.

        Nothing is overwritten that somebody kept meanwhile, a rotated refresh token say: it may be stopped and repeated.
        """
        result = Resealed()
        while True:
            stale = [each for each in kept_in(self.store, tenant) if each.key != self.ring.present.id]
            again = Resealed()
            for owner, of_owner in groupby(stale[:most], key=lambda each: each.tenant):
                while page := list(islice(of_owner, _PAGE)):
                    self._reseal(owner, [each.kind for each in page], again)
            result = Resealed(result.done + again.done, again.left)
            # Once more: what was kept meanwhile may be under the former key, by a process that looks at its keys later.
            if not again.done or (most is not None and result.done >= most):
                return result

    def _reseal(self, tenant: str, kinds: Sequence[str], result: Resealed) -> None:
        query = f"SELECT kind, sealed FROM credentials WHERE tenant = ? AND kind IN ({', '.join('?' * len(kinds))})"
        anew = []
        for kind, sealed in self.store.read(query, (tenant, *kinds)):
            with result.counting(bytes(sealed)):
                content = self._seal.open(bytes(sealed), _associated(tenant, kind), _what(tenant, kind))
                anew.append((self._seal.close(content, _associated(tenant, kind)), tenant, kind, sealed))
        with self.store.transaction(on=tenant, durable=True) as run:
            for values in anew:
                run("UPDATE credentials SET sealed = ? WHERE tenant = ? AND kind = ? AND sealed = ?", values)


def kept_in(store: OperationalStore, tenant: str | None = None) -> list[Kept]:
    """What a store keeps of a tenant or of all; no key is needed for it."""
    query = "SELECT tenant, kind, substr(sealed, 1, ?), saved_at, expires_at FROM credentials"
    of = "" if tenant is None else " WHERE tenant = ?"
    rows = store.read(f"{query}{of} ORDER BY tenant, kind", (HEAD_BYTES, *([] if tenant is None else [tenant])))
    return [Kept(owner, kind, key_id(bytes(head)), saved_at, ends) for owner, kind, head, saved_at, ends in rows]


def digest_of(token: SecretStr) -> str:
    """Tells in a kind which refresh token it follows, without telling the token."""
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()[:16]


def _what(tenant: str, kind: str) -> str:
    return f"the {kind if kind.startswith(_NAMED) else kind.split(maxsplit=1)[0]} that is kept for {tenant}"


def _associated(tenant: str, kind: str) -> bytes:
    return f"{tenant}\0{kind}".encode()
