"""From a webhook to the CRM: delivered to the receiver, taken by a run, judged by the CRM's own records."""

import dataclasses
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml
from standardwebhooks import Webhook

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.events import look_at_modes, tenants_to_run
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops.inbox import Delivery, Depth, Inbox, Side, State
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.e2e.conftest import LmsCrm
from tests.e2e.test_one_run import slow, wait_for_writes
from tests.receiver_server import serving
from tests.sandbox_control import fault, mutate, records, requests

pytestmark = pytest.mark.slow

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
SEED = random.randrange(10**6)


class Pushed:
    """Tenant globex in mode push, with a receiver that is up."""

    def __init__(
        self, sandbox: Sandbox, settings: Settings, client: httpx.Client, instance: dg.DagsterInstance
    ) -> None:
        self.sandbox, self.settings, self._client, self.instance = sandbox, settings, client, instance
        self.jobs = build_definitions(settings)
        self.inbox = Inbox.at(settings.state_dir)
        self._number = 0

    def tell(self, *touched: tuple[str, str]) -> None:
        """As an LMS of the changes contract does, of rows by entity and id."""
        self._number += 1
        items = [{"entity": entity, "id": key} for entity, key in touched]
        body = json.dumps({"type": "changes", "timestamp": "2026-11-27T00:00:00Z", "data": {"items": items}})
        answer = self._client.post("/api/v1/hooks/globex", content=body, headers=signed(f"msg_{self._number}", body))
        assert answer.status_code == 202, answer.text

    def run(self, job: str) -> RunSummary:
        summary = run_job(self.jobs.resolve_job_def(job), "globex", self.instance)
        assert summary.succeeded, summary.problems
        return summary

    def metrics(self) -> str:
        """What the receiver shows of itself and of all runs."""
        return self._client.get("/metrics").raise_for_status().text

    def asked_for(self) -> list[str]:
        """The tenants that the sensor wants to run now."""
        folders = {"tenants_dir": str(self.settings.tenants_dir), "state_dir": str(self.settings.state_dir)}
        tenants = TenantsResource(**folders)
        return tenants_to_run(self.instance, tenants, look_at_modes(tenants))

    def waiting(self) -> Depth:
        return self.inbox.depth("globex")

    def agrees(self) -> bool:
        return agrees(prove_globex(self.sandbox.school, self.sandbox.hubspot))


def signed(delivery_id: str, body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(delivery_id, now, body),
        "content-type": "application/json",
    }


@pytest.fixture
def pushed(sandbox: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pushed]:
    contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
    contract |= {"mode": "push", "webhooks": {"lms": [{"verify": "standard", "secrets": ["env:HOOK_SECRET"]}]}}
    folder = tmp_path / "tenants"
    folder.mkdir()
    (folder / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(folder))
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("LMS_CRM_KEY", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    settings = dataclasses.replace(settings, tenants_dir=folder)
    with (
        serving(settings) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        yield Pushed(sandbox, settings, client, instance)


def good_learners(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"]


def test_what_a_webhook_names_is_asked_for_and_reaches_the_crm(pushed: Pushed) -> None:
    pushed.tell(("learners", "lrn-0000001"))
    # Nobody knows yet what the CRM holds: a full reconciliation comes first, and takes what waits.
    assert pushed.asked_for() == []
    pushed.run("full_reconcile")
    assert pushed.waiting().pending == 0
    assert pushed.asked_for() == []

    renamed, _, left = (row["id"] for row in good_learners(pushed.sandbox)[:3])
    mutate(pushed.sandbox.school, object="learners", op="update", id=renamed, fields={"family_name": "Ångström"})
    listings = requests(pushed.sandbox.school).get("GET /api/v1/{entity}")
    # A hint, never truth: of a row that did not change nothing is written; of one that is never there nothing is lost.
    pushed.tell(("learners", renamed), ("learners", left))
    pushed.tell(("learners", "lrn-none"))
    assert pushed.asked_for() == ["globex"]
    summary = pushed.run("sync_events")

    assert summary.objects["contact"].updated == 1
    assert pushed.agrees()
    assert requests(pushed.sandbox.school).get("GET /api/v1/{entity}") != listings
    waiting = pushed.waiting()
    assert (waiting.pending, waiting.leased, waiting.parked) == (1, 0, 0)
    [later] = pushed.inbox.find(tenant="globex", state=State.PENDING)
    assert later.note == "LMS-505 the LMS does not show it yet"
    assert later.not_before > later.received_at
    # It is not due yet.
    assert pushed.asked_for() == []

    # A person deletes a contact in the CRM: it is made anew, and what hangs on it is linked to the new one at once.
    enrolled = next(r["learner_id"] for r in records(pushed.sandbox.school, "enrollments") if r["learner_id"] == left)
    held = {r["properties"]["lms_user_id"]: r["id"] for r in records(pushed.sandbox.hubspot, "contacts")}
    mutate(pushed.sandbox.hubspot, object="contacts", op="archive", id=held[enrolled])
    told = [{"objectId": int(held[enrolled]), "subscriptionType": "contact.deletion", "changeSource": "CRM_UI"}]
    pushed.inbox.add([Delivery("globex", Side.CRM, "d-1", "application/json", json.dumps(told).encode())])
    assert pushed.run("sync_events").objects["contact"].created == 1
    assert pushed.agrees()

    # What is deleted is asked for too, and its tombstone is no row that was never there.
    gone = good_learners(pushed.sandbox)[5]["id"]
    mutate(pushed.sandbox.school, object="learners", op="delete", id=gone)
    pushed.tell(("learners", gone))
    pushed.run("sync_events")
    assert [event.state for event in pushed.inbox.find(tenant="globex")][-1] is State.DONE


@pytest.mark.long
def test_what_a_longer_run_found_wrong_stays_to_be_seen_in_runs_of_events(pushed: Pushed) -> None:
    pushed.run("full_reconcile")
    school, hubspot = pushed.sandbox.school, pushed.sandbox.hubspot
    for row in good_learners(pushed.sandbox)[5:]:
        mutate(school, object="learners", op="update", id=row["id"], fields={"family_name": "Overwritten"})
    assert not run_job(pushed.jobs.resolve_job_def("full_reconcile"), "globex", pushed.instance).succeeded

    touched = good_learners(pushed.sandbox)[0]["id"]
    mutate(school, object="learners", op="update", id=touched, fields={"family_name": "Ångström"})
    pushed.tell(("learners", touched))

    summary = pushed.run("sync_events")

    assert summary.objects["contact"].updated == 1
    assert any(
        line.startswith("delta/plan: globex: the plan of these events stays within the guardrails, but the one of ")
        and "max_update_share" in line
        and line.endswith(" --despite-guardrails")
        for line in summary.refused
    ), summary.refused
    assert "Overwritten" not in {record["properties"]["lastname"] for record in records(hubspot, "contacts")}


@pytest.mark.long
def test_a_tenth_of_the_events_lost_and_the_rest_shuffled_is_repaired_by_the_next_reconciliation(
    pushed: Pushed,
) -> None:
    chance = random.Random(SEED)
    pushed.run("full_reconcile")
    learners = good_learners(pushed.sandbox)[:40]
    for n, learner in enumerate(learners):
        fields = {"family_name": f"Changed {n}"}
        mutate(pushed.sandbox.school, object="learners", op="update", id=learner["id"], fields=fields)
    told = [learner["id"] for learner in learners if chance.random() > 0.1]
    chance.shuffle(told)
    for key in told:
        pushed.tell(("learners", key))

    summary = pushed.run("sync_events")

    assert summary.objects["contact"].updated == len(told), f"seed {SEED}"
    # Many events, few calls.
    assert summary.objects["contact"].write_calls == 1
    pushed.run("full_reconcile")
    assert pushed.agrees(), f"seed {SEED}"


@pytest.mark.long
def test_an_event_is_in_the_crm_long_before_a_full_reconciliation_beside_it_is_over(
    pushed: Pushed, lms_crm: LmsCrm
) -> None:
    """Half of what is told of had yet to be sent by the long run: nothing of it may be overwritten with what was."""
    school, hubspot = pushed.sandbox.school, pushed.sandbox.hubspot
    slow(hubspot, 1.0)
    chance = random.Random(SEED)
    with lms_crm("reconcile", "--tenant", "globex") as full:
        wait_for_writes(hubspot, 2)
        told = []
        for enrollment in chance.sample(records(school, "enrollments"), 30):
            status = "suspended" if enrollment["status"] == "active" else "active"
            mutate(school, object="enrollments", op="update", id=enrollment["id"], fields={"status": status})
            told.append(("enrollments", enrollment["id"]))
        renamed = good_learners(pushed.sandbox)[7]["id"]
        mutate(school, object="learners", op="update", id=renamed, fields={"family_name": "Ångström"})
        pushed.tell(("learners", renamed), *told)
        with lms_crm("worker") as worker:
            wait_until(lambda: lastname(hubspot, renamed) == "Ångström", full)
            wait_until(lambda: pushed.waiting().leased == pushed.waiting().pending == 0, full)
            assert full.poll() is None
            worker.send_signal(signal.SIGTERM)
            out, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        assert "globex: 1 events, " in out
        fault(hubspot)
        out, err = full.communicate(timeout=300)

    assert full.returncode == 0, out + err
    assert pushed.agrees(), f"seed {SEED}"


def lastname(hubspot: str, learner: str) -> str | None:
    held = {r["properties"]["lms_user_id"]: r["properties"] for r in records(hubspot, "contacts")}
    return held[learner]["lastname"] if learner in held else None


def wait_until(holds: Callable[[], bool], beside: "subprocess.Popen[str]") -> None:
    give_up_at = time.monotonic() + 300
    while not holds():
        assert beside.poll() is None, "the long run is over"
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
