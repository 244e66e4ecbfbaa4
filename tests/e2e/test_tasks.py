"""Each of the ten tasks of docs/tasks.md: its commands work as written, take at most three steps, and give the answer."""

import re
import shutil
from pathlib import Path

import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.settings import Settings
from tests.e2e.documented import blocks, shell
from tests.sandbox_control import mutate, records

pytestmark = pytest.mark.slow

MOST_STEPS = 3
# What has to stand in what a task's commands say, beside their exit codes.
ANSWERS = {
    "Which learners were refused last night, and why?": [r"learners", r"LMS-104"],
    "What will tonight's run change?": [r"FirstName.*→", r"drift"],
    "Why does this contact differ?": [r"FirstName.*drift", r"succeeded as"],
    "Who changed this record, from what to what?": [r"contact", r"FirstName"],
    "Add a field to the mapping": [r"jobtitle"],
    "Pause one tenant": [r"their CRM is being moved"],
    "Replay yesterday's events": [r"1 event would be", r"1 event will be"],
    "Send again what the CRM refused": [r"refused|nothing|no "],
    "Is the CRM what the LMS says, for everybody, now?": [r"globex"],
    "Ask a question of your own, in SQL": [r"LMS-\d+"],
}


def test_ten_tasks_take_at_most_three_steps() -> None:
    steps: dict[str, int] = {}
    for block in blocks("tasks.md"):
        # A program on several lines is one step.
        lines = re.sub(r"<<'(\w+)'\n.*?^\1$", "", block.text, flags=re.DOTALL | re.MULTILINE).strip().splitlines()
        steps[block.heading] = steps.get(block.heading, 0) + len(lines)

    assert steps.keys() == ANSWERS.keys()
    assert max(steps.values()) <= MOST_STEPS


@pytest.mark.long
def test_each_task_is_done_as_written(
    sandbox: Sandbox, settings: Settings, dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = tmp_path / "tenants"
    shutil.copytree(settings.tenants_dir, tenants)
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tenants))
    said: dict[str, str] = {}
    with shell(tmp_path, settings) as run:
        for tenant in ("acme", "globex"):
            assert run(f"lms-crm reconcile --tenant {tenant}").returncode == 0
        _somebody_edits_the_crm(sandbox)
        _an_event_was_worked_on(settings)
        for block in blocks("tasks.md"):
            done = run(block.text, COLUMNS="200")
            assert done.returncode == block.exit_code, f"{block}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr
            said[block.heading] = said.get(block.heading, "") + done.stdout

    assert dagster_home.is_dir()
    missing = {(task, each) for task, wanted in ANSWERS.items() for each in wanted if not re.search(each, said[task])}
    assert missing == set(), said


def _somebody_edits_the_crm(sandbox: Sandbox) -> None:
    contact = next(r for r in records(sandbox.salesforce, "Contact") if r["Email"] == "learner0001@globex.test")
    mutate(sandbox.salesforce, object="Contact", op="update", id=contact["Id"], fields={"FirstName": "By hand"})


def _an_event_was_worked_on(settings: Settings) -> None:
    inbox = Inbox.at(settings.state_dir)
    inbox.add(
        [Delivery("globex", Side.LMS, "a-delivery", "application/json", b'{"type": "learner.updated", "id": "1"}')]
    )
    (event,) = inbox.lease("globex", 10, 60)
    inbox.done([event.number])
