"""Entering the org: three flows, one refresh however many calls were refused, rotation that survives the process."""

import base64
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import (
    CredentialError,
    LmsCrmError,
    ProtocolError,
    RateLimitedError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.store import OperationalStore
from tests.conftest import empty_store
from tests.crm.salesforce.support import TOKEN, Answer, Received, adapter, calls, options, scripted, spec_of

JSON = {"Content-Type": "application/json"}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
JWT: dict[str, Any] = {
    "flow": "jwt",
    "username": "sandbox@example.com",
    "private_key": "env:TEST_PRIVATE_KEY",
    "client_secret": None,
}
REFRESH: dict[str, Any] = {"flow": "refresh_token", "refresh_token": "env:TEST_REFRESH_TOKEN"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PRIVATE_KEY", PEM)
    monkeypatch.setenv("TEST_REFRESH_TOKEN", "sandbox-refresh")
    monkeypatch.setenv("LMS_CRM_KEY", base64.b64encode(bytes(32)).decode())


@pytest.mark.parametrize("flow", [{}, JWT, REFRESH], ids=["client_credentials", "jwt", "refresh_token"])
def test_each_flow_enters_the_org_and_is_counted_by_the_gate(sandbox: Sandbox, flow: dict[str, Any]) -> None:
    with adapter(**flow) as crm:
        crm.probe()

        assert crm.traffic["calls"] == 2
    assert calls(sandbox.salesforce, TOKEN) == {"200": 1}


def test_the_assertion_is_short_lived_and_for_the_configured_audience(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    with (
        scripted(lambda _: (200, JSON, b"{}")) as server,
        adapter(url=server.address, **JWT) as crm,
        pytest.raises(ProtocolError),
    ):
        crm.probe()

    form = parse_qs(server.received[0].body.decode())
    claims = jwt.decode(
        form["assertion"][0], KEY.public_key(), algorithms=["RS256"], audience="https://login.salesforce.com"
    )
    assert (claims["iss"], claims["sub"]) == ("sandbox-client", "sandbox@example.com")
    assert 0 < claims["exp"] - time.time() <= 180


def test_a_key_that_is_none_is_a_credential_error(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("TEST_PRIVATE_KEY", "no key but a secret")

    with adapter(**JWT) as crm, pytest.raises(CredentialError, match=r"destination\.private_key") as caught:
        crm.probe()

    assert "no key but a secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("flow", "variable", "key"),
    [
        ({}, "ACME_CRM_CLIENT_SECRET", "destination.client_secret"),
        (JWT, "ACME_CRM_CLIENT_ID", "destination.private_key"),
        (REFRESH, "TEST_REFRESH_TOKEN", "destination.refresh_token"),
    ],
)
def test_a_refused_credential_names_the_contracts_keys_and_no_secret(
    sandbox: Sandbox,  # noqa: ARG001 - environment
    monkeypatch: pytest.MonkeyPatch,
    flow: dict[str, Any],
    variable: str,
    key: str,
) -> None:
    monkeypatch.setenv(variable, "canary-of-a-secret")

    with adapter(**flow) as crm, pytest.raises(CredentialError) as caught:
        crm.probe()

    assert key in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "canary-of-a-secret" not in shown
    assert "sandbox-secret" not in shown


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"Content-Type": "text/html"}, b"<html>welcome</html>"), ProtocolError),
        ((200, JSON, b"[1]"), ProtocolError),
        ((200, JSON, b'{"access_token": 7}'), ProtocolError),
        ((302, {"Location": "https://elsewhere.example/"}, b""), ProtocolError),
        ((404, {}, b"not here"), ProtocolError),
        ((400, JSON, b'{"error": "invalid_grant", "error_description": "sandbox-secret"}'), CredentialError),
        ((400, JSON, b'{"error": "unknown_error", "error_description": "retry your request"}'), RetryableError),
        ((503, {}, b"<html>maintenance</html>"), RetryableError),
        ((429, {"Retry-After": "7"}, b""), RateLimitedError),
    ],
)
def test_a_login_tells_wrong_systems_refusals_and_passing_trouble_apart(
    sandbox: Sandbox,  # noqa: ARG001 - environment
    answer: Answer,
    error: type[LmsCrmError],
) -> None:
    with scripted(lambda _: answer) as server, adapter(url=server.address) as crm, pytest.raises(error) as caught:
        crm.probe()

    assert len(server.received) == 1
    assert "sandbox-secret" not in str(caught.value)
    if isinstance(caught.value, RateLimitedError):
        assert caught.value.retry_after_seconds == 7


def test_nothing_at_the_address_is_a_wrong_address(sandbox: Sandbox, unused_port: int) -> None:  # noqa: ARG001
    with (
        adapter(url=f"http://127.0.0.1:{unused_port}") as crm,
        pytest.raises(WrongAddressError, match=r"destination\.url"),
    ):
        crm.probe()


def test_fifty_refused_calls_make_one_refresh(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with adapter(concurrency=20) as crm:
        crm.probe()
        httpx.post(f"{sandbox.salesforce}/_sandbox/reset", json={"latency_seconds": 0.01}).raise_for_status()
        together = threading.Barrier(50)
        present = crm._org._tokens.valid

        def held_by_all(instead_of: str | None = None) -> str:
            token = present(instead_of)
            if instead_of is None:
                together.wait()
            return token

        monkeypatch.setattr(crm._org._tokens, "valid", held_by_all)

        def read(_: int) -> None:
            assert crm.read(spec_of(CrmObject.CONTACT), ["1"]) == []

        with ThreadPoolExecutor(50) as threads:
            list(threads.map(read, range(50)))

    assert calls(sandbox.salesforce, "/query") == {"401": 50, "200": 50}
    assert calls(sandbox.salesforce, TOKEN) == {"200": 1}


def test_sessions_that_end_after_fifty_calls_are_no_hindrance(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, token_calls=50)
    with adapter(concurrency=20) as crm, ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda key: crm.read(spec_of(CrmObject.CONTACT), [str(key)]), range(400)))

    assert calls(sandbox.salesforce, "/query")["200"] == 400
    assert 8 <= calls(sandbox.salesforce, TOKEN)["200"] <= 12


def test_a_session_that_stays_refused_is_refreshed_once(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, token_seconds=0)

    with adapter() as crm, pytest.raises(CredentialError, match="INVALID_SESSION_ID"):
        crm.read(spec_of(CrmObject.CONTACT), ["1"])

    assert calls(sandbox.salesforce, "/query") == {"401": 2}
    assert calls(sandbox.salesforce, TOKEN) == {"200": 2}


def test_a_session_refused_with_403_is_refreshed_too(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    def answer(request: Received) -> Answer:
        if request.path == TOKEN:
            return 200, JSON, b'{"access_token": "token-%d"}' % len(server.received)
        if request.headers["authorization"] == "Bearer token-1":
            return 403, JSON, b'[{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]'
        return 200, JSON, b'{"DailyApiRequests": {"Max": 10, "Remaining": 3}}'

    with scripted(answer) as server, adapter(url=server.address) as crm:
        assert crm.quota() == (7, 10)

    assert [request.path for request in server.received].count(TOKEN) == 2


def test_a_rotated_refresh_token_serves_the_next_process(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    options(sandbox.salesforce, rotate_refresh_tokens=True)
    store = empty_store()
    for _ in range(3):
        # What another process has: its own tokens, its own connection to the same store.
        monkeypatch.setattr(tokens, "_shared", {})
        with adapter(OperationalStore(store.folder), **REFRESH) as crm:
            crm.probe()

    assert calls(sandbox.salesforce, TOKEN) == {"200": 3}
    monkeypatch.setattr(tokens, "_shared", {})
    with adapter(empty_store(), **REFRESH) as crm, pytest.raises(CredentialError, match="expired access/refresh token"):
        crm.probe()


def test_a_rotation_is_on_the_disk_before_its_access_token_is_used(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, rotate_refresh_tokens=True)
    store = empty_store()
    kept: list[int] = []

    with adapter(store, **REFRESH) as crm:
        told = crm._org.gate.quota.told

        def hear(used: int, allowed: int) -> None:
            kept.append(len(store.read("SELECT 1 FROM credentials WHERE kind LIKE 'refresh%'")))
            told(used, allowed)

        crm._org._session._told = hear
        crm.probe()

    assert kept == [1]
