"""Signing access tokens, and reading them: JWTs of an hour, with a key derived from that of LMS_CRM_KEY_FILE."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from lms_crm_assets.ops.vault import key_bytes

LIFETIME_SECONDS = 3600
_ALGORITHM = "HS256"
_ISSUER = "lms-crm"


class Signer:
    """Signs tokens and reads them."""

    def __init__(self, key: SecretStr, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"lms-crm access tokens 1")
        self._key = derived.derive(key_bytes(key))

    def token(self, tenant: str, client: str, scopes: list[str]) -> str:
        """A token for so many scopes, from now on."""
        now = int(self._clock())
        claims = {
            "iss": _ISSUER, "aud": f"tenant:{tenant}", "sub": client, "scope": " ".join(scopes),
            "iat": now, "exp": now + LIFETIME_SECONDS, "jti": secrets.token_urlsafe(12),
        }  # fmt: skip
        return jwt.encode(claims, self._key, _ALGORITHM)

    def claims(self, token: str) -> dict[str, Any] | None:
        """What a token says; None when it is none of ours, or over."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                # The audience is compared with the route; the moment with our clock.
                options={
                    "require": ["exp", "iat", "sub", "aud", "scope"],
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except Exception:  # noqa: BLE001 - a stranger's text; the library's errors are of many kinds
            return None
        return claims if claims["exp"] > self._clock() else None
