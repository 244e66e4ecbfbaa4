"""The verifiers as functions: what a sender signed passes, anything else is refused, and nothing else is raised."""

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.receiver import verifiers
from lms_crm_assets.receiver.verifiers import NotJsonError, Received, RefusedError
from tests.receiver_server import NEXT_SECRET, OTHER_SECRET, SECRET, signed

NOW = 1_795_000_000.0
BODY = b'{"type": "course.completed", "data": {"learner": 17}}'
KEYS = [verifiers.standard_key(SECRET), verifiers.standard_key(NEXT_SECRET)]
SEED = 20261127


def received(headers: Mapping[str, str], body: bytes = BODY, **more: Any) -> Received:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Received("POST", "https://hooks.example.org/api/v1/hooks/acme/crm", raw, body, **more)


def with_header(found: Received, name: str, value: bytes | None) -> Received:
    kept = [each for each in found.headers if each[0] != name.encode()]
    return replace(found, headers=kept if value is None else [*kept, (name.encode(), value)])


def standard(found: Received, now: float = NOW) -> str:
    return verifiers.standard(found, KEYS, now)


def test_what_others_sign_is_accepted() -> None:
    foreign = standardwebhooks.Webhook(NEXT_SECRET)
    at = datetime.fromtimestamp(NOW, UTC)
    signature = foreign.sign("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", at, BODY.decode())
    headers = {
        "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": str(int(NOW)),
        "webhook-signature": signature,
    }

    assert standard(received(headers)) == "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"


@pytest.mark.parametrize("secret", [SECRET, NEXT_SECRET])
def test_two_secrets_overlap(secret: str) -> None:
    assert standard(received(signed(BODY, secret=secret, at=NOW))) == "msg_1"
    both = [signed(BODY, secret=each, at=NOW)["webhook-signature"] for each in (OTHER_SECRET, secret)]
    assert standard(received({**signed(BODY, at=NOW), "webhook-signature": " ".join(both)})) == "msg_1"


@pytest.mark.parametrize(("seconds", "passes"), [(-301, False), (-299, True), (0, True), (299, True), (301, False)])
def test_a_timestamp_counts_for_five_minutes(seconds: int, passes: bool) -> None:  # noqa: FBT001 - a parameter
    found = received(signed(BODY, at=NOW + seconds))
    if passes:
        standard(found)
    else:
        with pytest.raises(RefusedError, match="stale or from the future"):
            standard(found)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("webhook-id", None, "webhook-id is missing"),
        ("webhook-timestamp", None, "webhook-timestamp is missing"),
        ("webhook-signature", None, "webhook-signature is missing"),
        ("webhook-id", b"", "webhook-id is malformed"),
        ("webhook-id", b"a b", "webhook-id is malformed"),
        ("webhook-id", b"x" * 257, "webhook-id is malformed"),
        ("webhook-id", "bücher".encode(), "webhook-id is malformed"),
        ("webhook-timestamp", b"", "webhook-timestamp is malformed"),
        ("webhook-timestamp", b"1795000000.0", "webhook-timestamp is malformed"),
        ("webhook-timestamp", b" 1795000000", "webhook-timestamp is malformed"),
        ("webhook-timestamp", b"+1795000000", "webhook-timestamp is malformed"),
        ("webhook-timestamp", b"-1795000000", "webhook-timestamp is malformed"),
        ("webhook-timestamp", b"1_795_000_000", "webhook-timestamp is malformed"),
        ("webhook-timestamp", b"1e9", "webhook-timestamp is malformed"),
        ("webhook-timestamp", "١٧٩٥٠٠٠٠٠٠".encode(), "webhook-timestamp is malformed"),
        ("webhook-timestamp", b"9" * 5000, "webhook-timestamp is malformed"),
        ("webhook-signature", b"", "webhook-signature is malformed"),
        ("webhook-signature", b"v1", "webhook-signature is malformed"),
        ("webhook-signature", b"v1,", "webhook-signature is malformed"),
        ("webhook-signature", b"v1,not base64!", "webhook-signature is malformed"),
        ("webhook-signature", "v1,ünïcode".encode(), "webhook-signature is malformed"),
        ("webhook-signature", b"v1,AAAA", "webhook-signature is wrong"),
        ("webhook-signature", b"v" * 9000, "webhook-signature is malformed"),
    ],
)
def test_what_is_missing_or_malformed_is_refused(name: str, value: bytes | None, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        standard(with_header(received(signed(BODY, at=NOW)), name, value))


def test_a_header_that_is_there_twice_is_refused() -> None:
    found = received(signed(BODY, at=NOW))
    with pytest.raises(RefusedError, match="webhook-id is there twice"):
        standard(replace(found, headers=[*found.headers, (b"webhook-id", b"msg_1")]))


def test_at_most_eight_signatures_are_compared() -> None:
    right = signed(BODY, at=NOW)["webhook-signature"]
    wrong = signed(BODY, at=NOW, secret=OTHER_SECRET)["webhook-signature"]
    found = received(signed(BODY, at=NOW))

    assert standard(with_header(found, "webhook-signature", " ".join([wrong] * 7 + [right]).encode())) == "msg_1"
    with pytest.raises(RefusedError, match="malformed"):
        standard(with_header(found, "webhook-signature", " ".join([wrong] * 8 + [right]).encode()))


def test_another_tenants_secret_is_refused() -> None:
    with pytest.raises(RefusedError, match="wrong"):
        standard(received(signed(BODY, secret=OTHER_SECRET, at=NOW)))


def _rsa_jwk() -> tuple[Any, dict[str, Any]]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    return private, {**public, "kid": "k1", "use": "sig", "alg": "RS256"}


RSA_KEY, RSA_JWK = _rsa_jwk()
CLAIMS = {"iss": "canvas", "aud": "us", "metadata": {"event_name": "course_completed"}, "body": {"user_id": "17"}}


def token(claims: Mapping[str, Any] = CLAIMS, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "k1") -> bytes:
    return jwt.encode(dict(claims), key, algorithm, {"kid": kid}).encode()


def claims_of(body: bytes, *jwks: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return verifiers.signed_claims(
        body, jwks or [RSA_JWK], issuer=more.get("issuer", "canvas"), audience=more.get("audience", "us"), now=NOW
    )


HEX = {"X-Thinkific-Hmac-Sha256": hmac.digest(b"s", BODY, hashlib.sha256).hex()}
URL = "https://hooks.example.org/api/v1/hooks/acme/crm"
HUBSPOT = {
    "X-HubSpot-Request-Timestamp": "1795000000000",
    "X-HubSpot-Signature-v3": base64.b64encode(
        hmac.digest(b"s", f"POST{URL}".encode() + BODY + b"1795000000000", hashlib.sha256)
    ).decode(),
}
SIGNED: dict[str, tuple[Received, Callable[[Received], object]]] = {
    "standard": (received(signed(BODY, at=NOW)), standard),
    "hmac": (received(HEX), lambda found: verifiers.hex_hmac(found, "X-Thinkific-Hmac-Sha256", [b"s"])),
    "hubspot": (received(HUBSPOT), lambda found: verifiers.hubspot(found, b"s", NOW)),
    "jwt": (received({}, token()), lambda found: claims_of(found.body)),
}


def mutated(found: Received, chance: random.Random) -> Received:
    """The request with one byte of its body, or of a header's value, exchanged, taken out or put in."""
    place = chance.randrange(-1, len(found.headers)) if found.headers else -1
    value = found.body if place < 0 else found.headers[place][1]
    at = chance.randrange(len(value))
    other = bytes([chance.choice([each for each in range(256) if each != value[at]])])
    inserted = value[:at] + other + value[at:]
    changed = chance.choice([value[:at] + other + value[at + 1 :], value[:at] + value[at + 1 :], inserted])
    if place < 0:
        return replace(found, body=changed)
    headers = list(found.headers)
    headers[place] = headers[place][0], changed
    return replace(found, headers=headers)


@pytest.mark.parametrize("name", SIGNED)
def test_ten_thousand_mutations_of_a_signed_request_are_refused(name: str) -> None:
    found, verify = SIGNED[name]
    if name == "standard":
        # The type is not signed.
        found = with_header(found, "content-type", None)
    verify(found)
    chance = random.Random(SEED)
    for _ in range(10_000):
        with pytest.raises(RefusedError):
            verify(mutated(found, chance))


@pytest.mark.parametrize("name", SIGNED)
@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=4), st.binary(max_size=60))
def test_nothing_but_a_refusal_leaves_a_verifier(name: str, values: list[tuple[int, bytes]], body: bytes) -> None:
    found, verify = SIGNED[name]
    headers = list(found.headers)
    for place, value in values:
        if place < len(headers):
            headers[place] = headers[place][0], value
    with pytest.raises(RefusedError):
        verify(replace(found, headers=headers, body=body))


def test_a_hex_signature_is_in_digits_of_one_case() -> None:
    upper = {"X-Thinkific-Hmac-Sha256": HEX["X-Thinkific-Hmac-Sha256"].upper()}
    SIGNED["hmac"][1](received(upper))
    for bad in ("sha256=" + HEX["X-Thinkific-Hmac-Sha256"], HEX["X-Thinkific-Hmac-Sha256"][:-1], ""):
        with pytest.raises(RefusedError, match="malformed"):
            SIGNED["hmac"][1](received({"X-Thinkific-Hmac-Sha256": bad}))


def test_hubspot_signs_some_escapes_plainly_and_the_query_too() -> None:
    # As in HubSpot's guide: %40 is signed as @, %20 stays.
    signed_url = "https://hooks.example.org/api/v1/hooks/acme/crm?a=x@y%20z:1"
    content = f"POST{signed_url}".encode() + BODY + b"1795000000000"
    signature = base64.b64encode(hmac.digest(b"s", content, hashlib.sha256)).decode()
    found = received({**HUBSPOT, "X-HubSpot-Signature-v3": signature})
    verifiers.hubspot(replace(found, url="https://hooks.example.org/api/v1/hooks/acme/crm?a=x%40y%20z%3a1"), b"s", NOW)

    for seconds in (-301, 301):
        with pytest.raises(RefusedError, match="stale or from the future"):
            verifiers.hubspot(received(HUBSPOT), b"s", NOW + seconds)


def basic(user_and_secret: bytes) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(user_and_secret).decode()}"}


def test_a_secret_in_authorization() -> None:
    for good in ({"Authorization": "Bearer s:1"}, {"Authorization": "bearer s:1"}, basic(b"moodle:s:1")):
        verifiers.authorization(received(good), [b"x", b"s:1"])
    verifiers.authorization(received({}, query_token=b"s:1"), [b"s:1"])
    bad = [{}, basic(b"moodle:s"), basic(b"s:1"), {"Authorization": "s:1"}, {"Authorization": "Digest s:1"}]
    bad += [{"Authorization": "Bearer "}, {"Authorization": "Basic %%%"}, {"Authorization": "Bearer s:1 "}]
    for headers in bad:
        with pytest.raises(RefusedError):
            verifiers.authorization(received(headers), [b"s:1"])
    with pytest.raises(RefusedError):
        verifiers.authorization(received({"Authorization": "Bearer s:1"}, query_token=b"wrong"), [b"s:1"])


@pytest.mark.parametrize(
    "document", [None, [], "s", {}, {"token": 1}, {"token": ["s"]}, {"token": "\ud800"}, {"t": "s"}]
)
def test_a_secret_in_the_body(document: object) -> None:
    verifiers.body_token({"token": "s"}, "token", [b"s"])
    with pytest.raises(RefusedError):
        verifiers.body_token(document, "token", [b"s"])


def test_jwts_of_the_accepted_algorithms() -> None:
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    jwks = [
        RSA_JWK,
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(curve.public_key())), "kid": "k1"},
        {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(edwards.public_key())), "kid": "k1"},
    ]
    for key, algorithm in ((RSA_KEY, "RS256"), (curve, "ES256"), (edwards, "EdDSA")):
        assert claims_of(token(key=key, algorithm=algorithm), *jwks)["body"] == {"user_id": "17"}


def test_jwts_that_are_refused() -> None:
    other, _ = _rsa_jwk()
    public = jwt.algorithms.RSAAlgorithm.from_jwk(json.dumps(RSA_JWK))
    assert public is not None
    segments = token().split(b".")

    def encoded(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    header = json.dumps({"alg": "HS256", "kid": "k1"}).encode()
    # The public key taken for a shared secret.
    confused = encoded(header) + b"." + segments[1]
    secret = json.dumps(RSA_JWK).encode()
    confused += b"." + encoded(hmac.digest(secret, confused, hashlib.sha256))
    bad: list[bytes] = [
        b"",
        b"a.b.c",
        b"{}",
        confused,
        encoded(b'{"alg": "none", "kid": "k1"}') + b"." + segments[1] + b".",
        token(key="a secret that is long enough for HS256", algorithm="HS256"),
        token(algorithm="RS512"),
        token(algorithm="PS256"),
        token(key=other),
        token(kid="k2"),
        token({**CLAIMS, "iss": "somebody"}),
        token({**CLAIMS, "aud": "others"}),
        token({**CLAIMS, "exp": NOW - 301}),
        token({**CLAIMS, "nbf": NOW + 301}),
        token() + b"=",
        token() + b"\n",
        # The last digit's spare bits: the same signature, spelled otherwise.
        token()[:-1] + bytes([token()[-1] + 1]),
    ]
    for body in bad:
        with pytest.raises(RefusedError):
            claims_of(body)
    claims_of(token({**CLAIMS, "exp": NOW - 299}))
    with pytest.raises(RefusedError):
        claims_of(token(), {**RSA_JWK, "use": "enc"})
    with pytest.raises(RefusedError):
        claims_of(token(), {"kid": "k1"}, {"kid": "k1", "kty": "RSA", "n": 5}, {"kid": "k1", "kty": "oct", "k": "AAAA"})


def test_a_jwt_may_have_no_issuer_or_audience_asked_for() -> None:
    assert claims_of(token(), issuer=None, audience=None)["iss"] == "canvas"


def test_a_jwt_whose_claims_are_ambiguous_is_told() -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"k1"}').rstrip(b"=")
    claims = base64.urlsafe_b64encode(b'{"a": 1, "a": 2}').rstrip(b"=")
    content = header + b"." + claims
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(content, RSA_KEY)
    body = content + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
    with pytest.raises(NotJsonError, match="twice"):
        claims_of(body, issuer=None, audience=None)


@pytest.mark.parametrize(
    ("secret", "key"), [(SECRET, b"a secret of 24 bytes ..."), ("YWJj", b"abc"), ("plain secret!", b"plain secret!")]
)
def test_secrets_are_base64_with_or_without_their_prefix(secret: str, key: bytes) -> None:
    assert verifiers.standard_key(secret) == key
