"""The authorization-code grant with PKCE (RFC 6749, 4.1; RFC 7636) as both simulated CRMs have it: pages and codes.

A person's answer is a form: the page's two buttons post `request` and `decision` (`allow` or `deny`) to the page's address.
"""

import base64
import hashlib
import hmac
import html
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
_CALLBACK = "/callback"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an app asks a person for."""

    redirect_uri: str
    scope: str
    state: str
    challenge: str | None

    def back(self, **told: str) -> str:
        """The address that the person's browser is sent to, with the state as it was given."""
        state = {"state": self.state} if self.state else {}
        return f"{self.redirect_uri}?{urlencode({**told, **state})}"


class Codes:
    """The requests that wait for a person, and the codes that were handed out; `seconds` is how long a code lives."""

    def __init__(self, clock: Callable[[], float], seconds: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waiting: dict[str, Asked] = {}
        self._codes: dict[str, tuple[float, Asked]] = {}

    def page(self, title: str, asked: Asked) -> str:
        """The page on which a person allows or denies."""
        name = secrets.token_urlsafe(16)
        self._waiting[name] = asked
        buttons = "".join(f'<button name="decision" value="{word}">{word}</button>' for word in ("allow", "deny"))
        return (
            f"<!doctype html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>"
            f"<p>An app asks for: {html.escape(asked.scope)}</p>"
            f'<form method="post"><input type="hidden" name="request" value="{name}">{buttons}</form>'
        )

    def decided(self, form: Mapping[str, str], denied: Mapping[str, str]) -> str | None:
        """Where a person's answer leads; None for a request that nobody made or that was answered before."""
        asked = self._waiting.pop(form.get("request", ""), None)
        if asked is None:
            return None
        if form.get("decision") != "allow":
            return asked.back(**denied)
        code = secrets.token_urlsafe(32)
        self._codes[code] = self._clock() + self._seconds(), asked
        return asked.back(code=code)

    def redeem(self, code: str) -> Asked | None:
        """What a code stands for, once; None when it is unknown, used or over."""
        ends, asked = self._codes.pop(code, (0.0, None))
        return asked if asked is not None and self._clock() < ends else None


def is_registered(redirect_uri: str) -> bool:
    """Whether the app has this address for answers: any port of loopback, and one path."""
    parts = urlsplit(redirect_uri)
    host = parts.netloc.rpartition(":")[0] if parts.netloc.rpartition(":")[2].isdecimal() else parts.netloc
    plain = parts.scheme == "http" and parts.path == _CALLBACK and not (parts.query or parts.fragment)
    return plain and host in _LOOPBACK


def proves(verifier: str, challenge: str) -> bool:
    """Whether a verifier is the one behind a challenge of method S256."""
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    found = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return hmac.compare_digest(found, challenge.encode("ascii", "replace"))
