"""Who may call: tokens made by hand, which don't expire, and those of OAuth2's refresh, which live an hour.

Canvas documentation, "OAuth2 Endpoints"; error bodies: Canvas source, `oauth2_provider_controller.rb`. A refresh
gives no new refresh token.
"""

import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.sandbox.canvas.options import CanvasOptions
from lms_crm_assets.sandbox.canvas.wire import CanvasError, Viewer

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}
ADMIN = Viewer(900_000_001, "Sandbox Admin", privileged=True)
POOR = Viewer(900_000_002, "Poor Integration", privileged=False)


@dataclass(frozen=True)
class Credentials:
    """What the site gave out: `token` to an account admin, `poor_token` to one who sees itself alone."""

    token: str
    poor_token: str
    client_id: str
    client_secret: str
    refresh_token: str


@dataclass(slots=True)
class _Token:
    ends_at: float
    calls_left: int | None


class Auth:
    """The tokens of one site."""

    def __init__(self, credentials: Credentials) -> None:
        """Start with those made by hand."""
        self._credentials = credentials
        self._issued: dict[str, _Token] = {}
        self._numbers = itertools.count(1)

    def viewer(self, token: str | None) -> Viewer:
        """Whose token that is; uses up one of its calls. 401 without or with an unknown or expired one."""
        if token is None:
            body = {"status": "unauthenticated", "errors": [{"message": "user authorization required"}]}
            raise CanvasError(401, body, _CHALLENGE)
        if token == self._credentials.token:
            return ADMIN
        if token == self._credentials.poor_token:
            return POOR
        issued = self._issued.get(token)
        if issued is None or issued.calls_left == 0 or time.monotonic() >= issued.ends_at:
            raise CanvasError(401, {"errors": [{"message": "Invalid access token."}]}, _CHALLENGE)
        if issued.calls_left is not None:
            issued.calls_left -= 1
        return ADMIN

    def grant(self, form: Mapping[str, str], options: CanvasOptions) -> dict[str, Any]:
        """The answer of the token endpoint."""
        if form.get("client_id") != self._credentials.client_id:
            raise _refused(401, "invalid_client", "unknown client")
        if form.get("client_secret") != self._credentials.client_secret:
            raise _refused(401, "invalid_client", "invalid client")
        if form.get("grant_type") != "refresh_token":
            description = "The grant_type you requested is not currently supported by Canvas"
            raise _refused(400, "unsupported_grant_type", description)
        if form.get("refresh_token") != self._credentials.refresh_token:
            raise _refused(400, "invalid_grant", "refresh_token not found")
        token = f"1~{next(self._numbers)}{secrets.token_hex(30)}"
        self._issued[token] = _Token(time.monotonic() + options.token_seconds, options.token_calls)
        user = {
            "id": ADMIN.user_id,
            "name": ADMIN.name,
            "global_id": f"1{ADMIN.user_id:013d}",
            "effective_locale": "en",
        }
        return {
            "access_token": token,
            "token_type": "Bearer",
            "user": user,
            "canvas_region": "us-east-1",
            "expires_in": int(options.token_seconds),
        }

    def forget(self) -> None:
        """End all tokens that were given out."""
        self._issued.clear()


def _refused(status: int, error: str, description: str) -> CanvasError:
    return CanvasError(status, {"error": error, "error_description": description})
