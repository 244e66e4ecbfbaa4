"""Each channel against a real server: what arrives, what is refused, and that nothing of the address is told."""

import base64
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import TypeAdapter
from standardwebhooks.webhooks import Webhook

from lms_crm_assets.alerts.channels import send
from lms_crm_assets.alerts.message import Message
from lms_crm_assets.contract.alerts import Channel
from lms_crm_assets.errors import FatalError, LmsCrmError, RetryableError
from tests.mail_server import receiving
from tests.webhook_catcher import Catcher, catching

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
MESSAGE = Message(
    id="msg_1",
    event="alert.fired",
    tenant="acme",
    kind="rejected",
    subject="",
    told="3 records were not taken by the CRM (3 × A<B>&C)",
    todo="lms-crm dead-letters list --tenant acme",
    since=1_795_000_000.0,
    at=1_795_000_000.0,
    run_id="r1",
    run_url="https://ui.example/runs/r1",
)


def channel(**given: object) -> Channel:
    found: Channel = TypeAdapter[Channel](Channel).validate_python({"name": "ops", **given})
    return found


def mail(port: int, **given: object) -> Channel:
    found = {"host": "127.0.0.1", "port": port, "sender": "lms@example.test", "recipients": ["ops@example.test"]}
    return channel(to="email", **{**found, **given})


@pytest.fixture
def catcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catcher]:
    with catching() as found:
        monkeypatch.setenv("HOOK_URL", f"{found.url}")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield found


def test_slack_gets_a_text_and_blocks_with_its_own_marks_escaped(catcher: Catcher) -> None:
    send(channel(to="slack", url="env:HOOK_URL"), MESSAGE)

    [caught] = catcher.caught
    body = json.loads(caught.body)
    assert body["text"].splitlines() == [
        "[acme] Records not taken",
        "3 records were not taken by the CRM (3 × A&lt;B&gt;&amp;C).",
        "Since 2026-11-18 11:06 UTC.",
        "What to do: lms-crm dead-letters list --tenant acme.",
        "Run r1: https://ui.example/runs/r1",
    ]
    assert [block["text"]["text"].splitlines()[0] for block in body["blocks"]] == [
        "*[acme] Records not taken*",
        body["text"].splitlines()[1],
    ]


def test_a_program_can_check_who_signed(catcher: Catcher, monkeypatch: pytest.MonkeyPatch) -> None:
    to = channel(to="webhook", url=catcher.url, secret="env:HOOK_SECRET")
    send(to, MESSAGE)

    [caught] = catcher.caught
    told = Webhook(SECRET).verify(caught.body.decode(), caught.headers)
    assert (caught.headers["webhook-id"], told["type"], told["data"]["run_url"]) == (
        "msg_1",
        "alert.fired",
        MESSAGE.run_url,
    )
    monkeypatch.setenv("HOOK_SECRET", "whsec_c2hvcnQ=")
    with pytest.raises(FatalError, match="what lies at env:HOOK_SECRET is no whsec_"):
        send(to, MESSAGE)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [(503, RetryableError, "it answers 503"), (307, FatalError, "it answers 307: redirects are not followed")],
)
def test_what_is_not_taken_is_told_without_the_address(
    catcher: Catcher, status: int, error: type[LmsCrmError], told: str
) -> None:
    catcher.answers, catcher.headers = [status], {"location": f"{catcher.url}?elsewhere"}

    with pytest.raises(error, match=told) as raised:
        send(channel(to="slack", url="env:HOOK_URL"), MESSAGE)
    assert len(catcher.caught) == 1
    assert catcher.url not in str(raised.value)


def test_where_nobody_answers_and_plain_http_are_told(unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{unused_port}/secret")
    with pytest.raises(RetryableError, match=r"^it can't be reached: ConnectError$"):
        send(channel(to="slack", url="env:HOOK_URL"), MESSAGE)
    with pytest.raises(
        RetryableError, match=r"^the mail server can't be reached or broke off: ConnectionRefusedError$"
    ):
        send(mail(unused_port, security="none"), MESSAGE)
    monkeypatch.setenv("HOOK_URL", "http://hooks.example/secret")
    with pytest.raises(FatalError, match=r"^what lies at env:HOOK_URL is no https:// address$"):
        send(channel(to="slack", url="env:HOOK_URL"), MESSAGE)


def test_a_mail_comes_by_starttls_to_a_server_that_is_trusted_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = _self_signed(tmp_path)
    monkeypatch.setenv("MAIL_USER", "lms")
    monkeypatch.setenv("MAIL_PASSWORD", "right")
    with receiving(context, ("lms", "right")) as box:
        to = mail(box.port, username="env:MAIL_USER", password="env:MAIL_PASSWORD")
        with pytest.raises(RetryableError, match="TLS is not trusted"):
            send(to, MESSAGE)
        assert box.users == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert send(to, MESSAGE) == ""
        monkeypatch.setenv("MAIL_PASSWORD", "wrong")
        with pytest.raises(FatalError, match=r"^the mail server refuses the login \(535\)$"):
            send(to, MESSAGE)

    [got] = box.mails
    assert (got["subject"], got["to"], got["message-id"]) == (
        "[acme] Records not taken",
        "ops@example.test",
        "<msg_1@example.test>",
    )
    assert "3 records were not taken by the CRM (3 × A<B>&C)." in got.get_content()


def _self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, both = folder / "certificate.pem", folder / "both.pem"
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(private + pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both)
    return file, context
