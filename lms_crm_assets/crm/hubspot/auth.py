"""Ways to enter a portal: a token that stays, or access tokens for a refresh token that HubSpot may replace.

HubSpot documentation, "OAuth": an access token lives 1,800 seconds; it is used until it is refused.
"""

import hashlib
from collections.abc import Callable
from typing import Protocol

from pydantic import SecretStr

from lms_crm_assets.contract.models import HubSpotDestination
from lms_crm_assets.errors import CredentialError, OutcomeUnknownError, ProtocolError, UnreachableError
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.tokens import Tokens, refreshing

Ask = Callable[[dict[str, str]], tuple[int, dict[str, object]]]
"""Sends a form to the token endpoint; gives status and body, and raises what is no answer about the form."""

_OK = 200
# What the token endpoint calls the mistake, and the contract's key that it is about.
_MISTAKES = {
    "BAD_CLIENT_ID": "destination.client_id",
    "BAD_CLIENT_SECRET": "destination.client_secret",
    "BAD_REFRESH_TOKEN": "destination.refresh_token",
}


class Entry(Protocol):
    """How a portal is entered. `credential` tells apps apart that have limits of their own; `keys` are the contract's."""

    credential: str
    keys: str

    def token(self, refused: str | None = None) -> str:
        """The access token; another one than the one that was refused, or a `CredentialError`."""


class FixedToken:
    """The token of a service key or private app."""

    keys = "destination.access_token"

    def __init__(self, token: SecretStr, url: str) -> None:
        self.credential = token.get_secret_value()
        self._url = url

    def token(self, refused: str | None = None) -> str:
        """The one token; there is no other."""
        if refused is not None:
            raise refusal(self._url, self.keys)
        return self.credential


class RefreshedToken:
    """An OAuth app's tokens, shared by all adapters of the process; one refresh however many calls were refused."""

    keys = "destination.client_id, client_secret and refresh_token"

    def __init__(self, destination: HubSpotDestination, tenant: str, store: OperationalStore, ask: Ask) -> None:
        self._url = destination.url
        self._ask = ask
        secret_of = secrets_of(tenant, store)
        self._client_id, self._client_secret, first = (
            secret_of(str(ref)) for ref in (destination.client_id, destination.client_secret, destination.refresh_token)
        )
        # The limits are an app's in a portal; the first refresh token stands for the portal.
        self.credential = f"{self._client_id.get_secret_value()} {first.get_secret_value()}"
        name = hashlib.sha256(f"hubspot {self._url} {tenant} {self.credential}".encode()).hexdigest()
        self._tokens = Tokens.shared(name, refreshing(store, tenant, first, self._exchange))

    def token(self, refused: str | None = None) -> str:
        """The access token, a new one in place of the one that was refused."""
        return self._tokens.valid(refused)

    def _exchange(self, refresh_token: str) -> tuple[str, str | None]:
        form = {
            "grant_type": "refresh_token",
            "client_id": self._client_id.get_secret_value(),
            "client_secret": self._client_secret.get_secret_value(),
            "refresh_token": refresh_token,
        }
        try:
            status, body = self._ask(form)
        except OutcomeUnknownError:  # of the call that needs the token nothing is unknown: it was not made
            raise UnreachableError(f"HubSpot at {self._url} hands out no token at the moment") from None
        if status != _OK:
            mistake = str(body.get("status") or body.get("error") or "")
            at = _MISTAKES.get(mistake, self.keys)
            raise CredentialError(f"HubSpot at {self._url} hands out no token ({mistake or status}): check {at}")
        access, following = body.get("access_token"), body.get("refresh_token")
        if not isinstance(access, str) or not access:
            raise ProtocolError(f"HubSpot at {self._url} answers a refresh without an access_token")
        return access, following if isinstance(following, str) else None


def entry(destination: HubSpotDestination, tenant: str, store: OperationalStore, ask: Ask) -> Entry:
    """The way in that a contract chose."""
    if destination.flow == "refresh_token":
        return RefreshedToken(destination, tenant, store, ask)
    return FixedToken(secrets_of(tenant, store)(str(destination.access_token)), destination.url)


def refusal(url: str, keys: str) -> CredentialError:
    """What a person is told when even a fresh token is refused."""
    return CredentialError(f"HubSpot at {url} refuses the credential (401): check {keys}")
