"""Who sent a delivery: one pure function a verifier, over the raw body, the headers and the moment.

Each raises `RefusedError` and nothing else, whatever a stranger sends; signatures are compared as texts, in constant time, so
that a signature has one spelling (base64 read leniently has several).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK

from lms_crm_assets.receiver.strict_json import NotJsonError, read_json

TOLERANCE_SECONDS = 300.0
MAX_SIGNATURES = 8
ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""Of JWTs; none with a shared secret: a public key must never be taken for one."""

_ID = re.compile(r"[!-~]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
_SIGNATURE = re.compile(r"v[0-9]{1,2}[a-z]?,[A-Za-z0-9+/]{1,1024}={0,2}")
_HEX = re.compile(r"[0-9a-f]{64}|[0-9A-F]{64}")
_LONGEST_HEADER = 8192

# What HubSpot writes plainly in the address that it signs (its guide, "Validating requests", version 3).
_PLAIN = {
    "3A": ":", "2F": "/", "3F": "?", "40": "@", "21": "!", "24": "$", "27": "'", "28": "(", "29": ")", "2A": "*",
    "2C": ",", "3B": ";",
}  # fmt: skip
_ESCAPED = re.compile("%(" + "|".join(_PLAIN) + ")", re.IGNORECASE)


class RefusedError(Exception):
    """The delivery is not what its verifier asks for; the text is a fixed one, without anything that was sent."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived. `headers` are names in lower case and values, repeats included."""

    method: str
    url: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    query_token: bytes | None = None
    """A secret in the address, for senders that can send no header (Salesforce's outbound messages)."""

    def header(self, name: str) -> str:
        """The one value of a header."""
        wanted = name.lower().encode()
        found = [value for each, value in self.headers if each == wanted]
        if len(found) != 1:
            raise RefusedError(f"{name} is {'missing' if not found else 'there twice'}")
        if not found[0].isascii() or len(found[0]) > _LONGEST_HEADER:
            raise RefusedError(f"{name} is malformed")
        return found[0].decode("ascii")


def standard(received: Received, secrets: Iterable[bytes], now: float) -> str:
    """Standard Webhooks; gives the delivery's id."""
    delivery_id = received.header("webhook-id")
    timestamp = received.header("webhook-timestamp")
    signatures = received.header("webhook-signature").split(" ")
    if not _ID.fullmatch(delivery_id):
        raise RefusedError("webhook-id is malformed")
    if not _SECONDS.fullmatch(timestamp):
        raise RefusedError("webhook-timestamp is malformed")
    _check_time(now, float(timestamp))
    if len(signatures) > MAX_SIGNATURES or not all(map(_SIGNATURE.fullmatch, signatures)):
        raise RefusedError("webhook-signature is malformed")
    signed = b"%s.%s.%s" % (delivery_id.encode(), timestamp.encode(), received.body)
    expected = [b"v1," + _base64_hmac(secret, signed) for secret in secrets]
    _check_any(signatures, expected, "webhook-signature")
    return delivery_id


def standard_key(secret: str) -> bytes:
    """The key of a Standard Webhooks secret, base64 with or without `whsec_`; other texts are keys as they are."""
    encoded = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()


def hex_hmac(received: Received, header: str, secrets: Iterable[bytes]) -> None:
    """A hex HMAC-SHA256 of the body, in digits of one case."""
    given = received.header(header)
    if not _HEX.fullmatch(given):
        raise RefusedError(f"{header} is malformed")
    expected = [_hmac(secret, received.body).hex().encode() for secret in secrets]
    _check_any([given.lower()], expected, header)


def body_token(document: Any, member: str, secrets: Iterable[bytes]) -> None:
    """A secret that is a member of the body, which is a JSON object."""
    given = document.get(member) if isinstance(document, dict) else None
    if not isinstance(given, str):
        raise RefusedError("the body holds no token")
    _check_any([given], secrets, "the body's token")


def authorization(received: Received, secrets: Iterable[bytes]) -> None:
    """A secret as bearer token, or as the password of basic authentication, or in the address."""
    if received.query_token is not None:
        _check_any([received.query_token], secrets, "the address's token")
        return
    scheme, _, given = received.header("authorization").partition(" ")
    secret: bytes | str = given
    if scheme.lower() == "basic":
        try:
            opened = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError("Authorization is malformed") from None
        if base64.b64encode(opened).decode() != given or b":" not in opened:
            raise RefusedError("Authorization is malformed")
        secret = opened.partition(b":")[2]
    elif scheme.lower() != "bearer":
        raise RefusedError("Authorization is malformed")
    _check_any([secret], secrets, "Authorization")


def hubspot(received: Received, client_secret: bytes, now: float) -> None:
    """HubSpot's v3 signature, over method, address, body and a timestamp in milliseconds."""
    timestamp = received.header("x-hubspot-request-timestamp")
    given = received.header("x-hubspot-signature-v3")
    if not _MILLISECONDS.fullmatch(timestamp):
        raise RefusedError("X-HubSpot-Request-Timestamp is malformed")
    _check_time(now, int(timestamp) / 1000)
    url = _ESCAPED.sub(lambda escape: _PLAIN[escape[1].upper()], received.url)
    signed = received.method.encode() + url.encode() + received.body + timestamp.encode()
    _check_any([given], [_base64_hmac(client_secret, signed)], "X-HubSpot-Signature-v3")


def key_id(body: bytes) -> str:
    """Which key a JWT says to be signed with, before anything of it is believed."""
    try:
        header = jwt.get_unverified_header(body)
        name = header.get("kid", "")
    except Exception:  # noqa: BLE001 - a stranger's bytes; the library's errors are of many kinds
        raise RefusedError("the body is no JWT") from None
    if header.get("alg") not in ALGORITHMS or not isinstance(name, str):
        raise RefusedError("the JWT's algorithm is not accepted")
    return name


def signed_claims(
    body: bytes, keys: Iterable[Mapping[str, Any]], *, issuer: str | None, audience: str | None, now: float
) -> dict[str, Any]:
    """The claims of a body that is a JWT, signed with one of the keys (of a JWKS), in its one spelling.

    `NotJsonError` when what is signed is ambiguous.
    """
    name = key_id(body)
    segments = body.split(b".")
    if len(segments) != 3 or not all(map(_is_canonical, segments)):  # noqa: PLR2004 - header, claims, signature
        raise RefusedError("the body is no JWT")
    for key in keys:
        if key.get("kid", "") != name or key.get("use", "sig") != "sig":
            continue
        try:
            claims: dict[str, Any] = jwt.decode(
                body,
                PyJWK.from_dict(dict(key)),
                algorithms=list(ALGORITHMS),
                issuer=issuer,
                audience=audience,
                # The moments are compared below, with our clock.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": audience is not None,
                },
            )
        except Exception:  # noqa: BLE001, S112 - as above; another key of the same name may fit
            continue
        _check_moments(claims, now)
        read_json(_unpadded(segments[1]))
        return claims
    raise RefusedError("the JWT's signature, issuer or audience is wrong")


def _check_moments(claims: Mapping[str, Any], now: float) -> None:
    ends, begins = claims.get("exp"), claims.get("nbf")
    for moment in (ends, begins):
        if moment is not None and (isinstance(moment, bool) or not isinstance(moment, int | float)):
            raise RefusedError("the JWT's moments are malformed")
    if (ends is not None and ends + TOLERANCE_SECONDS < now) or (
        begins is not None and begins - TOLERANCE_SECONDS > now
    ):
        raise RefusedError("the JWT is stale or from the future")


def _is_canonical(segment: bytes) -> bool:
    try:
        return base64.urlsafe_b64encode(_unpadded(segment)).rstrip(b"=") == segment
    except (binascii.Error, ValueError):
        return False


def _unpadded(segment: bytes) -> bytes:
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def _check_time(now: float, then: float) -> None:
    if abs(now - then) > TOLERANCE_SECONDS:
        raise RefusedError("the timestamp is stale or from the future")


def _base64_hmac(secret: bytes, content: bytes) -> bytes:
    return base64.b64encode(_hmac(secret, content))


def _hmac(secret: bytes, content: bytes) -> bytes:
    # Not `hmac.digest`, which gives the process's turn away and has to wait for it again, for 3 µs of work.
    return hmac.new(secret, content, hashlib.sha256).digest()


def _check_any(given: Iterable[str | bytes], expected: Iterable[bytes], what: str) -> None:
    """Compare each with each, so that how long it takes tells nothing."""
    texts = [each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each for each in given]
    if not sum([hmac.compare_digest(text, one) for one in expected for text in texts]):
        raise RefusedError(f"{what} is wrong")


__all__ = [
    "ALGORITHMS",
    "MAX_SIGNATURES",
    "TOLERANCE_SECONDS",
    "NotJsonError",
    "Received",
    "RefusedError",
    "authorization",
    "body_token",
    "hex_hmac",
    "hubspot",
    "key_id",
    "signed_claims",
    "standard",
    "standard_key",
]
