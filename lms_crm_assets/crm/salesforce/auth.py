"""Logging in: the three OAuth flows that a contract may name, each a form to the org's token endpoint.

One POST of our own serves all three. simple-salesforce's logins drop the refresh token, take an audience under
salesforce.com only, and can't tell a system that is down from a credential that is refused.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jwt
import requests
from pydantic import SecretStr

from lms_crm_assets.contract.credentials import Resolve
from lms_crm_assets.contract.models import SalesforceDestination
from lms_crm_assets.crm.salesforce.answers import broken_off
from lms_crm_assets.crm.salesforce.session import OneHostSession
from lms_crm_assets.domain import Treatment
from lms_crm_assets.errors import CredentialError, LmsCrmError, ProtocolError, RateLimitedError, RetryableError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.tokens import refreshing
from lms_crm_assets.ops.treatment import Answer, treatment

_PATH = "/services/oauth2/token"
# Salesforce takes up to 3 or 5 minutes, as different sources say; clocks differ.
_ASSERTION_SECONDS = 150
_PASSING = frozenset({"server_error", "temporarily_unavailable", "unknown_error"})
_WORD = re.compile(r"[a-z_]{1,40}", re.ASCII)


@dataclass(frozen=True)
class Secrets:
    """What the contract refers to, looked up once; `CredentialError` when something is missing."""

    client_id: SecretStr
    client_secret: SecretStr | None
    private_key: SecretStr | None
    refresh_token: SecretStr | None

    @classmethod
    def of(cls, destination: SalesforceDestination, secret_of: Resolve) -> "Secrets":
        """Those that the contract's flow needs."""

        def found(ref: str | None) -> SecretStr | None:
            return None if ref is None else secret_of(ref)

        return cls(
            secret_of(str(destination.client_id)),
            found(destination.client_secret) if destination.flow != "jwt" else None,
            found(destination.private_key) if destination.flow == "jwt" else None,
            found(destination.refresh_token) if destination.flow == "refresh_token" else None,
        )

    @property
    def digest(self) -> str:
        """Tells credentials apart without telling them."""
        texts = (None if each is None else each.get_secret_value() for each in vars(self).values())
        return hashlib.sha256(repr(tuple(texts)).encode()).hexdigest()[:16]


def login(
    session: OneHostSession, destination: SalesforceDestination, secrets: Secrets, store: OperationalStore, tenant: str
) -> Callable[[], str]:
    """How the org is entered: gives an access token at each call.

    `CredentialError` when the credential is refused, `ProtocolError` when something else than Salesforce answers,
    `RetryableError` for what passes.
    """
    endpoint = _Endpoint(session, destination.url, _keys(destination))
    match destination.flow:
        case "jwt":
            return lambda: endpoint.token(_assertion(destination, secrets))["access_token"]
        case "refresh_token":

            def exchange(refresh_token: str) -> tuple[str, str | None]:
                form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
                answer = endpoint.token(form | _client(secrets))
                return answer["access_token"], answer.get("refresh_token")

            return refreshing(store, tenant, _given(secrets.refresh_token), exchange)
        case _:
            form = {"grant_type": "client_credentials"} | _client(secrets)
            return lambda: endpoint.token(form)["access_token"]


@dataclass(frozen=True)
class _Endpoint:
    """The org's token endpoint; `keys` are the contract's, to name when it refuses."""

    session: OneHostSession
    url: str
    keys: str

    def token(self, form: Mapping[str, str]) -> Mapping[str, str]:
        """The texts of the answer to a token request. No error names what was sent or holds it as its cause."""
        try:
            response = self.session.post(self.url + _PATH, data=dict(form), headers={"Accept": "application/json"})
        except requests.RequestException as exc:
            raise broken_off(exc, self.url) from None
        answer = _texts(response)
        if not response.ok or response.is_redirect:
            raise self._refusal(response.status_code, answer)
        if "access_token" not in answer:
            raise ProtocolError(f"{self.url} does not answer as Salesforce: check destination.url")
        return answer

    def _refusal(self, status: int, answer: Mapping[str, str]) -> LmsCrmError:
        """The description is not shown: a system that is not Salesforce could send the form back in it."""
        word = answer.get("error", "")
        said = f"Salesforce at {self.url} answers a login with {status}"
        retry_after = self.session.retry_after_seconds
        match treatment("salesforce", Answer(status)):
            case Treatment.SLOW_DOWN:
                return RateLimitedError(said, retry_after_seconds=retry_after)
            case Treatment.RETRY:
                return RetryableError(said, retry_after_seconds=retry_after)
        if word in _PASSING or "rate exceeded" in answer.get("error_description", ""):
            return RetryableError(f"{said} {word}", retry_after_seconds=retry_after)
        if _WORD.fullmatch(word):
            return CredentialError(
                f"Salesforce at {self.url} refuses the credential ({word}{self._hint(answer)}): check {self.keys}"
            )
        return ProtocolError(f"{self.url} does not answer as Salesforce ({status}): check destination.url")

    @staticmethod
    def _hint(answer: Mapping[str, str]) -> str:
        """The descriptions that tell more than the word."""
        known = ("expired access/refresh token", "no valid scopes defined", "user hasn't approved this consumer")
        return next((f", {text}" for text in known if answer.get("error_description") == text), "")


def _assertion(destination: SalesforceDestination, secrets: Secrets) -> dict[str, str]:
    claims = {
        "iss": secrets.client_id.get_secret_value(),
        "sub": destination.username,
        "aud": destination.login_url,
        "exp": int(time.time()) + _ASSERTION_SECONDS,
    }
    try:
        assertion = jwt.encode(claims, _given(secrets.private_key).get_secret_value(), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):  # the cause may quote the key
        raise CredentialError("destination.private_key is no RSA key in PEM") from None
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _client(secrets: Secrets) -> dict[str, str]:
    """The app, in the form: an app without a secret can't send the header."""
    client = {"client_id": secrets.client_id.get_secret_value()}
    if secrets.client_secret is not None:
        client["client_secret"] = secrets.client_secret.get_secret_value()
    return client


def _given(secret: SecretStr | None) -> SecretStr:
    if secret is None:  # the contract's own rules ask for it
        raise CredentialError("the contract's flow lacks a credential")
    return secret


def _keys(destination: SalesforceDestination) -> str:
    match destination.flow:
        case "jwt":
            return (
                "destination.client_id, destination.username, destination.private_key and destination.login_url, and"
                " that the user is approved for the app"
            )
        case "refresh_token":
            return "destination.client_id, destination.client_secret and destination.refresh_token"
        case _:
            return "destination.client_id and destination.client_secret"


def _texts(response: requests.Response) -> Mapping[str, str]:
    """The texts of a JSON object, none of anything else."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return {k: v for k, v in answer.items() if isinstance(v, str)} if isinstance(answer, dict) else {}
