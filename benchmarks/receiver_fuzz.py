"""Requests that nobody foresaw, each a well-framed one of HTTP; half of them are signed as they should be."""

import base64
import gzip
import random

from tests.receiver_server import signed

PATHS = (
    "/api/v1/hooks/standard", "/api/v1/hooks/standard/crm", "/api/v1/hooks/hmac", "/api/v1/hooks/token",
    "/api/v1/hooks/bearer", "/api/v1/hooks/bearer/crm", "/api/v1/hooks/silent", "/api/v1/hooks/other",
    "/api/v1/hooks/nobody", "/api/v1/hooks/%00", "/api/v1/hooks/%ff/crm", "/api/v1/hooks/..%2f..%2fetc", "/livez",
    "/readyz", "/metrics", "/api/v1/openapi.json", "/", "//", "/api/v1/hooks/standard?token=%ff", "*",
)  # fmt: skip
METHODS = ("POST",) * 12 + ("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "BREW")
TYPES = (
    "application/json", "application/json; charset=utf-8", "application/jwt", "text/xml", "text/plain", "", ";;=",
    "application/json;charset=\xff", "APPLICATION/JSON", "application/vnd.api+json", "multipart/form-data",
)  # fmt: skip
PIECES = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"NaN", b"1e999", b"-", b"\\u0000", b"\\ud800", b"\\", b"\0", b"\xff",
    b"\xf0\x9f", b'"token"', b'"hook-secret-token"', b'"id"', b'"a":1', b"9" * 400, b"[" * 200, b'{"a":' * 70, b"<a>",
    b"<!DOCTYPE a>", b"</a>", b"eyJhbGciOiJub25lIn0.e30.", b"eyJhbGciOiJSUzI1NiJ9.", b" ", b"\n", b"\xef\xbb\xbf",
)  # fmt: skip
WHOLE = (
    b"{}", b"[]", b'{"type": "course.completed", "data": {"id": 5}}', b'{"token": "hook-secret-token", "objectid": "5"}',
    b'{"id": 5, "resource": "user", "action": "updated", "payload": {}}',
    b'[{"eventId": 1, "subscriptionId": 2, "attemptNumber": 0}]', b'[{"eventId": [], "a": {"b": "\\ud800"}}]',
    b'<a xmlns="b"><Notification><Id>1</Id></Notification></a>', b'{"id": {}, "resource": 1, "action": 2, "payload": 3}',
)  # fmt: skip
HEADERS = (
    "webhook-id", "webhook-timestamp", "webhook-signature", "authorization", "x-thinkific-hmac-sha256",
    "x-hubspot-signature-v3", "x-hubspot-request-timestamp", "content-encoding", "host", "accept", "idempotency-key",
    "cookie", "expect", "if-none-match", "x-forwarded-for", "content-type",
)  # fmt: skip
VALUES = (
    b"", b"0", b"-1", b"1795000000", b"9" * 300, b"v1,", b"v1,AAAA", b"v1,AAAA " * 12, b"Bearer bearer-secret",
    b"Basic " + base64.b64encode(b"u:bearer-secret"), b"Basic =", b"Bearer", b"\xff\xfe", b"gzip", b"br", b"identity",
    b"a" * 5000, b"\xd9\xa1", b"1e5", b"1_0", b"NaN", b"100-continue", b"*/*", b"[", b"application/json", b"text/xml",
)  # fmt: skip


def case(chance: random.Random) -> bytes:
    """One request, as it goes over the wire."""
    body = _body(chance)
    sent = gzip.compress(body) if chance.random() < 0.05 else body
    headers: list[tuple[str, bytes]] = []
    if chance.random() < 0.5:
        at = None if chance.random() < 0.8 else chance.choice([0.0, 1e11, 1.0])
        made = signed(body, f"fuzz-{chance.randrange(10**6)}", at=at)
        headers = [(name, value.encode()) for name, value in made.items()]
    else:
        headers.append(("content-type", chance.choice(TYPES).encode("latin-1")))
    if sent is not body:
        headers.append(("content-encoding", b"gzip"))
    for _ in range(chance.choice([0, 0, 1, 2, 5])):
        headers.append((chance.choice(HEADERS), chance.choice(VALUES)))
    if chance.random() < 0.1:
        headers.append(("x-" + "y" * chance.randrange(1, 200), bytes(chance.choices(range(33, 256), k=20))))
    chance.shuffle(headers)
    head = f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.1\r\n".encode()
    if not any(name == "host" for name, _ in headers):
        headers.append(("host", b"127.0.0.1"))
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in headers)
    if chance.random() < 0.1:
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent) if sent else b"0\r\n\r\n"
        return head + lines + b"transfer-encoding: chunked\r\n\r\n" + chunks
    return head + lines + b"content-length: %d\r\n\r\n" % len(sent) + sent


def _body(chance: random.Random) -> bytes:
    match chance.randrange(5):
        case 0:
            return chance.choice(WHOLE)
        case 1:
            return b"".join(chance.choices(PIECES, k=chance.randrange(12)))
        case 2:
            return chance.randbytes(chance.randrange(60))
        case 3:
            return b"x" * chance.choice([0, 1, 70_000])
        case _:
            whole = bytearray(chance.choice(WHOLE))
            for _ in range(chance.randrange(4)):
                at = chance.randrange(len(whole))
                whole[at : at + chance.randrange(3)] = chance.choice(PIECES)
            return bytes(whole)
