"""How an LMS is entered: headers that stay, or OAuth access tokens that are fetched anew when they are refused.

An access token is shared by all adapters of the process; however many calls are refused at once, one refresh is made.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx
import orjson
from pydantic import SecretStr

from lms_crm_assets.domain import Treatment
from lms_crm_assets.errors import (
    CredentialError,
    LmsCrmError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.retry_after import retry_after_seconds
from lms_crm_assets.ops.tokens import Tokens
from lms_crm_assets.ops.treatment import Answer, treatment

_TIMEOUT = httpx.Timeout(60, connect=10)
# RFC 6749, section 5.2; the words that a refused credential has.
_REFUSALS = {400, 401, 403}


class Entry(Protocol):
    """`credential` tells apart who has limits of its own; `keys` are the contract's, to name in an error.

    `stays`: there are no other headers than the first ones.
    """

    credential: str
    keys: str
    stays: bool

    def headers(self, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """What a call is sent with; other than what was refused, or a `CredentialError`."""


class FixedEntry:
    """Headers that stay as they are; none where the credential goes elsewhere."""

    stays = True

    def __init__(self, url: str, credential: SecretStr, keys: str, headers: Mapping[str, str] | None = None) -> None:
        self.credential = credential.get_secret_value()
        self.keys = keys
        self._url = url
        self._headers = dict(headers or {})

    @classmethod
    def bearer(cls, url: str, token: SecretStr, keys: str) -> "FixedEntry":
        """A bearer token."""
        text = token.get_secret_value()
        if not (text.isascii() and text.isprintable()):
            raise CredentialError(f"{keys} holds characters that no token has: check where it comes from")
        return cls(url, token, keys, {"Authorization": f"Bearer {text}"})

    def headers(self, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """The one set of headers; there is no other."""
        if refused is not None:
            raise refusal(self._url, self.keys)
        return self._headers


@dataclass(frozen=True)
class OAuthClient:
    """Who asks `token_url` for tokens; `keys` and `place` are the contract's, of credential and address."""

    token_url: str
    client_id: SecretStr
    client_secret: SecretStr
    keys: str
    place: str

    def secrets(self) -> tuple[str, str]:
        """Id and secret as they are sent."""
        return self.client_id.get_secret_value(), self.client_secret.get_secret_value()


class OAuthEntry:
    """Access tokens of an OAuth 2.0 token endpoint, RFC 6749: client credentials, or a refresh token."""

    stays = False

    def __init__(self, client: OAuthClient, credential: str, obtain: Callable[[], str]) -> None:
        """`obtain` gives an access token; adapters with the same `credential` share it."""
        self.credential = credential
        self.keys = client.keys
        self._url = client.token_url
        name = hashlib.sha256(f"{client.token_url} {credential}".encode()).hexdigest()
        self._tokens = Tokens.shared(name, obtain)

    @classmethod
    def client_credentials(cls, client: OAuthClient, scopes: str) -> "OAuthEntry":
        """Tokens for the client itself, which says who it is by HTTP Basic as OneRoster 1.2 asks for."""
        form = {"grant_type": "client_credentials", "scope": scopes}
        credential = f"{' '.join(client.secrets())} {scopes}"
        return cls(client, credential, lambda: _ask(client, form, basic=True)["access_token"])

    @classmethod
    def refresh_token(cls, client: OAuthClient, token: SecretStr) -> "OAuthEntry":
        """Tokens for a refresh token that stays the same, as Canvas's does."""
        form = {"grant_type": "refresh_token", "refresh_token": token.get_secret_value()}
        credential = f"{' '.join(client.secrets())} {token.get_secret_value()}"
        return cls(client, credential, lambda: _ask(client, form, basic=False)["access_token"])

    def headers(self, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """A bearer token, a new one in place of the one that was refused."""
        old = None if refused is None else refused["Authorization"].removeprefix("Bearer ")
        token = self._tokens.valid(old)
        if token == old:
            raise refusal(self._url, self.keys)
        return {"Authorization": f"Bearer {token}"}


def _ask(client: OAuthClient, form: Mapping[str, str], *, basic: bool) -> dict[str, str]:
    """The texts of the answer to a token request, tried again when trouble passes."""
    return patient(lambda: _ask_once(client, form, basic=basic))


def _ask_once(client: OAuthClient, form: Mapping[str, str], *, basic: bool) -> dict[str, str]:
    client_id, client_secret = client.secrets()
    sent = dict(form) if basic else {**form, "client_id": client_id, "client_secret": client_secret}
    auth = (client_id, client_secret) if basic else None
    try:
        with httpx.Client(auth=auth, timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as http:
            response = http.post(client.token_url, data=sent)
    except httpx.ConnectError as exc:
        raise UnreachableError(f"nothing answers at {client.token_url}: {type(exc).__name__}") from None
    except (httpx.TransportError, httpx.DecodingError) as exc:
        raise RetryableError(f"{client.token_url} broke off: {type(exc).__name__}") from None
    answer = _texts(response.content)
    if response.status_code == httpx.codes.OK and "access_token" in answer:
        return answer
    raise _failure(client, response)


def _failure(client: OAuthClient, response: httpx.Response) -> LmsCrmError:
    """The answer's text is not shown: what is not a token endpoint could send the form back in it."""
    status = response.status_code
    said = f"{client.token_url} answers a request for a token with {status}"
    wait = retry_after_seconds(response.headers)
    match treatment("lms", Answer(status)):
        case Treatment.SLOW_DOWN:
            return RateLimitedError(said, retry_after_seconds=wait)
        case Treatment.RETRY:
            return RetryableError(said, retry_after_seconds=wait)
    if status in _REFUSALS:
        return refusal(client.token_url, client.keys)
    return WrongAddressError(f"{said}, and not as OAuth 2.0 asks: check {client.place}")


def refusal(url: str, keys: str) -> CredentialError:
    """The credential is refused."""
    return CredentialError(f"{url} refuses the credential: check {keys}")


def _texts(content: bytes) -> dict[str, str]:
    """The texts of a JSON object, none of anything else."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
