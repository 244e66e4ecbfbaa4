"""Receivers and runs of several machines share inbox, keys and rates, which lie in Postgres then.

Each machine has a state folder of its own; what they share is the contracts, the key, and `LMS_CRM_STORE_URL`.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.events import look_at_modes, tenants_to_run
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops.inbox import Inbox, State
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.postgres import Server
from tests.receiver_server import ENVIRON, WEBHOOKS, serving, signed, write_contract
from tests.sandbox_control import mutate, records

pytestmark = pytest.mark.slow


def test_copies_to_two_receivers_are_one_event(
    postgres: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**ENVIRON, "LMS_CRM_STORE_URL": postgres.url(database)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    write_contract(tmp_path / "tenants", "standard", WEBHOOKS["standard"])
    hosts = [Settings(tmp_path / "tenants", tmp_path / f"host-{n}") for n in range(2)]
    body = b'{"a": "copy"}'
    headers = {number: signed(body, f"copy-{number}") for number in range(10)}

    with serving(hosts[0]) as one, serving(hosts[1]) as other, httpx.Client(timeout=30) as client:

        def post(place: int) -> int:
            address = f"{(one, other)[place % 2]}/api/v1/hooks/standard"
            return client.post(address, content=body, headers=headers[place // 2 % 10]).status_code

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(post, range(100))) == {202}
        assert client.get(f"{other}/readyz").status_code == 200
        assert 'inbox_depth{state="pending",tenant="standard"} 10.0' in client.get(f"{one}/metrics").text

    assert sorted(event.delivery_id for event in Inbox.at(hosts[1].state_dir).find()) == sorted(
        f"copy-{number}" for number in range(10)
    )


API = "/api/v1/tenants/globex"
SIZE = {"learners": 40, "courses": 2, "enrollments": 40}
CLIENTS = [
    {"id": "lms", "secret": "env:API_SECRET", "scopes": ["write", "status"], "requests_per_second": 1000},
    # One call, and the next after a hundred seconds.
    {"id": "slow", "secret": "env:API_SECRET", "scopes": ["status"], "requests_per_second": 0.01},
]


@dataclass
class Hosts:
    """Two receivers and the machine of the daemon, which has no part in their folders."""

    daemon: Settings
    receivers: list[httpx.Client]
    instance: dg.DagsterInstance

    def token(self, client: str, host: int) -> dict[str, str]:
        """A client's token of one host, as a header."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": "of the LMS"}
        answer = self.receivers[host].post(f"{API}/token", data=form).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def run(self, job: str) -> RunSummary:
        summary = run_job(build_definitions(self.daemon).resolve_job_def(job), "globex", self.instance)
        assert summary.succeeded, summary.problems
        return summary


@pytest.fixture
def hosts(
    sandbox: Sandbox, postgres: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hosts]:
    environ = {**ENVIRON, **sandbox.environ(), "API_SECRET": "of the LMS", "LMS_CRM_STORE_URL": postgres.url(database)}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    httpx.post(f"{sandbox.school}/_sandbox/reset", json=SIZE).raise_for_status()
    contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
    contract |= {"mode": "push", "webhooks": WEBHOOKS["standard"], "clients": CLIENTS}
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    one, other, daemon = (Settings(tmp_path / "tenants", tmp_path / f"host-{n}") for n in range(3))
    with (
        serving(one) as first,
        serving(other) as second,
        httpx.Client(base_url=first, timeout=30) as at_first,
        httpx.Client(base_url=second, timeout=30) as at_second,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        yield Hosts(daemon, [at_first, at_second], instance)


@pytest.mark.long
def test_what_two_receivers_acknowledged_is_taken_by_one_run_on_a_third_host(sandbox: Sandbox, hosts: Hosts) -> None:
    hosts.run("full_reconcile")
    learners = [r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"][:6]
    for learner in learners:
        mutate(sandbox.school, object="learners", op="update", id=learner["id"], fields={"family_name": "Changed"})
    for learner, receiver in zip(learners[:4], cycle(hosts.receivers)):
        data = {"entity": "learners", "id": learner["id"]}
        body = json.dumps({"type": "learners.updated", "timestamp": "2026-11-27T00:00:00Z", "data": data}).encode()
        answer = receiver.post("/api/v1/hooks/globex", content=body, headers=signed(body, f"of-{learner['id']}"))
        assert answer.status_code == 202, answer.text
    # By the API too: the token of one host holds at the other, and so does the key of a batch that the first one took.
    headers = {**hosts.token("lms", 0), "Idempotency-Key": "one-batch"}
    rows: list[dict[str, Any]] = [{**learner, "family_name": "Changed"} for learner in learners[4:]]
    answers = [r.post(f"{API}/learners:batchUpsert", json={"items": rows}, headers=headers) for r in hosts.receivers]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert answers[0].content == answers[1].content
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    changed = hosts.receivers[1].post(f"{API}/learners:batchUpsert", json={"items": rows[:1]}, headers=headers)
    assert (changed.status_code, changed.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")

    for receiver in hosts.receivers:
        status = receiver.get(f"{API}/status", headers=hosts.token("lms", 1)).raise_for_status().json()
        assert status["inbox"]["pending"] == 5
    folders = {"tenants_dir": str(hosts.daemon.tenants_dir), "state_dir": str(hosts.daemon.state_dir)}
    tenants = TenantsResource(**folders)
    assert tenants_to_run(hosts.instance, tenants, look_at_modes(tenants)) == ["globex"]
    summary = hosts.run("sync_events")

    assert summary.objects["contact"].updated == len(learners)
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))
    assert [event.state for event in Inbox.at(hosts.daemon.state_dir).find("globex")] == [State.DONE] * 5
    for receiver in hosts.receivers:
        assert 'tenant="globex"}' not in receiver.get("/metrics").text.partition("# TYPE inbox_depth")[2], "all is done"
        # A copy that comes late, to whichever host, is none.
        copy = receiver.post("/api/v1/hooks/globex", content=body, headers=signed(body, f"of-{learners[3]['id']}"))
        assert copy.status_code == 202
    assert len(list(Inbox.at(hosts.daemon.state_dir).find("globex"))) == 5
    assert not list(hosts.daemon.tenants_dir.parent.glob("host-*/*.sqlite")), "all of it is in Postgres"


def test_a_rate_counts_over_all_receivers(hosts: Hosts) -> None:
    # To get the token is a call too, of the one that the client has.
    slow = hosts.token("slow", 0)
    answers = [receiver.get(f"{API}/status", headers=slow) for receiver in reversed(hosts.receivers)]

    assert [answer.status_code for answer in answers] == [429, 429], [answer.text for answer in answers]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=0", "r=0"]
    # Of another client nothing is taken.
    assert hosts.receivers[1].get(f"{API}/status", headers=hosts.token("lms", 1)).status_code == 200
