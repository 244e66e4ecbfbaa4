"""OAuth 2 client credentials (1EdTech Security Framework, 4.1): `POST /token` and the lives of the tokens.

The client authenticates with HTTP Basic and names the scopes it wants; the token gets those of them that the client is
permitted.
"""

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from starlette.responses import Response

from lms_crm_assets.sandbox.core import json_response
from lms_crm_assets.sandbox.oneroster.errors import forbidden, unauthorised
from lms_crm_assets.sandbox.oneroster.options import OneRosterOptions

_SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/{}.readonly"
ROSTER, ROSTER_CORE = _SCOPE.format("roster"), _SCOPE.format("roster-core")
GRADEBOOK, GRADEBOOK_CORE = _SCOPE.format("gradebook"), _SCOPE.format("gradebook-core")
SCOPES = (ROSTER, ROSTER_CORE, GRADEBOOK, GRADEBOOK_CORE)


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client."""

    secret: str
    scopes: tuple[str, ...]


@dataclass(slots=True)
class _Token:
    scopes: frozenset[str]
    ends_at: float
    calls_left: int | None


class Tokens:
    """Issues tokens and judges them."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        """No token lives yet."""
        self._clients = clients
        self._living: dict[str, _Token] = {}

    def grant(self, form: Mapping[str, str], authorization: str, options: OneRosterOptions) -> Response:
        """The answer to a token request."""
        client = self._client(authorization)
        if client is None:
            return _refused("invalid_client", 401, {"WWW-Authenticate": 'Basic realm="oneroster"'})
        if form.get("grant_type") != "client_credentials":
            return _refused("unsupported_grant_type")
        asked = form.get("scope", "").split()
        granted = [scope for scope in asked if scope in client.scopes]
        if not granted or not set(asked) <= set(SCOPES):
            return _refused("invalid_scope")
        token = secrets.token_urlsafe(32)
        self._living[token] = _Token(frozenset(granted), time.time() + options.token_seconds, options.token_calls)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": int(options.token_seconds)}
        return json_response(body | {"scope": " ".join(granted)}, headers={"Cache-Control": "no-store"})

    def check(self, authorization: str, permitting: frozenset[str]) -> None:
        """Use up one call of the token; `StatusInfoError` if it is none, or has none of the scopes."""
        scheme, _, name = authorization.partition(" ")
        token = self._living.get(name) if scheme.lower() == "bearer" else None
        if token is None:
            raise unauthorised()
        if token.calls_left == 0 or time.time() >= token.ends_at:
            del self._living[name]
            raise unauthorised()
        if token.calls_left is not None:
            token.calls_left -= 1
        if not token.scopes & permitting:
            raise forbidden()

    def _client(self, authorization: str) -> Client | None:
        scheme, _, encoded = authorization.partition(" ")
        try:
            decoded = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
        except (binascii.Error, UnicodeDecodeError):
            return None
        # Both parts are form-encoded before they are joined (RFC 6749, 2.3.1).
        name, _, secret = (unquote_plus(part) for part in decoded.partition(":"))
        client = self._clients.get(name)
        fits = client is not None and hmac.compare_digest(secret.encode(), client.secret.encode())
        return client if fits else None


def _refused(error: str, status: int = 400, headers: Mapping[str, str] | None = None) -> Response:
    return json_response({"error": error}, status, headers)
