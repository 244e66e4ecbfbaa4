"""Signing access tokens, and reading them: JWTs of an hour, with a key derived from that of LMS_CRM_KEY_FILE."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lms_crm_assets.ops.keys import Key, KeyRing

LIFETIME_SECONDS = 3600
_ALGORITHM = "HS256"
_ISSUER = "lms-crm"


class Signer:
    """Signs tokens and reads them."""

    def __init__(self, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ring = ring
        self._derived: dict[str, bytes] = {}

    def token(self, tenant: str, client: str, scopes: list[str]) -> str:
        """A token for so many scopes, from now on."""
        now = int(self._clock())
        claims = {
            "iss": _ISSUER, "aud": f"tenant:{tenant}", "sub": client, "scope": " ".join(scopes),
            "iat": now, "exp": now + LIFETIME_SECONDS, "jti": secrets.token_urlsafe(12),
        }  # fmt: skip
        return jwt.encode(claims, self._key(self._ring.present), _ALGORITHM)

    def claims(self, token: str) -> dict[str, Any] | None:
        """What a token says, also one of the former key; None when it is none of ours, or over."""
        found = next(filter(None, (self._read(token, key) for key in self._ring.keys)), None)
        return found if found is not None and found["exp"] > self._clock() else None

    def _key(self, key: Key) -> bytes:
        if key.id not in self._derived:
            derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"lms-crm access tokens 1")
            self._derived[key.id] = derived.derive(key.content)
        return self._derived[key.id]

    def _read(self, token: str, key: Key) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(key),
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
        return claims
