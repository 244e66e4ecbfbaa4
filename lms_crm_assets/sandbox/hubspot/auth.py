"""Tokens: the private app's own, which never expires, and OAuth's, which live 1,800 seconds.

HubSpot documentation, "OAuth" and "Private apps"; error texts from recorded answers.
"""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lms_crm_assets.sandbox.hubspot.errors import PORTAL_ID, HubSpotError
from lms_crm_assets.sandbox.hubspot.options import Options
from lms_crm_assets.sandbox.hubspot.table import now_ms
from lms_crm_assets.sandbox.hubspot.values import iso
from lms_crm_assets.sandbox.oauth_codes import Codes, proves

FIRST_REFRESH_TOKEN = "sandbox-refresh-token"  # noqa: S105 - the sandbox's own
AUTHORIZATION_CODE = "sandbox-code"

App = Literal["private", "oauth"]


@dataclass(slots=True)
class Token:
    """An OAuth access token; `calls_left` None: only time ends it."""

    expires: float
    expires_ms: int
    calls_left: int | None


class Auth:
    """Who may call, and the OAuth grants.

    A portal starts with one refresh token (`sandbox-refresh-token`) and one code of a person who never looked (`sandbox-code`, for many uses); all
    others come from the page of `/oauth/authorize`.
    `options` may be replaced at any time: tokens that were granted keep their end.
    """

    def __init__(self, access_token: str, client_id: str, client_secret: str, options: Options) -> None:
        self.options = options
        self._access_token = access_token
        self._client_id = client_id
        self._client_secret = client_secret
        self._tokens: dict[str, Token] = {}
        self._numbers = itertools.count(1)
        self.refresh_tokens = [FIRST_REFRESH_TOKEN]
        self.client_id = client_id
        self.codes = Codes(time.monotonic, lambda: self.options.code_seconds)

    def authenticate(self, header: str | None) -> App:
        """The kind of app behind an `Authorization` header; `HubSpotError` 401."""
        scheme, _, text = (header or "").partition(" ")
        if scheme.lower() == "bearer" and text == self._access_token:
            return "private"
        token = self._tokens.get(text) if scheme.lower() == "bearer" else None
        if token is None:
            raise HubSpotError(
                401,
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find "
                "more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
                category="INVALID_AUTHENTICATION",
            )
        if time.monotonic() >= token.expires or token.calls_left == 0:
            seconds = max(0, now_ms() - token.expires_ms) // 1000
            raise HubSpotError(
                401,
                f"The OAuth token used to make this call expired {seconds} second(s) ago.",
                category="EXPIRED_AUTHENTICATION",
                context={"expire time": [iso(token.expires_ms)]},
            )
        if token.calls_left is not None:
            token.calls_left -= 1
            if token.calls_left == 0:
                token.expires_ms = now_ms()
        return "oauth"

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint; `HubSpotError` 400 with `BAD_…` as its status."""
        if form.get("client_id") != self._client_id:
            raise _bad("CLIENT_ID", "missing or unknown client id")
        if form.get("client_secret") != self._client_secret:
            raise _bad("CLIENT_SECRET", "missing or invalid client secret")
        match form.get("grant_type"):
            case "refresh_token":
                refresh_token = form.get("refresh_token", "")
                if refresh_token not in self.refresh_tokens:
                    raise _bad("REFRESH_TOKEN", "missing or invalid refresh token")
                if self.options.rotate_refresh_tokens:
                    self.refresh_tokens.remove(refresh_token)
                    refresh_token = self._new_refresh_token()
                return self._new_token() | {"refresh_token": refresh_token}
            case "authorization_code":
                self._redeem(form)
                return self._new_token() | {"refresh_token": self._new_refresh_token()}
            case "client_credentials":
                return self._new_token()
            case _:
                raise _bad("GRANT_TYPE", "missing or unknown grant type")

    def _redeem(self, form: Mapping[str, str]) -> None:
        of_nobody = form.get("code") == AUTHORIZATION_CODE
        asked = None if of_nobody else self.codes.redeem(form.get("code", ""))
        if asked is None and not of_nobody:
            raise _bad("AUTH_CODE", "missing or unknown auth code")
        redirect_uri = form.get("redirect_uri")
        if not redirect_uri or (asked is not None and redirect_uri != asked.redirect_uri):
            raise _bad("REDIRECT_URI", "missing or invalid redirect uri")
        if (
            asked is not None
            and asked.challenge is not None
            and not proves(form.get("code_verifier", ""), asked.challenge)
        ):
            raise _bad("CODE_VERIFIER", "missing or invalid code verifier")

    def _new_token(self) -> dict[str, Any]:
        text = f"sandbox-access-{now_ms()}-{next(self._numbers)}"
        seconds, calls = self.options.token_seconds, self.options.token_calls
        self._tokens[text] = Token(time.monotonic() + seconds, now_ms() + int(seconds * 1000), calls)
        return {"token_type": "bearer", "access_token": text, "expires_in": int(seconds), "hub_id": PORTAL_ID}

    def _new_refresh_token(self) -> str:
        text = f"sandbox-refresh-{now_ms()}-{next(self._numbers)}"
        self.refresh_tokens.append(text)
        return text


def _bad(what: str, message: str) -> HubSpotError:
    return HubSpotError(400, message, category="VALIDATION_ERROR", label=f"BAD_{what}")
