"""A person's approval: OAuth's authorization-code flow with PKCE (RFC 6749, 4.1; RFC 7636), for flow `refresh_token`.

Of the app that asks, `destination.client_id` is shown to the browser; nothing else of it leaves for anybody but the token
endpoint. The exchange is one form, which needs no library.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import orjson
from pydantic import SecretStr

from lms_crm_assets.contract.credentials import Resolve
from lms_crm_assets.contract.models import Contract, HubSpotDestination, SalesforceDestination
from lms_crm_assets.crm.hubspot.paths import Paths
from lms_crm_assets.errors import CredentialError, ProtocolError, RetryableError

_TIMEOUT = httpx.Timeout(60, connect=10)
_WORD = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)
_CUSTOM = re.compile(r"2-\d+|p\d*_.+|.+__c")
_KEYS = "destination.client_id, destination.client_secret and the redirect address of the app"


@dataclass(frozen=True)
class App:
    """The app that asks: where people approve it, where it gets tokens, and what it asks for."""

    crm: str
    authorize_url: str
    token_url: str
    client_id: SecretStr
    client_secret: SecretStr | None
    scopes: Sequence[str]


@dataclass(frozen=True)
class Asking:
    """One request for approval; `state` and `verifier` are known to nobody else."""

    redirect_uri: str
    state: str
    verifier: SecretStr

    @classmethod
    def new(cls, redirect_uri: str) -> "Asking":
        """A request whose answer comes to that address."""
        return cls(redirect_uri, secrets.token_urlsafe(32), SecretStr(secrets.token_urlsafe(64)))

    def address(self, app: App) -> str:
        """What a person opens in a browser."""
        digest = hashlib.sha256(self.verifier.get_secret_value().encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": app.client_id.get_secret_value(),
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(app.scopes),
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{app.authorize_url}?{urlencode(asked)}"

    def code(self, app: App, answer: Mapping[str, str]) -> SecretStr:
        """The code of an answer; `CredentialError` when it is none to this request, or a refusal."""
        if not hmac.compare_digest(answer.get("state", "").encode(), self.state.encode()):
            raise CredentialError(
                "the browser brought an answer with another state than we asked with: it is not the answer to this"
                " request, and nothing was kept; run connect again and use the address that it prints"
            )
        if error := answer.get("error"):
            word = error if _WORD.fullmatch(error) else "an error"
            what = "the approval was denied" if word == "access_denied" else f"{app.crm} refused to ask ({word})"
            raise CredentialError(
                f"{what}: nothing was kept. Check the app's scopes and who was logged in, and run again"
            )
        if not answer.get("code"):
            raise CredentialError(f"{app.crm} answered without a code: nothing was kept; run connect again")
        return SecretStr(answer["code"])


def app_of(contract: Contract, secret_of: Resolve, scopes: Sequence[str] = ()) -> App:
    """The app of a contract of flow `refresh_token`; without `scopes` it asks for what the contract's objects need."""
    destination = contract.destination
    client_id = secret_of(str(destination.client_id))
    client_secret = None if destination.client_secret is None else secret_of(destination.client_secret)
    match destination:
        case SalesforceDestination():
            root = f"{destination.url}/services/oauth2"
            authorize_url, token_url, wanted = f"{root}/authorize", f"{root}/token", ["api", "refresh_token"]
        case HubSpotDestination():
            authorize_url = f"{destination.app_url}/oauth/authorize"
            token_url = f"{destination.url}{Paths(destination.api_version).token}"
            wanted = hubspot_scopes(contract)
    return App(destination.adapter, authorize_url, token_url, client_id, client_secret, scopes or wanted)


def hubspot_scopes(contract: Contract) -> list[str]:
    """The scopes of HubSpot that the contract's objects need: records read and written, definitions read."""
    names = {mapping.to: _scope_name(mapping.to) for mapping in contract.objects.values()}
    asked = (
        f"crm.{of}.{name}.{what}"
        for name in names.values()
        for of, what in (("objects", "read"), ("objects", "write"), ("schemas", "read"))
    )
    return ["oauth", *dict.fromkeys(asked)]


def exchange(app: App, asking: Asking, code: SecretStr) -> SecretStr:
    """The refresh token for an approval's code. The access token that comes with it is not used: runs get their own."""
    form = {
        "grant_type": "authorization_code",
        "client_id": app.client_id.get_secret_value(),
        "redirect_uri": asking.redirect_uri,
        "code": code.get_secret_value(),
        "code_verifier": asking.verifier.get_secret_value(),
    }
    if app.client_secret is not None:
        form["client_secret"] = app.client_secret.get_secret_value()
    try:
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as http:
            response = http.post(app.token_url, data=form, headers={"Accept": "application/json"})
    except httpx.HTTPError as exc:
        raise RetryableError(f"{app.token_url} gives no answer ({type(exc).__name__}): nothing was kept") from None
    told = _texts(response.content)
    if response.status_code != httpx.codes.OK:
        raise _refused(app, response.status_code, told)
    if not told.get("access_token"):
        raise ProtocolError(f"{app.token_url} does not answer as a token endpoint: check destination.url")
    if not told.get("refresh_token"):
        raise CredentialError(
            f"{app.crm} gave no refresh token: let the app have the scope refresh_token (asked was for"
            f" {' '.join(app.scopes)}), and run connect again"
        )
    return SecretStr(told["refresh_token"])


def _refused(app: App, status: int, told: Mapping[str, str]) -> Exception:
    """The description is not shown: what is not a token endpoint could send the form back in it."""
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return RetryableError(f"{app.token_url} answers {status}: nothing was kept; run connect again")
    said = told.get("error") or told.get("status") or ""
    word = said if _WORD.fullmatch(said) else str(status)
    return CredentialError(f"{app.token_url} gives no token for the approval ({word}): nothing was kept; check {_KEYS}")


def _scope_name(to: str) -> str:
    names = {"contacts": "contacts", "0-1": "contacts", "0-410": "courses"}
    return "custom" if _CUSTOM.fullmatch(to) else names.get(to, to)


def _texts(content: bytes) -> dict[str, str]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
