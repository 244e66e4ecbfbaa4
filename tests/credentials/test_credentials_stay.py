"""Credentials go to the configured address alone: over no redirect, over no TLS that isn't verified, over no plain HTTP."""

import asyncio
import datetime as dt
import importlib
import ipaddress
import pkgutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import AfterValidator, SecretStr, TypeAdapter, ValidationError

from lms_crm_assets import contract as contract_package
from lms_crm_assets.alerts.channels import send as send_alert
from lms_crm_assets.alerts.message import Message
from lms_crm_assets.contract import credentials, endpoints
from lms_crm_assets.contract.alerts import SlackChannel
from lms_crm_assets.contract.endpoints import Address, ContractModel
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.approval import Asking, app_of, exchange
from lms_crm_assets.crm.hubspot.adapter import HubSpotAdapter
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.receiver.jwks import KeySets
from tests.conftest import TENANTS, empty_store

SECRET = "canary-of-a-credential"
OAUTH: dict[str, Any] = dict.fromkeys(("client_id", "client_secret", "refresh_token"), "env:SECRET")
SALESFORCE: dict[str, Any] = {"adapter": "salesforce", **OAUTH, "flow": "refresh_token"}
HUBSPOT: dict[str, Any] = {"adapter": "hubspot", **OAUTH, "flow": "refresh_token"}
TOKEN_PATHS = ("/services/oauth2/token", "/oauth/v3/token", "/login/oauth2/token", "/token")


def with_ends(**ends: dict[str, Any]) -> Contract:
    """An example contract between other ends; those that are not named are nowhere."""
    environ = dict.fromkeys(("GLOBEX_LMS_URL", "GLOBEX_CRM_URL"), "https://nowhere.example")
    content = load_contract(TENANTS, "globex", environ).model_dump(mode="json", by_alias=True, exclude_unset=True)
    return Contract.model_validate({**content, **ends})


def lms(address: str, **source: Any) -> None:
    with closing(lms_adapter(with_ends(source={"url": address, **source}), empty_store())) as adapter:
        adapter.probe()


def crm(address: str, **destination: Any) -> None:
    with closing(crm_adapter(with_ends(destination={"url": address, **destination}), empty_store())) as adapter:
        adapter.probe()


def hubspot_write(address: str) -> None:
    contract = with_ends(destination={"url": address, "adapter": "hubspot", "access_token": "env:SECRET"})
    with closing(crm_adapter(contract, empty_store())) as adapter:
        assert isinstance(adapter, HubSpotAdapter)
        adapter.client.call("POST", "/crm/v3/objects/contacts/batch/upsert", body={"inputs": []})


def approval(address: str, **destination: Any) -> None:
    contract = with_ends(destination={"url": address, **destination})
    app = app_of(contract, secrets_of("globex", empty_store()))
    exchange(app, Asking.new("http://127.0.0.1:1/callback"), SecretStr(SECRET))


def alert(address: str) -> None:
    channel = SlackChannel(name="ops", to="slack", url="env:HOOK_URL")
    message = Message("1", "alert.test", "acme", "test", "", told="", todo=SECRET, since=0.0, at=0.0)
    send_alert(channel, message, lambda _: SecretStr(f"{address}/hook"))


def jwks(address: str) -> None:
    asyncio.run(KeySets().keys(f"{address}/keys", "a"))


CLIENTS: dict[str, Callable[[str], None]] = {
    "moodle": lambda at: lms(at, adapter="moodle", token="env:SECRET"),
    "canvas": lambda at: lms(at, adapter="canvas", token="env:SECRET"),
    "canvas, refreshed": lambda at: lms(at, adapter="canvas", flow="refresh_token", **OAUTH),
    "thinkific": lambda at: lms(at, adapter="thinkific", subdomain="x", api_key="env:SECRET"),
    "changes": lambda at: lms(at, adapter="changes", token="env:SECRET"),
    "oneroster": lambda at: lms(
        at, adapter="oneroster", token_url=f"{at}/token", client_id="env:SECRET", client_secret="env:SECRET"
    ),
    "salesforce": lambda at: crm(at, adapter="salesforce", client_id="env:SECRET", client_secret="env:SECRET"),
    "salesforce, refreshed": lambda at: crm(at, **SALESFORCE),
    "hubspot": lambda at: crm(at, adapter="hubspot", access_token="env:SECRET"),
    "hubspot, written to": hubspot_write,
    "hubspot, refreshed": lambda at: crm(at, **HUBSPOT),
    "connect to salesforce": lambda at: approval(at, **SALESFORCE),
    "connect to hubspot": lambda at: approval(at, **HUBSPOT),
    "jwks": jwks,
    "alerts": alert,
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tokens, "_shared", {})
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("LMS_CRM_KEY", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    with stamina.set_testing(True, attempts=1):
        yield


@dataclass
class Elsewhere:
    """Another host, and whatever arrives there."""

    address: str = ""
    received: list[str] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[int]:
    """A server on loopback; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"{}", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_follows_a_redirect_to_another_host(client: str) -> None:
    elsewhere, asked = Elsewhere(), list[str]()

    def steals(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        elsewhere.received.append(f"{handler.requestline} {handler.headers} {body!r}")
        send(handler, 200)

    with serving(steals) as port:
        # By turns everything leads there, and all but the way to a token.
        for status, with_token in ((302, False), (307, True), (308, False), (303, True)):

            def leads_away(
                handler: BaseHTTPRequestHandler, body: bytes, *, status: int = status, with_token: bool = with_token
            ) -> None:
                asked.append(f"{handler.headers} {body!r}")
                if with_token and handler.path in TOKEN_PATHS:
                    answer = {"access_token": SECRET, "refresh_token": SECRET, "token_type": "bearer"}
                    send(handler, 200, orjson.dumps(answer))
                else:
                    send(handler, status, Location=f"http://localhost:{port}/stolen")

            tokens._shared.clear()
            with serving(leads_away) as own, suppress(Exception):
                CLIENTS[client](f"http://127.0.0.1:{own}")

    assert client == "jwks" or any(SECRET in each for each in asked) or any("Basic " in each for each in asked)
    assert elsewhere.received == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("certificate") / "both.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@contextmanager
def listening(certificate: Path) -> Iterator[tuple[str, list[bytes], list[str]]]:
    """A TLS server's address, what came through TLS, and how handshakes ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    came, ended, over = list[bytes](), list[str](), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not over.is_set():
                try:
                    plain, _ = listener.accept()
                except TimeoutError:
                    continue
                plain.settimeout(10)
                try:
                    with context.wrap_socket(plain, server_side=True) as wrapped:
                        came.append(wrapped.recv(65536))
                except OSError as exc:
                    ended.append(type(exc).__name__)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}", came, ended
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("client", CLIENTS)
def test_no_setting_turns_the_verification_of_tls_off(
    client: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_VERIFY", "PYTHONHTTPSVERIFY", "HUBSPOT_VERIFY_SSL"):
        monkeypatch.setenv(name, "" if name.endswith("BUNDLE") else "0")

    with listening(certificate) as (address, came, ended), suppress(Exception):
        CLIENTS[client](address)

    assert [each for each in came if each] == []
    assert ended or came, "the client spoke to the server at all"


@pytest.mark.parametrize(
    "address",
    [
        "http://crm.example",
        "http://127.0.0.1.crm.example",
        "http://localhost.crm.example",
        "http://localhost@crm.example",
        "http://127.0.0.2",
        "ftp://127.0.0.1",
        "//127.0.0.1",
        "HTTP://crm.example",
    ],
)
def test_an_address_without_tls_is_loopback_or_refused(address: str) -> None:
    with pytest.raises(ValidationError, match=r"https://|an address alone"):
        TypeAdapter(Address).validate_python(address)
    for fine in ("https://crm.example", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"):
        assert TypeAdapter(Address).validate_python(fine) == fine


def test_every_address_of_a_contract_is_held_to_that() -> None:
    for module in pkgutil.iter_modules(contract_package.__path__):
        importlib.import_module(f"{contract_package.__name__}.{module.name}")
    models, waiting = list[type[ContractModel]](), [ContractModel]
    while waiting:
        models.append(waiting.pop())
        waiting.extend(models[-1].__subclasses__())

    # A reference to a secret is no address; what lies there is held to it when it is used (`alerts.channels`).
    urls = {
        (model, name): told
        for model in models
        for name, told in model.model_fields.items()
        if "url" in name and credentials.PATTERN not in repr(told.metadata)
    }
    loose = [
        f"{model.__name__}.{name}"
        for (model, name), told in urls.items()
        if AfterValidator(endpoints._base_address) not in told.metadata and "_base_address" not in repr(told.annotation)
    ]
    assert len(urls) > 8
    assert loose == []


def test_no_code_of_ours_weakens_tls() -> None:
    package = Path(contract_package.__path__[0]).parent
    weak = (
        "verify=False",
        "verify_ssl",
        "CERT_NONE",
        "_create_unverified_context",
        "check_hostname",
        "assert_hostname",
    )
    found = [
        f"{file.relative_to(package)}: {each}"
        for file in package.rglob("*.py")
        for each in weak
        if each in file.read_text(encoding="utf-8")
    ]
    assert found == []
