"""Learners who were forgotten and must not come back: known by keyed hashes alone.

Owns `forgotten` in `privacy.sqlite` of the state folder. The key of a tenant's hashes is a random one that the vault keeps,
so that it outlives a change of the vault's own key.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.database import Schema
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault

PRIVACY = Schema(
    "privacy",
    (
        """
CREATE TABLE IF NOT EXISTS forgotten (
    tenant TEXT NOT NULL, mark TEXT NOT NULL, person TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant, mark)
);
""",
    ),
)

NAME = "name"
"""The kind of a username or an e-mail address, whatever its case."""

VAULT_KIND = "suppression-key"
"""What the vault calls the key of a tenant's list."""

_LEARNERS = LmsEntity.LEARNERS.value
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Marks:
    """The keyed hashes of one tenant's forgotten learners; empty, and false, where there are none."""

    key: SecretStr
    marks: frozenset[str] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.marks)

    def of(self, kind: str, value: str) -> str:
        """The hash of a value; `kind` is the LMS's entity of a row's id, or `NAME`."""
        text = value.strip().casefold() if kind == NAME else value
        return hmac.new(self.key.get_secret_value().encode(), f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()

    def hold(self, kind: str, value: str) -> bool:
        """Whether the value is one of a forgotten learner."""
        return bool(self.marks) and self.of(kind, value) in self.marks


NOBODY = Marks(SecretStr(""))
"""Nobody was forgotten."""


class Suppression:
    """The list of a state folder; several processes may use it at once."""

    def __init__(self, store: OperationalStore, vault_store: OperationalStore, environ: Mapping[str, str]) -> None:
        self._store = store
        self._vault_store = vault_store
        self._environ = environ

    @classmethod
    def at(cls, state_dir: Path, environ: Mapping[str, str] = os.environ) -> "Suppression":
        """The list of a state folder, with the environment's vault."""
        return cls(
            OperationalStore.at(state_dir, PRIVACY, environ),
            OperationalStore.at(state_dir, environ=environ),
            environ,
        )

    def marks(self, tenant: str) -> Marks:
        """The tenant's marks; no key is needed where there are none.

        `CredentialError` when there are some and the vault has no key for them: a run must not bring anybody back.
        """
        rows = self._rows(tenant)
        return Marks(self._key(tenant), frozenset(mark for (mark,) in rows)) if rows else NOBODY

    def empty(self, tenant: str) -> Marks:
        """Marks of nobody with the tenant's key, to make some; the key is made where there is none yet."""
        return Marks(self._key(tenant))

    def add(self, tenant: str, named: Iterable[tuple[str, str]]) -> None:
        """Keep the marks of one learner's values; on the disk when this returns."""
        marks, values = self.empty(tenant), list(named)
        # Who is forgotten once more, after a restore say, is the same person: else only a part of them could come again.
        by_id = [marks.of(kind, value) for kind, value in values if kind == _LEARNERS]
        with self._store.transaction(on=tenant, durable=True) as run:
            now = self._store.clock()
            query = "SELECT person FROM forgotten WHERE tenant = ? AND mark = ?"
            known = [person for mark in by_id for (person,) in run(query, (tenant, mark))]
            person = known[0] if known else secrets.token_hex(8)
            for kind, value in values:
                run(
                    "INSERT INTO forgotten (tenant, mark, person, since) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (tenant, mark) DO NOTHING",
                    (tenant, marks.of(kind, value), person, now),
                )

    def lift(self, tenant: str, named: Iterable[tuple[str, str]]) -> int:
        """Take those learners off the list who have one of the values; gives how many they were."""
        marks = self.empty(tenant)
        wanted = [marks.of(kind, value) for kind, value in named]
        places = ", ".join("?" * len(wanted))
        with self._store.transaction(on=tenant, durable=True) as run:
            query = f"SELECT DISTINCT person FROM forgotten WHERE tenant = ? AND mark IN ({places})"
            people = [person for (person,) in run(query, (tenant, *wanted))]
            for person in people:
                run("DELETE FROM forgotten WHERE tenant = ? AND person = ?", (tenant, person))
        return len(people)

    def _rows(self, tenant: str) -> list[tuple[str]]:
        return self._store.read("SELECT mark FROM forgotten WHERE tenant = ?", (tenant,))

    def _key(self, tenant: str) -> SecretStr:
        vault = Vault.opened(self._vault_store, self._environ)
        # Two that forget at once must not make two keys.
        with self._vault_store.alone(f"suppression {tenant}", _PATIENCE_SECONDS, f"the key of {tenant} is being made"):
            found = vault.get(tenant, VAULT_KIND)
            if found is None and self._rows(tenant):
                # With another key they would match nobody.
                raise CredentialError(
                    f"the key of {tenant}'s list of forgotten learners is not in the vault: bring back the backup of"
                    " `credentials` that belongs to it"
                )
            if found is None:
                found = SecretStr(secrets.token_urlsafe(32))
                vault.put(tenant, VAULT_KIND, found.get_secret_value())
        return found
