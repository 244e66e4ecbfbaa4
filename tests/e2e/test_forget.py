"""A learner who is forgotten is in no byte of the state folder, is archived in the CRM, and does not come back."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.hints import BATCH
from lms_crm_assets.ops.answers import API
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.receiver.idempotency import Answer, Claim, IdempotencyKeys
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.published import reading
from tests.conftest import TENANTS
from tests.sandbox_control import mutate, records

pytestmark = pytest.mark.slow

GIVEN, FAMILY, EMAIL, USERNAME = "Kanarienvoglein", "Wellensittichsson", "canary.forget@birds.test", "piepmatz.forget"
CANARIES = [GIVEN, FAMILY, EMAIL, USERNAME]
OTHER = "someone.else@birds.test"


@pytest.fixture
def tenants(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Tenant globex, whose forgotten learners are archived in the CRM."""
    contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
    folder = tmp_path / "tenants"
    folder.mkdir()
    text = yaml.safe_dump({**contract, "mode": "pull", "privacy": {"forget": "archive"}})
    (folder / "globex.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(folder))
    return dataclasses.replace(settings, tenants_dir=folder)


def found_in(folder: Path) -> dict[str, list[str]]:
    """Which canaries stand in which files, whatever the case."""
    words = {word.lower().encode(): word for word in CANARIES}
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            content = file.read_bytes().lower()
            if here := [word for spelled, word in words.items() if spelled in content]:
                found[str(file.relative_to(folder))] = here
    return found


def leave_traces(settings: Settings, learner: str) -> None:
    """What is beside the warehouse: deliveries, a kept answer, a copy for readers, pages that a killed run left."""
    told = {"id": learner, "email": EMAIL, "given_name": GIVEN}
    batch = {"entity": "learners", "items": [told, {"id": "other", "email": OTHER}]}
    Inbox.at(settings.state_dir).add(
        [
            Delivery("globex", Side.LMS, "of them", "application/json", json.dumps({"data": told}).encode()),
            Delivery("globex", Side.LMS, "of two", BATCH, json.dumps(batch).encode()),
        ]
    )
    keys = IdempotencyKeys(OperationalStore.at(settings.state_dir, API))
    claim = keys.claim("globex learners:batchUpsert", "key", "fingerprint")
    assert isinstance(claim, Claim)
    keys.finish(claim, Answer(200, {}, json.dumps({"items": [told]}).encode()))
    with reading(settings, "globex"):
        pass
    landed = settings.state_dir / "landing" / "globex" / "full" / "pull" / "learners.ndjson"
    landed.parent.mkdir(parents=True)
    landed.write_text(json.dumps(told), encoding="utf-8")


def test_a_forgotten_learner_is_nowhere_and_does_not_come_back(sandbox: Sandbox, tenants: Settings) -> None:
    jobs = build_definitions(tenants)
    enrolled = {row["learner_id"] for row in records(sandbox.school, "enrollments")}
    learner = next(
        row["id"]
        for row in records(sandbox.school, "learners")
        if row["id"] in enrolled and row["email"] and row["status"] == "active"
    )
    fields = {"given_name": GIVEN, "family_name": FAMILY, "email": EMAIL, "username": USERNAME}
    mutate(sandbox.school, object="learners", op="update", id=learner, fields=fields)

    def reconcile(job: str = "full_reconcile") -> RunSummary:
        with dg.DagsterInstance.ephemeral() as instance:
            summary = run_job(jobs.resolve_job_def(job), "globex", instance)
        assert summary.succeeded, summary.problems
        return summary

    def in_the_crm() -> list[dict[str, Any]]:
        contacts = records(sandbox.hubspot, "contacts")
        return [each for each in contacts if each["properties"].get("email") == EMAIL and not each["archived"]]

    reconcile()
    leave_traces(tenants, learner)
    assert in_the_crm()
    assert "warehouse/globex.duckdb" in found_in(tenants.state_dir)

    looked = CliRunner().invoke(app, ["forget", EMAIL, "--tenant", "globex", "--json"])

    assert looked.exit_code == 0, looked.output
    would = json.loads(looked.stdout)
    assert (would["deliveries"], would["answers"], would["archived"]["contact"]) == (2, 1, 1)
    assert "warehouse/globex.duckdb" in found_in(tenants.state_dir)

    done = CliRunner().invoke(
        app, ["forget", EMAIL, "--tenant", "globex", "--yes", "--by", "data protection", "--json"]
    )

    assert done.exit_code == 0, done.output
    assert found_in(tenants.state_dir) == {}
    assert in_the_crm() == []
    receipt = json.loads(done.stdout)
    assert receipt["by"] == "data protection"
    assert {"raw_lms.learners", "staging.learner", "sync.ledger_history", "delta.plan_rows"} <= {
        name.replace('"', "") for name in receipt["rows"]
    }
    assert receipt["archived"] == would["archived"]
    assert receipt["files"]["reports"] == 1
    assert list((tenants.state_dir / "reports" / "globex").iterdir()) == []
    assert learner not in done.stdout
    left = [event.body for event in Inbox.at(tenants.state_dir).find("globex")]
    assert [json.loads(body)["items"][0]["id"] for body in left] == ["other"]
    others = len(records(sandbox.hubspot, "contacts"))

    # The LMS still has them.
    again = reconcile()

    assert (again.undelivered, found_in(tenants.state_dir), in_the_crm()) == (0, {}, [])
    assert len(records(sandbox.hubspot, "contacts")) == others

    lifted = CliRunner().invoke(app, ["forget", learner, "--tenant", "globex", "--allow-again"])
    assert lifted.exit_code == 0, lifted.output
    reconcile()
    assert in_the_crm()
