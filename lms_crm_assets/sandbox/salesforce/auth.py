"""The token endpoint: `POST /services/oauth2/token` (Salesforce help, OAuth Authorization Flows), and the tokens' lives.

Grants: `authorization_code`, `client_credentials`, `refresh_token`, `password` and the JWT bearer grant. A token's life is bounded by time
and, to let tests see a session end in the middle of work, by a number of calls.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lms_crm_assets.sandbox.oauth_codes import Codes, proves

from .errors import ApiError, session_expired
from .ids import with_suffix
from .options import Options
from .store import USER_ID

ORG_ID = with_suffix("00D5i000000Sand")
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_PARTS = 3


class OAuthError(Exception):
    """A refused token request: `{"error", "error_description"}`."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        """`status` is 400, or 401 when a Basic header was wrong (RFC 6749, 5.2)."""
        super().__init__(f"{error}: {description}")
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the token endpoint accepts."""

    client_id: str
    client_secret: str
    username: str
    password: str
    refresh_token: str


@dataclass(slots=True)
class _Session:
    issued_at: float
    calls_left: int | None


class Tokens:
    """Issues tokens and judges them."""

    def __init__(
        self,
        credentials: Credentials,
        options: Options,
        clock: Callable[[], float],
    ) -> None:
        """The options say how long a token lives, and whether a refresh token works once and its answer holds the next."""
        self._credentials = credentials
        self._options = options
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._issued = 0
        self.refresh_token = credentials.refresh_token
        self.approved: list[str] = []
        """Further refresh tokens, that people's approvals gave."""
        self.client_id = credentials.client_id
        self.codes = Codes(clock, lambda: options.code_seconds)

    def grant(self, form: Mapping[str, str], authorization: str, instance_url: str) -> dict[str, Any]:
        """The answer to a token request; `OAuthError` when it is refused."""
        match form.get("grant_type"):
            case "authorization_code":
                self._check_client(form, authorization)
                granted = self._redeem(form)
                return self._issue(instance_url) | granted
            case "client_credentials":
                self._check_client(form, authorization)
                return self._issue(instance_url) | {"api_instance_url": instance_url}
            case "refresh_token":
                self._check_client(form, authorization)
                rotated = self._refresh(form.get("refresh_token", ""))
                return self._issue(instance_url) | rotated
            case "password":
                self._check_client(form, authorization)
                self._check_password(form)
                return self._issue(instance_url)
            case grant if grant == _JWT_GRANT:
                self._check_assertion(form.get("assertion", ""))
                return self._issue(instance_url)
            case _:
                raise OAuthError("unsupported_grant_type", "grant type not supported")

    def check(self, authorization: str) -> None:
        """Use up one call of the session; `ApiError` 401 when the header names no living one."""
        scheme, _, token = authorization.partition(" ")
        if authorization and scheme.lower() not in {"bearer", "oauth"}:
            raise ApiError(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE")
        session = self._sessions.get(token)
        if session is None:
            raise session_expired()
        if session.calls_left == 0 or self._clock() >= session.issued_at + self._options.token_seconds:
            del self._sessions[token]
            raise session_expired()
        if session.calls_left is not None:
            session.calls_left -= 1

    def _issue(self, instance_url: str) -> dict[str, Any]:
        self._issued += 1
        secret = self._credentials.client_secret.encode()
        issued_at = str(int(self._clock() * 1000))
        identity = f"{instance_url}/id/{ORG_ID}/{USER_ID}"
        unique = hmac.new(secret, f"token {self._issued} {issued_at}".encode(), hashlib.sha512).digest()
        token = f"{ORG_ID[:15]}!{base64.urlsafe_b64encode(unique).decode().rstrip('=').replace('-', '.')}"
        self._sessions[token] = _Session(self._clock(), self._options.token_calls)
        signature = hmac.new(secret, (identity + issued_at).encode(), hashlib.sha256).digest()
        return {
            "access_token": token,
            "signature": base64.b64encode(signature).decode(),
            "scope": "api",
            "instance_url": instance_url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued_at,
        }

    def _check_client(self, form: Mapping[str, str], authorization: str) -> None:
        basic = authorization.lower().startswith("basic ")
        client, secret = _basic(authorization) if basic else (form.get("client_id", ""), form.get("client_secret", ""))
        status = 401 if basic else 400
        if client != self._credentials.client_id:
            raise OAuthError("invalid_client_id", "client identifier invalid", status)
        if not hmac.compare_digest(secret.encode(), self._credentials.client_secret.encode()):
            raise OAuthError("invalid_client", "invalid client credentials", status)

    def _check_password(self, form: Mapping[str, str]) -> None:
        if (form.get("username"), form.get("password")) != (self._credentials.username, self._credentials.password):
            raise OAuthError("invalid_grant", "authentication failure")

    def _redeem(self, form: Mapping[str, str]) -> dict[str, str]:
        asked = self.codes.redeem(form.get("code", ""))
        if asked is None:
            raise OAuthError("invalid_grant", "expired authorization code")
        if form.get("redirect_uri") != asked.redirect_uri:
            raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")
        if asked.challenge is not None and not proves(form.get("code_verifier", ""), asked.challenge):
            raise OAuthError("invalid_grant", "invalid code verifier")
        scopes = asked.scope.split()
        if not {"refresh_token", "offline_access"}.intersection(scopes):
            return {"scope": asked.scope}
        self.approved.append("5Aep" + secrets.token_hex(32))
        return {"scope": asked.scope, "refresh_token": self.approved[-1]}

    def _refresh(self, token: str) -> dict[str, str]:
        if token != self.refresh_token and token not in self.approved:
            raise OAuthError("invalid_grant", "expired access/refresh token")
        if not self._options.rotate_refresh_tokens:
            return {}
        secret = self._credentials.client_secret.encode()
        following = "5Aep" + hmac.new(secret, token.encode(), hashlib.sha256).hexdigest()
        if token in self.approved:
            self.approved[self.approved.index(token)] = following
        else:
            self.refresh_token = following
        return {"refresh_token": following}

    def _check_assertion(self, assertion: str) -> None:
        claims = _claims(assertion)
        if claims.get("iss") != self._credentials.client_id:
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if not claims.get("aud"):
            raise OAuthError("invalid_grant", "audience is invalid")
        try:
            expires_at = float(claims["exp"])  # simple-salesforce sends it as text
        except (KeyError, TypeError, ValueError):
            raise OAuthError("invalid_grant", "invalid assertion") from None
        if not claims.get("sub") or expires_at <= self._clock():
            raise OAuthError("invalid_grant", "invalid assertion")


def _basic(authorization: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(authorization.partition(" ")[2], validate=True).decode()
    except ValueError:
        return "", ""
    client, _, secret = decoded.partition(":")
    return client, secret


def _claims(assertion: str) -> dict[str, Any]:
    """The claims of a JWT of the right shape; the signature is not checked, the sandbox knows no certificate."""
    parts = assertion.split(".")
    try:
        header, claims = (orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except ValueError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    signed = len(parts) == _JWT_PARTS and parts[2] and isinstance(header, dict) and header.get("alg") == "RS256"
    if not signed or not isinstance(claims, dict):
        raise OAuthError("invalid_grant", "invalid assertion")
    return claims
