"""Access tokens: one for all threads and adapters of a process, refreshed once however many calls were refused."""

import threading
from collections.abc import Callable
from contextlib import suppress

import stamina
import structlog
from pydantic import SecretStr

from lms_crm_assets.errors import RetryableError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault, digest_of

_log = structlog.get_logger(__name__)

Exchange = Callable[[str], tuple[str, str | None]]
"""Gives an access token for a refresh token, and the next refresh token where the other side hands one out."""

# A refresh is one call; whoever waits longer than this waits for a process that hangs.
_PATIENCE_SECONDS = 300.0
# The other side forgot the former refresh token: the next one is worth waiting for a store that is being started anew.
_KEEP_SECONDS = 60.0

_shared: dict[str, "Tokens"] = {}
_making = threading.Lock()


class Tokens:
    """The access token that `obtain` gives; `obtain` raises the errors of `errors`."""

    def __init__(self, obtain: Callable[[], str]) -> None:
        self._obtain = obtain
        self._lock = threading.Lock()
        self._token: str | None = None

    @classmethod
    def shared(cls, name: str, obtain: Callable[[], str]) -> "Tokens":
        """The process's one token of that name: fifty calls that are refused at once make one refresh."""
        with _making:
            found = _shared.setdefault(name, cls(obtain))
            # The newest adapter's way to log in counts: the connections of those before it may be closed.
            found._obtain = obtain  # noqa: SLF001 - our own class
            return found

    def valid(self, instead_of: str | None = None) -> str:
        """The token; a new one when there is none, or when it still is the one that was refused."""
        with self._lock:
            if self._token is None or self._token == instead_of:
                self._token = self._obtain()
                _log.info("logged_in", again=instead_of is not None)
            return self._token


def refreshing(store: OperationalStore, tenant: str, first: SecretStr, exchange: Exchange) -> Callable[[], str]:
    """How a tenant gets access tokens by a refresh token that may rotate.

    `first` is the one that a person entered; once the other side hands out another, that one counts, and is on the disk
    before its access token is used. One process at a time refreshes: the loser's refresh token would be dead. Those that
    waited meanwhile take the access token that it got, as the threads of one process do.
    """
    given = digest_of(first)
    kind, access = f"refresh_token {given}", f"access_token {given}"

    def obtain() -> str:
        vault = Vault.opened(store)
        asked_at = store.clock()
        busy = f"another process refreshes the token of {tenant} for longer than {_PATIENCE_SECONDS:.0f} s: run again later"
        with store.alone(f"{tenant}.refresh", _PATIENCE_SECONDS, busy):
            if made := vault.get(tenant, access, since=asked_at):
                return made.get_secret_value()
            kept = vault.get(tenant, kind) or first
            access_token, following = exchange(kept.get_secret_value())
            if following and following != kept.get_secret_value():
                for attempt in stamina.retry_context(on=RetryableError, attempts=None, timeout=_KEEP_SECONDS):
                    with attempt:
                        vault.put(tenant, kind, following)
            with suppress(RetryableError):  # the others would refresh once more
                vault.put(tenant, access, access_token)
        return access_token

    return obtain
