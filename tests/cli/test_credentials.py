"""`lms-crm credentials` and `lms-crm connect`: secrets go into the vault and are never seen again, but accepted."""

import base64
import json
import re
import threading
import webbrowser
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from typer.testing import CliRunner, Result

from lms_crm_assets.cli.app import app
from lms_crm_assets.cli.loopback import Loopback
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from tests import oauth_tenants
from tests.oauth_tenants import APP_SECRET, KEPT

KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(2)]
CANARY = "canary-of-a-secret"
CALLBACK = "http://127.0.0.1:1/callback"

AUTHORIZE = {"acme": "/services/oauth2/authorize", "globex": "/oauth/authorize"}
TOKEN = {"acme": "/services/oauth2/token", "globex": "/oauth/v3/token"}


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=stdin)


def said(result: Result) -> str:
    """All that a person sees: the output, or the error that becomes one line."""
    return result.output + (str(result.exception) if result.exception else "")


@pytest.fixture
def oauth(sandbox: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:  # noqa: ARG001 - they set the environment
    """Puts an example contract with flow refresh_token into the tenants' folder, with what it names in the vault."""
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))
    monkeypatch.setenv("LMS_CRM_KEY", KEYS[0])
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)

    def put(tenant: str) -> Path:
        file = oauth_tenants.put(tmp_path, tenant)
        for name, value in KEPT[tenant].items():
            assert run("credentials", "set", name, "--tenant", tenant, stdin=f"{value}\n").exit_code == 0
        return file

    return put


@dataclass
class Person:
    """Whoever sits at the browser: reads the page, presses a button, and is sent back to the command."""

    decision: str = "allow"
    changed: dict[str, str] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)

    def open(self, address: str) -> bool:
        self.opened.append(address)
        threading.Thread(target=self._answer, args=[address]).start()
        return True

    def _answer(self, address: str) -> None:
        back = httpx.URL(decided(address, self.decision)).copy_merge_params(self.changed)
        httpx.get(back, timeout=60).raise_for_status()


def decided(address: str, decision: str) -> str:
    """Where the page's button leads."""
    page = httpx.get(address, timeout=60).raise_for_status().text
    request = re.search(r'name="request" value="([^"]+)"', page)
    assert request, page
    answer = httpx.post(address, data={"request": request[1], "decision": decision}, timeout=60)
    assert answer.status_code == 302
    return answer.headers["Location"]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    found = Person()
    monkeypatch.setattr(webbrowser, "open", found.open)
    return found


def connect(tenant: str, *words: str) -> Result:
    return run("connect", "--tenant", tenant, "--port", "0", *words)


def crm_of(sandbox: Sandbox, tenant: str) -> str:
    return sandbox.salesforce if tenant == "acme" else sandbox.hubspot


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_what_a_person_allowed_is_kept_before_it_is_used(
    tenant: str, sandbox: Sandbox, oauth: Callable[..., Path], person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = crm_of(sandbox, tenant)
    httpx.post(f"{address}/_sandbox/options", json={"rotate_refresh_tokens": True}).raise_for_status()
    file = oauth(tenant)

    result = connect(tenant)

    assert result.exit_code == 0, said(result)
    assert f"kept as vault:crm_refresh_token of {tenant}" in result.output
    [opened] = person.opened
    asked = {name: value for name, [value] in parse_qs(urlsplit(opened).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert APP_SECRET not in opened
    # The approval's access token was used for nothing: what comes next is a refresh with what was kept.
    log = httpx.get(f"{address}/_sandbox/log").json()["calls"]
    paths = [call["path"] for call in log if not call["path"].startswith("/_sandbox")]
    assert paths[:4] == [AUTHORIZE[tenant]] * 2 + [TOKEN[tenant]] * 2
    assert len(paths) > 4
    assert all(call["status"] in {200, 302} for call in log)

    # Another process after a rotation of both the refresh token and the key; the former key is taken away then.
    monkeypatch.setattr(tokens, "_shared", {})
    monkeypatch.setenv("LMS_CRM_KEY", f"{KEYS[1]} {KEYS[0]}")
    # With the refresh token, the one that followed it, and the access token.
    assert f"{len(KEPT[tenant]) + 3} secrets, 0 events" in run("credentials", "rotate").output
    monkeypatch.setenv("LMS_CRM_KEY", KEYS[1])
    contract = load_contract(file.parent, tenant)
    with closing(crm_adapter(contract, OperationalStore.at(Settings.from_environ().state_dir))) as crm:
        crm.probe()

    listed = [json.loads(line) for line in run("credentials", "list", "--tenant", tenant, "--json").output.splitlines()]
    by_name = {row["name"]: row for row in listed}
    assert by_name["vault:crm_refresh_token"]["of"] == "destination.refresh_token"
    assert re.fullmatch(r"[0-9a-f]{8}", by_name["vault:crm_refresh_token"]["key"])
    assert {row["key"] for row in listed if row["source"] == "vault"} == {by_name["vault:app_secret"]["key"]}
    assert by_name["refresh_token"]["of"] == "handed out by the other side"


def test_who_did_not_allow_it_leaves_nothing(oauth: Callable[..., Path], person: Person) -> None:
    file = oauth("acme")
    for decision, changed, why in (
        ("deny", {}, "the approval was denied: nothing was kept"),
        ("allow", {"state": "of another"}, "another state than we asked with"),
        ("allow", {"code": "guessed"}, r"gives no token for the approval \(invalid_grant\)"),
    ):
        person.decision, person.changed = decision, changed
        result = connect("acme")
        assert result.exit_code == 1
        assert re.search(why, said(result)), said(result)
    assert person.opened[0] != person.opened[1]
    with Loopback(0) as nobody, pytest.raises(FatalError, match="nobody brought an answer"):
        nobody.answer(0.01)
    asked = len(person.opened)

    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("vault:crm_refresh_token", "env:CRM_REFRESH_TOKEN"), encoding="utf-8")
    assert "write vault:crm_refresh_token there" in said(connect("acme"))
    assert "vault:crm_refresh_token" not in run("credentials", "list", "--tenant", "acme").output
    assert len(person.opened) == asked


@pytest.mark.parametrize(
    ("tenant", "scope"), [("acme", "api refresh_token"), ("globex", "oauth crm.objects.contacts.read")]
)
def test_the_crms_judge_codes_strictly(sandbox: Sandbox, tenant: str, scope: str) -> None:
    address = crm_of(sandbox, tenant)
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    query = {
        "response_type": "code",
        "client_id": "sandbox-client",
        "redirect_uri": CALLBACK,
        "scope": scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    form = {
        "grant_type": "authorization_code",
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }

    def page(**changed: str) -> httpx.Response:
        return httpx.get(f"{address}{AUTHORIZE[tenant]}", params={**query, **changed})

    def redeemed(code: str, **changed: str) -> httpx.Response:
        return httpx.post(f"{address}{TOKEN[tenant]}", data={**form, "code": code, **changed})

    def code() -> str:
        found = decided(str(page().request.url), "allow")
        assert found.startswith(f"{CALLBACK}?code=")
        return parse_qs(urlsplit(found).query)["code"][0]

    once = code()
    assert redeemed(once).json()["refresh_token"]
    assert redeemed(once).status_code == 400, "a code works once"
    assert redeemed(code(), code_verifier=verifier[::-1]).status_code == 400
    assert redeemed(code(), redirect_uri=f"{CALLBACK}/").status_code == 400
    for wrong in ({"client_id": "another"}, {"redirect_uri": "https://elsewhere.example/callback"}):
        assert page(**wrong).status_code == 400, wrong
    httpx.post(f"{address}/_sandbox/options", json={"code_seconds": 0}).raise_for_status()
    assert redeemed(code()).status_code == 400, "a code ends"


def test_what_the_present_keys_do_not_open_is_told(oauth: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    oauth("acme")

    assert run("credentials", "set", "kept", "--tenant", "acme", stdin=f"{CANARY}\n").exit_code == 0

    def state() -> str:
        lines = run("credentials", "list", "--tenant", "acme", "--json").output.splitlines()
        return str(next(row["state"] for row in map(json.loads, lines) if row["name"] == "vault:kept"))

    assert state() == "there"
    monkeypatch.setenv("LMS_CRM_KEY", KEYS[1])
    assert state() == "sealed with a key that is not there"
    monkeypatch.setenv("LMS_CRM_KEY", f"{KEYS[1]} {KEYS[0]}")
    assert state() == "there"
    monkeypatch.delenv("LMS_CRM_KEY")
    assert state() == "sealed with a key that is not there"


def test_a_secret_goes_in_and_never_comes_out(
    sandbox: Sandbox, oauth: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    oauth("acme")
    tenant = ("--tenant", "acme")
    outputs = [
        run("credentials", "set", "unused", *tenant, "--expires", "2031-05-06", stdin=f"{CANARY}\n"),
        run("credentials", "list", *tenant),
        run("credentials", "set", "unused", CANARY, *tenant),
        run("credentials", "set", "Bad Name", *tenant, stdin=CANARY),
        run("credentials", "set", "empty", *tenant, stdin="\n"),
    ]
    assert [result.exit_code for result in outputs] == [0, 0, 2, 2, 1]
    assert "does not name vault:unused yet" in outputs[0].output
    assert "2031-05-06" in outputs[1].output
    assert not any(CANARY in said(result) for result in outputs)

    checked = run("credentials", "check", *tenant)
    lines = dict(re.findall(r"^(\S+) \(\S+\): (.+)$", checked.output, re.MULTILINE))
    assert checked.exit_code == 1
    assert lines["source.token"] == f"accepted by moodle at {sandbox.moodle}"
    assert "credentials set crm_refresh_token --tenant acme" in lines["destination.refresh_token"]
    assert "first delivery" in lines["webhooks.lms.0.secrets.0"]

    run("credentials", "set", "crm_refresh_token", *tenant, stdin=CANARY)
    refused = run("credentials", "check", *tenant)
    assert refused.exit_code == 1
    assert re.search(
        r"^destination.refresh_token \(vault:\S+\): .*refuses the credential", refused.output, re.MULTILINE
    )
    run("credentials", "set", "crm_refresh_token", *tenant, stdin="sandbox-refresh")
    assert run("credentials", "check", *tenant).exit_code == 0

    monkeypatch.setenv("LMS_CRM_KEY", KEYS[1])
    result: Any = run("credentials", "rotate")
    assert (result.exit_code, CANARY in said(result)) == (1, False)
    assert re.search(r"\d are sealed with the key [0-9a-f]{8}, which is not there", result.output)
