"""Plan, apply and explain from the command line, judged from the CRM's own records and request log."""

import json
from pathlib import Path

import pytest
import yaml

from lms_crm_assets.cli.console import Exit
from lms_crm_assets.demo.proof import agrees, prove_acme
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.conftest import TENANTS
from tests.e2e.conftest import LmsCrmHere
from tests.sandbox_control import mutate, records, requests, writes

pytestmark = pytest.mark.slow


def contact(sandbox: Sandbox, key: str) -> dict[str, object]:
    return next(r for r in records(sandbox.salesforce, "Contact") if r["LMS_User_Id__c"] == key)


def edit(sandbox: Sandbox, key: str, **fields: object) -> None:
    mutate(sandbox.salesforce, object="Contact", op="update", id=contact(sandbox, key)["Id"], fields=fields)


def test_a_plan_writes_nothing_and_apply_sends_exactly_it(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tmp_path: Path
) -> None:
    assert lms_crm_here("reconcile", "--tenant", "acme").returncode == 0
    edit(sandbox, "5", LastName="Typo")
    mutate(sandbox.moodle, object="users", op="update", id=6, fields={"lastname": "Neu"})
    before = writes(sandbox.salesforce).total()
    file = tmp_path / "plan.json"

    planned = lms_crm_here("plan", "--tenant", "acme", "--out", str(file), "--show-values")

    assert planned.returncode == 0, planned.stderr
    assert writes(sandbox.salesforce).total() == before
    assert "~ contact 5  (drift)\n    LastName: 'Typo' → \"O'Neil-1\"  [drift]" in planned.stdout
    assert "~ contact 6\n    LastName: \"O'Neil-2\" → 'Neu'" in planned.stdout
    assert "Sending it takes 1 calls" in planned.stdout
    assert {row["external_id"] for row in json.loads(file.read_text(encoding="utf-8"))["rows"]} == {"5", "6"}

    # What changes beside the plan is not part of it.
    mutate(sandbox.moodle, object="users", op="update", id=7, fields={"lastname": "Later"})
    applied = lms_crm_here("apply", str(file))

    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert writes(sandbox.salesforce).total() == before + 1
    assert [contact(sandbox, key)["LastName"] for key in ("5", "6")] == ["O'Neil-1", "Neu"]
    assert contact(sandbox, "7")["LastName"] == "O'Neil-3"
    # It is refused before a run begins: both sides are left alone, and nobody is told of a failed run.
    asked = sum(sum(found.values()) for found in requests(sandbox.salesforce).values())
    again = lms_crm_here("apply", str(file))
    assert (again.returncode, "was sent already" in again.stderr) == (1, True)
    assert sum(sum(found.values()) for found in requests(sandbox.salesforce).values()) == asked


@pytest.mark.parametrize("side", [pytest.param("lms", marks=pytest.mark.long), "crm"])
def test_a_stale_plan_is_refused_with_the_record_named(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tmp_path: Path, side: str
) -> None:
    assert lms_crm_here("reconcile", "--tenant", "acme").returncode == 0
    edit(sandbox, "5", LastName="Typo")
    file = tmp_path / "plan.json"
    assert lms_crm_here("plan", "--tenant", "acme", "--out", str(file)).returncode == 0
    before = writes(sandbox.salesforce).total()
    if side == "lms":
        mutate(sandbox.moodle, object="users", op="update", id=5, fields={"lastname": "Moved"})
    else:
        edit(sandbox, "5", LastName="Typo again")

    applied = lms_crm_here("apply", str(file))

    assert applied.returncode == 1
    assert "is stale, the LMS or the CRM changed since: contact 5; make a new plan" in applied.stderr
    assert writes(sandbox.salesforce).total() == before


def test_a_mass_overwrite_is_stopped_with_the_figure_and_a_person_may_send_it(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere
) -> None:
    assert lms_crm_here("reconcile", "--tenant", "acme").returncode == 0
    for row in records(sandbox.moodle, "users")[:130]:
        mutate(sandbox.moodle, object="users", op="update", id=row["id"], fields={"lastname": "Overwritten"})
    before = writes(sandbox.salesforce).total()

    stopped = lms_crm_here("reconcile", "--tenant", "acme")

    assert stopped.returncode == 1
    assert "of 202 contact records to update (6" in stopped.stderr
    assert "at most 50% are allowed (max_update_share)" in stopped.stderr
    assert writes(sandbox.salesforce).total() == before
    told = json.loads(lms_crm_here("report", "--tenant", "acme", "--json").stdout)
    assert told["problems"] == [told["plan"]["breach"]]
    command = stopped.stderr.partition("To send it all the same: lms-crm ")[2].split()
    assert lms_crm_here(*command).returncode == 0
    assert agrees(prove_acme(sandbox.moodle, sandbox.salesforce))
    # The report of the run that was stopped says so still; the newest is that of the one that sent it.
    page = lms_crm_here("report", "--tenant", "acme", "--run", told["run_id"][:8], "--out", "-").stdout
    assert "A guardrail stopped the plan: " in page
    sent = json.loads(lms_crm_here("report", "--tenant", "acme", "--json").stdout)
    assert (sent["job"], sent["objects"][0]["updated"]) == ("apply", told["objects"][0]["update"])


def test_without_auto_apply_the_plan_waits_for_a_person(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tmp_path: Path
) -> None:
    contract = yaml.safe_load((TENANTS / "acme.yaml").read_text(encoding="utf-8"))
    contract["guardrails"] = {"auto_apply": False}
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    environ = {"LMS_CRM_TENANTS_DIR": str(tmp_path / "tenants")}

    waiting = lms_crm_here("reconcile", "--tenant", "acme", **environ)

    assert waiting.returncode == Exit.WAITS, waiting.stderr
    row = next(line for line in waiting.stdout.splitlines() if "contact" in line)
    assert "to create" in waiting.stdout
    assert row.split()[1:5] == ["contact", "203", "1", "202"]
    assert writes(sandbox.salesforce).total() == 0
    command = waiting.stdout.partition("waits for a person: lms-crm ")[2].split()[:4]
    applied = lms_crm_here(*command, "--json", **environ)
    told = json.loads(applied.stdout)
    assert (applied.returncode, told["agrees"], told["waits"]) == (0, True, False)
    assert (told["plan"]["plan_id"], told["objects"]["contact"]["created"]) == (command[3], 202)
    assert agrees(prove_acme(sandbox.moodle, sandbox.salesforce))
    # With nothing to send nothing waits, and nobody is told that something does.
    again = lms_crm_here("reconcile", "--tenant", "acme", "--json", **environ)
    assert (again.returncode, json.loads(again.stdout)["plan"]["status"]) == (0, "approved")
    assert "waits" not in " ".join(json.loads(again.stdout)["warnings"])
    assert "plan_waits" not in lms_crm_here("alerts", "list", **environ).stdout


def test_explain_tells_one_learners_story(sandbox: Sandbox, lms_crm_here: LmsCrmHere) -> None:
    assert lms_crm_here("reconcile", "--tenant", "acme").returncode == 0
    edit(sandbox, "5", LastName="Typo")
    assert lms_crm_here("reconcile", "--tenant", "acme").returncode == 0

    told = lms_crm_here("explain", "learner0001@globex.test", "--tenant", "acme", "--show-values")

    assert told.returncode == 0, told.stderr
    story = told.stdout
    assert story.startswith("Learner 5 of acme, as known at ")
    assert "LastName: 'Typo' → \"O'Neil-1\"  [drift]" in story
    assert story.count("upsert succeeded as 003") == 2
    assert "enrollment 5:2" in story
    assert "written to the CRM record 003" in story
    veiled = lms_crm_here("explain", "learner0001@globex.test", "--tenant", "acme").stdout
    assert "LastName: 'T… (4 characters)' → 'O… (8 characters)'  [drift]" in veiled
    assert "learner0001" not in veiled
    assert "O'Neil" not in veiled
    as_json = json.loads(lms_crm_here("explain", "5", "--tenant", "acme", "--json").stdout)
    assert [len(r["planned"]) for r in as_json["records"] if r["object"] == "contact"] == [2]
    long_ago = json.loads(lms_crm_here("explain", "5", "-t", "acme", "--json", "--at", "2026-01-01").stdout)
    assert [len(r["planned"]) for r in long_ago["records"] if r["object"] == "contact"] == [0]
    pasted = story.splitlines()[0].rpartition(" at ")[2]
    assert lms_crm_here("explain", "5", "-t", "acme", "--at", pasted).returncode == 0
    guest = lms_crm_here("explain", "guest", "--tenant", "acme").stdout
    assert "refused by our checks: LMS-104 email_format" in guest
    nobody = lms_crm_here("explain", "nobody", "--tenant", "acme")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)
