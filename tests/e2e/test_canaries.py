"""Canaries in every input of both tenants: none comes out in Dagster's storage, logs, output or figures."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops import patience
from lms_crm_assets.settings import Settings
from tests.canaries import SECRETS
from tests.conftest import TENANTS
from tests.e2e.conftest import LmsCrmHere
from tests.receiver_server import serving
from tests.sandbox_control import fault, mutate, records

pytestmark = pytest.mark.slow

GIVEN, FAMILY, ADDRESS, USERNAME = "Kanarienvoglein", "Wellensittichsson", "@birds.test", "piepmatz"
CANARIES = [GIVEN, FAMILY, ADDRESS, USERNAME, "canary.at.nowhere"]
HTML = f"<html><body>Fatal error for tweety{ADDRESS} ({GIVEN})</body></html>"
REFUSED = f"{GIVEN} {FAMILY} <refused{ADDRESS}> is not wanted here"


@pytest.fixture
def tenants(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Both example tenants, which keep attributes without a column and whose events runs take themselves."""
    folder = tmp_path / "tenants"
    folder.mkdir()
    for name in ("acme", "globex"):
        contract = yaml.safe_load((TENANTS / f"{name}.yaml").read_text(encoding="utf-8"))
        contract |= {"unknown_attributes": "keep", "mode": "pull"}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(folder))
    # Trouble is tried again at once: what is said of it is looked at, not how long it takes.
    monkeypatch.setattr(patience, "_FIRST_WAIT_SECONDS", 0.01)
    return Settings(folder, settings.state_dir)


def plant(sandbox: Sandbox) -> dict[str, Any]:
    """Names, addresses and usernames, good and bad, in the LMSs and the CRMs; gives a learner of globex."""
    users = [row["id"] for row in records(sandbox.moodle, "users")][4:7]
    for n, user in enumerate(users):
        address = f"user{n}{ADDRESS}" if n else "canary.at.nowhere"
        fields = {"firstname": GIVEN, "lastname": FAMILY, "email": address, "username": f"{USERNAME}{n}"}
        mutate(sandbox.moodle, object="users", op="update", id=user, fields=fields)
    enrolled = {row["learner_id"] for row in records(sandbox.school, "enrollments")}
    learners = [r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"]
    learners = [r for r in learners if r["id"] in enrolled][:4]
    for n, row in enumerate(learners):
        address = f"learner{n}{ADDRESS}" if n else "canary.at.nowhere"
        fields = {"given_name": GIVEN, "family_name": FAMILY, "email": address, "username": f"{USERNAME}{n}"}
        mutate(sandbox.school, object="learners", op="update", id=row["id"], fields=fields)
    # Somebody else has the address in the CRM already; the answer to our upsert names it.
    mutate(sandbox.hubspot, object="contacts", op="create", properties={"email": f"learner2{ADDRESS}"})
    faults = [{"object": "contacts", "key_pattern": f"^{learners[3]['id']}$", "message": REFUSED}]
    httpx.post(f"{sandbox.hubspot}/_sandbox/options", json={"record_faults": faults}).raise_for_status()
    return learners[1]


def told(output: str, where: str) -> Iterator[str]:
    for word in (*CANARIES, *SECRETS):
        if word.lower() in output.lower():
            yield f"{word} in {where}"


def kept(folder: Path) -> Iterator[str]:
    """What stands in any byte of Dagster's files."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sum(file.suffix == ".db" for file in files) > 5
    for file in files:
        yield from told(file.read_bytes().decode("utf-8", "replace"), file.name)


# Of one tenant `test_nothing_of_learners_is_in_what_dagster_keeps` tries the like, and every test is watched.
@pytest.mark.long
def test_no_canary_comes_out(
    sandbox: Sandbox,
    tenants: Settings,
    lms_crm_here: LmsCrmHere,
    dagster_home: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    learner = plant(sandbox)
    said: list[tuple[str, str]] = []

    def run(*words: str) -> int:
        done = lms_crm_here(*words)
        said.append((" ".join(words), done.stdout + done.stderr))
        return done.returncode

    # The CRM refuses a whole batch, quoting it; then single records.
    body = json.dumps([{"message": REFUSED, "errorCode": "JSON_PARSER_ERROR"}])
    refusal = {"route": "composite/sobjects/Contact", "kind": "status", "status": 400, "body": body, "times": 1}
    fault(sandbox.salesforce, {**refusal, "headers": {"content-type": "application/json"}})
    assert run("reconcile", "--tenant", "acme") in {0, 1, 3}
    assert run("reconcile", "--tenant", "globex") == 3

    # A person edits the CRM; the LMS tells of a change, somebody else of nonsense.
    contact = next(
        r["id"] for r in records(sandbox.hubspot, "contacts") if r["properties"].get("lms_user_id") == learner["id"]
    )
    mutate(sandbox.hubspot, object="contacts", op="update", id=contact, properties={"lastname": f"{FAMILY} edited"})
    with serving(tenants) as receiver:
        sandbox.send_webhooks_to(receiver)
        mutate(sandbox.school, object="learners", op="update", id=learner["id"], fields={"given_name": f"{GIVEN} 2"})
        for content in (f'{{"email": "hook{ADDRESS}"}}', f"{GIVEN} no json", f'{{"a": "{GIVEN}", "a": 1}}'):
            for path in ("globex", "acme", f"nobody-{USERNAME}", "globex/crm"):
                answer = httpx.post(f"{receiver}/api/v1/hooks/{path}?email=hook{ADDRESS}", content=content)
                said.append((f"the answer to {path}", answer.text.replace(f"nobody-{USERNAME}", "")))
        said.append(("/metrics", httpx.get(f"{receiver}/metrics").text))
    out, err = capsys.readouterr()
    said += [("the receiver's stdout", out), ("the receiver's stderr", err)]
    assert run("reconcile", "--tenant", "globex", "--incremental") == 3
    assert run("plan", "--tenant", "globex") == 0
    assert run("quarantine", "list", "--tenant", "globex") == 0
    assert run("explain", learner["id"], "--tenant", "globex") == 0

    # The LMS breaks and quotes, then the CRM does, then both credentials are refused.
    html = {"kind": "status", "body": HTML, "headers": {"content-type": "text/html"}}
    fault(sandbox.school, {"route": "changes", "status": 500, **html})
    assert run("reconcile", "--tenant", "globex", "--incremental") == 75
    fault(sandbox.school)
    fault(sandbox.hubspot, {"route": "contacts/search", "status": 500, **html})
    assert run("reconcile", "--tenant", "globex", "--incremental") == 75
    fault(sandbox.hubspot, {"route": ".", "status": 401, **html})
    assert run("reconcile", "--tenant", "globex") == 1
    fault(sandbox.moodle, {"route": ".", "status": 401, **html})
    assert run("reconcile", "--tenant", "acme") == 1

    said.append(("the log", caplog.text))
    leaks = [*kept(dagster_home), *(leak for where, output in said for leak in told(output, where))]
    assert leaks == []
    # They were there to be leaked, and what was looked at is what ran.
    warehouses = b"".join(file.read_bytes() for file in (tenants.state_dir / "warehouse").glob("*.duckdb"))
    assert [word for word in CANARIES if word.encode() not in warehouses] == []
    with closing(sqlite3.connect(next(dagster_home.rglob("runs.db")))) as runs:
        assert runs.execute("SELECT count(*) FROM runs").fetchall()[0][0] >= 5
