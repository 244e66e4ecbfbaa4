"""A state folder that is lost and restored from a backup: the CRM is newer than it, and nothing of that is misjudged."""

import json
import os
import shutil
from pathlib import Path

import pytest

from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops import store
from tests.e2e.conftest import LmsCrmHere
from tests.sandbox_control import mutate, records, writes

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_after_a_restore_a_reconciliation_writes_what_still_differs_and_nothing_else(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, backup = Path(os.environ["LMS_CRM_STATE_DIR"]), tmp_path / "backup"
    assert lms_crm_here("reconcile", "--tenant", "globex").returncode == 0
    taken = lms_crm_here("backup", str(backup))
    assert (taken.returncode, taken.stderr) == (0, "")

    # After the backup: changed once, changed and changed back, left, and new ones.
    learners = [r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"]
    once, back, twice, left = learners[:20], learners[20:40], learners[40:60], learners[60:65]
    for each in (*once, *back, *twice):
        mutate(sandbox.school, object="learners", op="update", id=each["id"], fields={"family_name": "Second"})
    for each in left:
        mutate(sandbox.school, object="learners", op="delete", id=each["id"])
    assert lms_crm_here("reconcile", "--tenant", "globex").returncode == 0
    for each in back:
        fields = {"family_name": each["family_name"]}
        mutate(sandbox.school, object="learners", op="update", id=each["id"], fields=fields)
    for each in twice:
        mutate(sandbox.school, object="learners", op="update", id=each["id"], fields={"family_name": "Third"})

    store.OperationalStore.at(state).close()
    monkeypatch.setattr(store, "_stores", {})
    shutil.rmtree(state)
    restored = lms_crm_here("restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert "lms-crm reconcile --tenant globex" in restored.stdout

    plan = json.loads(lms_crm_here("plan", "--tenant", "globex", "--json").stdout)
    contacts = {r["external_id"]: r for r in plan["rows"] if r["object"] == "contact"}
    assert set(contacts) == {r["id"] for r in (*back, *twice)}
    assert {(r["action"], r["class"]) for r in contacts.values()} == {("update", "ours")}

    before = writes(sandbox.hubspot)
    again = lms_crm_here("reconcile", "--tenant", "globex")
    assert again.returncode == 0, again.stderr
    assert (writes(sandbox.hubspot) - before).total() == 1  # the forty contacts in one batch
    proof = prove_globex(sandbox.school, sandbox.hubspot)
    assert agrees({obj: found for obj, found in proof.items() if not found.surplus}), proof
    assert "state.restored" in lms_crm_here("audit", "list", "--tenant", "globex", "--json").stdout
    keys = [r["properties"].get("lms_user_id") for r in records(sandbox.hubspot, "contacts")]
    assert len(keys) == len(set(keys))
