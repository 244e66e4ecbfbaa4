"""The tenants' contracts as they are on the disk now, and the secrets that they name.

A file that changes counts a quarter of a second later. One that is broken hurts its own tenant alone, and not even that one
where it was read before: the version that was right goes on.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lms_crm_assets.contract.credentials import Resolve
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.errors import ContractError, CredentialError, RetryableError
from lms_crm_assets.receiver.problems import Problem
from lms_crm_assets.receiver.writer import unavailable

_log = structlog.get_logger(__name__)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
# A secret's file may be replaced while we run; reading it for each request would cost more than the signature.
_SECRET_SECONDS = 10.0

# To ask the disk gives the process's turn away; once in so long is often enough for a change.
_LOOK_SECONDS = 0.25

_Version = tuple[int, int, int]


@dataclass
class _Known:
    version: _Version | None = None
    contract: Contract | None = None
    looked_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tenants:
    """The contracts of a folder, by tenant; used from one event loop."""

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environ = environ
        self._known: dict[str, _Known] = {}

    async def find(self, name: str) -> Contract | None:
        """The tenant's contract; None when there is no such tenant, a `Problem` (503) when its file is broken."""
        known = self._known.get(name)
        now = time.monotonic()
        if known is None or now - known.looked_at >= _LOOK_SECONDS:
            version = self._version(name) if _NAME.fullmatch(name) else None
            if version is None:
                self._known.pop(name, None)
                return None
            known = self._known.setdefault(name, _Known())
            known.looked_at = now
            async with known.lock:
                if known.version != version:
                    await self._read(name, known)
                    known.version = version
        elif known.version is None:
            async with known.lock:  # somebody else reads it
                pass
        if known.contract is None:
            raise Problem(
                503, "the tenant's contract is broken; its operator has been told", headers={"Retry-After": "60"}
            )
        return known.contract

    def _version(self, name: str) -> _Version | None:
        try:
            found = (self._folder / f"{name}.yaml").stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    async def _read(self, name: str, known: _Known) -> None:
        try:
            # A large contract takes tens of milliseconds, in which others' requests go on.
            known.contract = await asyncio.to_thread(load_contract, self._folder, name, self._environ)
        except ContractError as exc:
            _log.error("contract_broken", tenant=name, goes_on_with_former=known.contract is not None, error=str(exc))


class Secrets:
    """The values of the secrets that contracts name."""

    def __init__(self, secrets_of: Callable[[str], Resolve], clock: Callable[[], float] = time.monotonic) -> None:
        """`secrets_of` gives how a tenant's references are looked up."""
        self._secrets_of = secrets_of
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[float, bytes]] = {}

    def values(self, tenant: str, refs: Iterable[str]) -> list[bytes]:
        """The secrets that are there; `CredentialError` when none is, a `Problem` (503) while the store can't be asked."""
        found, missing = [], None
        for ref in refs:
            try:
                found.append(self._value(tenant, ref))
            except CredentialError as exc:
                missing = exc
        if not found and missing is not None:
            raise missing
        return found

    def _value(self, tenant: str, ref: str) -> bytes:
        now = self._clock()
        held = self._held.get((tenant, ref))
        if held is None or held[0] <= now:
            try:
                held = now + _SECRET_SECONDS, self._secrets_of(tenant)(ref).get_secret_value().encode()
            except RetryableError:
                if held is None:
                    raise unavailable("the vault can't be read at the moment") from None
            self._held[tenant, ref] = held
        return held[1]
