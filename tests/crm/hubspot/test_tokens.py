"""How the portal is entered: one refresh for all, refresh tokens that rotate, and what a person is told."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import CredentialError, UnreachableError
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.store import OperationalStore
from tests.crm.hubspot.portal import (
    OAUTH,
    OAUTH_ENVIRON,
    UNLIMITED,
    adapter,
    configure,
    contacts,
    globex,
    reset,
    spec_of,
)
from tests.sandbox_control import fault, records, requests

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CONTACTS = "GET /crm/v3/objects/{type}"


@pytest.fixture
def oauth(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a portal that is entered with OAuth."""
    monkeypatch.setenv("LMS_CRM_KEY", KEY)
    for name, value in OAUTH_ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tokens, "_shared", {})
    return sandbox.hubspot


def test_fifty_calls_that_are_refused_at_once_make_one_refresh(oauth: str) -> None:
    reset(oauth, **UNLIMITED, token_calls=1)
    with adapter(globex(calls=10_000, **OAUTH)) as crm, ThreadPoolExecutor(50) as pool:
        crm.probe()
        configure(oauth, token_calls=None)
        together = threading.Barrier(50)

        def read() -> int:
            together.wait()
            return len(list(crm.snapshot(spec_of(CrmObject.CONTACT))))

        assert list(pool.map(lambda _: read(), range(50))) == [1] * 50

    told = requests(oauth)
    assert told["POST /oauth/v3/token"] == {"200": 2}
    assert told[CONTACTS]["200"] == 51
    assert told[CONTACTS]["401"] >= 20


def test_a_refresh_token_that_rotates_is_kept_for_the_next_process(
    oauth: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset(oauth, **UNLIMITED, token_calls=1, rotate_refresh_tokens=True)
    with adapter(globex(**OAUTH), OperationalStore(tmp_path)) as crm:
        for _ in range(3):
            crm.probe()
    monkeypatch.setattr(tokens, "_shared", {})  # as in a process that knows nothing yet

    with adapter(globex(**OAUTH), OperationalStore(tmp_path)) as crm:
        crm.probe()

    first = {"grant_type": "refresh_token", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    answer = httpx.post(f"{oauth}/oauth/v3/token", data={**first, "refresh_token": "sandbox-refresh-token"})
    assert answer.json()["status"] == "BAD_REFRESH_TOKEN"
    assert requests(oauth)["POST /oauth/v3/token"] == {"200": 4, "400": 1}
    assert not any(b"sandbox-refresh" in file.read_bytes() for file in tmp_path.rglob("ops.sqlite*"))


@pytest.mark.parametrize(("version", "path"), [("2026-03", "2026-03"), ("2026-09", "2026-03")])
def test_dated_versions_have_a_token_endpoint_of_their_own(oauth: str, version: str, path: str) -> None:
    with adapter(globex(api_version=version, **OAUTH)) as crm:
        crm.probe()

    assert requests(oauth) == {
        f"POST /oauth/{path}/token": {"200": 1},
        "GET /crm/objects/{version}/{type}": {"200": 1},
    }


def test_a_fresh_token_that_is_refused_is_for_a_person(oauth: str) -> None:
    fault(oauth, {"route": "objects/contacts", "kind": "status", "status": 401, "body": "{}"})

    with adapter(globex(**OAUTH)) as crm, pytest.raises(CredentialError) as refused:
        crm.probe()

    assert str(refused.value) == (
        f"HubSpot at {oauth} refuses the credential (401): check destination.client_id, client_secret and refresh_token"
    )
    assert requests(oauth) == {"POST /oauth/v3/token": {"200": 2}, CONTACTS: {"401": 2}}


@pytest.mark.parametrize(
    ("variable", "key"),
    [("T_CLIENT_ID", "client_id"), ("T_CLIENT_SECRET", "client_secret"), ("T_REFRESH_TOKEN", "refresh_token")],
)
def test_the_part_of_the_credential_that_is_wrong_is_named(
    oauth: str, monkeypatch: pytest.MonkeyPatch, variable: str, key: str
) -> None:
    monkeypatch.setenv(variable, "s3cret-canary")

    with (
        adapter(globex(**OAUTH)) as crm,
        pytest.raises(CredentialError, match=rf"check destination\.{key}$") as refused,
    ):
        crm.probe()

    assert "s3cret-canary" not in str(refused.value)
    assert requests(oauth) == {"POST /oauth/v3/token": {"400": 1}}


def test_a_fixed_token_is_not_tried_twice(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBEX_CRM_TOKEN", "s3cret-canary")

    with adapter(globex()) as crm, pytest.raises(CredentialError, match=r"check destination\.access_token$") as refused:
        crm.probe()

    assert "s3cret-canary" not in str(refused.value)
    assert requests(sandbox.hubspot) == {CONTACTS: {"401": 1}}


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "cut_after"},
        {"kind": "status", "status": 429, "body": "{}"},
        {"kind": "status", "status": 503, "body": "<html>busy</html>"},
        {"kind": "replace", "status": 200, "body": "<html>hello</html>"},
    ],
)
def test_a_token_endpoint_that_fails_for_the_moment_is_asked_again(oauth: str, trouble: dict[str, Any]) -> None:
    fault(oauth, {"route": "oauth", "times": 1, **trouble})

    with adapter(globex(**OAUTH)) as crm:
        assert crm.read(spec_of(CrmObject.CONTACT), ["nobody"]) == []
    assert sum(requests(oauth)["POST /oauth/v3/token"].values()) == 2


def test_a_write_without_a_token_was_not_made(oauth: str) -> None:
    fault(oauth, {"route": "oauth", "kind": "cut_after"})

    with adapter(globex(**OAUTH)) as crm, pytest.raises(UnreachableError):
        crm.upsert(spec_of(CrmObject.CONTACT), contacts(["u1"]))

    assert records(oauth, "contacts") == []
