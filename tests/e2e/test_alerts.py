"""Each alert fires once and recovers once: one tenant of a small school, faults of every kind, and real channels.

After each fault the sensor looks, then the fleet's look, twice. What the chat room, the program and the mailbox got is
counted at the end.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import jwt
import pytest
import yaml
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from lms_crm_assets.alerts.state import Since
from lms_crm_assets.cli.app import app
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.webhooks import Backpressure
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.alerting import alerts, look_at
from lms_crm_assets.defs.orphans import GONE
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.defs.tenant_states import tenant_states
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.ops.modes import GOOD_WINDOWS, Mode, Modes, Sample
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.mail_server import Mailbox, receiving
from tests.sandbox_control import fault, mutate, records
from tests.webhook_catcher import Catcher, catching

pytestmark = pytest.mark.slow

SECRET = "whsec_" + base64.b64encode(b"canary-signing-key-of-32-bytes--").decode()
CANARY = "canary-refused"
LIMITS = {"drift_records": 1, "queue_events": 2, "paused_hours": 1}
FLEET = """\
channels:
- {name: chat, to: slack, url: env:CHAT_URL}
- {name: program, to: webhook, url: "${PROGRAM_URL}", secret: env:PROGRAM_SECRET}
"""
OTHER = """\
version: 2
tenant: later
source: {adapter: changes, url: "https://lms.example", token: env:LATER_TOKEN}
destination: {adapter: hubspot, api_version: 2026-09, access_token: env:GLOBEX_CRM_TOKEN}
objects: {contact: {to: contacts, match_key: lms_user_id, fields: {email: email}}}
"""


@dataclass
class World:
    """Tenant `globex` in HubSpot, and `later` of which only the contract counts; the three channels."""

    sandbox: Sandbox
    folder: Path
    instance: dg.DagsterInstance
    chat: Catcher
    program: Catcher
    mailbox: Mailbox
    cursor: str | None = None
    expected: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def tenants(self) -> TenantsResource:
        return TenantsResource(tenants_dir=str(self.folder / "tenants"), state_dir=str(self.folder / "state"))

    @property
    def store(self) -> OperationalStore:
        return self.tenants.store()

    def write(self, **changes: Any) -> None:
        contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
        mail = {"name": "people", "to": "email", "host": "127.0.0.1", "port": self.mailbox.port, "security": "none"}
        mail |= {"sender": "lms@example.test", "recipients": ["ops@example.test"]}
        contract |= {"mode": "pull", "webhooks": {}, "alerts": {"channels": [mail], **LIMITS}, **changes}
        contract["objects"] = {"contact": contract["objects"]["contact"]}
        (self.folder / "tenants" / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")

    def run(self) -> RunSummary:
        settings = Settings(self.folder / "tenants", self.folder / "state")
        return run_job(build_definitions(settings).resolve_job_def("full_reconcile"), "globex", self.instance)

    def look(self, *, now: datetime | None = None, paused: Since | None = None) -> set[tuple[str, str]]:
        """The sensor, and two looks of the fleet; what is open afterwards."""
        if now is None and paused is None:
            given = {"tenants": self.tenants}
            with dg.build_sensor_context(self.instance, self.cursor, resources=given) as context:
                tick = alerts.evaluate_tick(context)
            assert (tick.skip_message or "").startswith("looked at")
            self.cursor = tick.cursor
        for _ in range(2):
            states = tenant_states(self.instance, self.tenants, self.tenants.names(), now or datetime.now(UTC))
            found = [replace(each, paused=paused) if each.tenant == "globex" else each for each in states]
            assert look_at(self.tenants, found) == []
        rows = [json.loads(line) for line in cli("list", "--json").splitlines()]
        self.expected |= {(row["tenant"], row["kind"], row["subject"] or "") for row in rows}
        return {(row["kind"], row["subject"] or "") for row in rows}

    def got(self) -> dict[str, Counter[tuple[str, str, str, str]]]:
        """What each channel got: event, tenant, kind and subject; the chat room and the mailbox tell titles alone."""
        told = [Webhook(SECRET).verify(each.body.decode(), each.headers) for each in self.program.caught]
        texts = [json.loads(each.body)["text"].splitlines()[0] for each in self.chat.caught]
        return {
            "program": Counter(
                (t["type"], *(t["data"][name] or "" for name in ("tenant", "kind", "subject"))) for t in told
            ),
            "chat": Counter((text, "", "", "") for text in texts),
            "people": Counter((mail["subject"], "", "", "") for mail in self.mailbox.mails),
        }


def cli(*words: str) -> str:
    result = CliRunner().invoke(app, ["alerts", *words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def world(_sandbox_of_the_session: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Twelve learners; nothing ran yet."""
    sandbox, folder = _sandbox_of_the_session, tmp_path_factory.mktemp("alerts")
    for address in vars(sandbox).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    small = {"learners": 12, "courses": 2, "enrollments": 12}
    httpx.post(f"{sandbox.school}/_sandbox/reset", json=small).raise_for_status()
    (folder / "tenants").mkdir()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        chat, program = stack.enter_context(catching()), stack.enter_context(catching())
        mailbox = stack.enter_context(receiving())
        patch.setattr(tokens, "_shared", {})
        patch.delenv("LMS_CRM_STORE_URL", raising=False)
        given = {"CHAT_URL": chat.url, "PROGRAM_URL": program.url, "PROGRAM_SECRET": SECRET, "COLUMNS": "300"}
        given |= {"LMS_CRM_TENANTS_DIR": f"{folder}/tenants", "LMS_CRM_STATE_DIR": f"{folder}/state"}
        given |= {"LMS_CRM_KEY": base64.b64encode(bytes(32)).decode(), "LMS_CRM_UI_URL": "https://ui.example/"}
        for name, value in {**sandbox.environ(), **given, "LATER_TOKEN": "plain"}.items():
            patch.setenv(name, value)
        (folder / "tenants" / "_alerts.yaml").write_text(FLEET, encoding="utf-8")
        (folder / "tenants" / "later.yaml").write_text(OTHER, encoding="utf-8")
        found = World(sandbox, folder, instance, chat, program, mailbox)
        found.write()
        yield found


def test_each_alert_fires_once_and_recovers_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = records(world.sandbox.school, "learners")
    learners = [row["id"] for row in rows]
    private = [row[name] for row in rows for name in ("email", "family_name", "username", "id")]
    private += [CANARY, SECRET, "pat-sandbox", "sandbox-school-token", world.chat.url, "Typo"]
    runs_and_the_crm(world, learners, monkeypatch)
    what_the_store_holds(world, monkeypatch)

    assert world.look() == set()
    assert {(kind, subject) for _, kind, subject in world.expected} == {
        ("drift", ""),
        ("rejected", ""),
        ("schema_changed", "crm"),
        ("plan_waits", "approval"),
        ("credential", "refused"),
        ("run_failed", "full"),
        ("run_failed", "events"),
        ("stale", ""),
        ("stale", "full"),
        ("queue", "age"),
        ("queue", "depth"),
        ("queue", "parked"),
        ("quota", ""),
        ("expiry", "the credential source.token"),
        ("switched_to_pull", ""),
        ("paused", ""),
        ("contract", ""),
    }
    got = world.got()
    fired = {("alert.fired", *each) for each in world.expected}
    recovered = {("alert.recovered", *each) for each in world.expected}
    assert got["program"] == Counter(fired | recovered)
    assert got["chat"].total() == 2 * len(world.expected)
    # The mailbox is globex's own; of a contract that can't be read only the fleet's channels hear.
    own = [each for each in world.expected if each[0] == "globex" and each[1] != "contract"]
    assert got["people"].total() == 2 * len(own)
    assert got["people"]["[globex] Recovered: records not taken", "", "", ""] == 1
    everything = "".join(
        [each.body.decode() for each in (*world.chat.caught, *world.program.caught)]
        + [mail.as_string() + mail.get_content() for mail in world.mailbox.mails]
    )
    assert "https://ui.example/runs/" in everything
    assert [each for each in private if each in everything] == []


def runs_and_the_crm(world: World, learners: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults that runs find."""
    portal, school = world.sandbox.hubspot, world.sandbox.school
    assert world.look() == set()
    # The CRM refuses a record.
    refusal = {"object": "contacts", "key_pattern": f"^{learners[1]}$"}
    httpx.post(f"{portal}/_sandbox/options", json={"record_faults": [refusal]}).raise_for_status()
    assert world.run().succeeded
    assert world.look() == {("rejected", "")}

    # It takes it again, but somebody edits another one, an administrator takes an option away, and plans have to wait:
    # whether the refused record is taken now nobody knows yet.
    httpx.post(f"{portal}/_sandbox/options", json={"record_faults": []}).raise_for_status()
    [held] = [each for each in records(portal, "contacts") if each["properties"]["lms_user_id"] == learners[0]]
    mutate(portal, **edited(learners[0], lastname="Typo"))
    options = httpx.get(f"{portal}/crm/v3/properties/contacts/lms_status", headers=bearer()).json()["options"]
    change_options(portal, [each for each in options if each["value"] != "suspended"])
    world.write(guardrails={"auto_apply": False})
    assert world.run().succeeded
    standing = {("rejected", ""), ("drift", ""), ("schema_changed", "crm"), ("plan_waits", "approval")}
    assert world.look() == standing

    # The LMS doesn't know the token any more: what stood stands.
    with monkeypatch.context() as patch:
        patch.setenv("GLOBEX_LMS_TOKEN", CANARY)
        assert not world.run().succeeded
    assert world.look() == {*standing, ("credential", "refused")}

    # It does again, but gives a tenth of its rows. A worker was killed meanwhile.
    fault(school, {"route": "GET", "kind": "fewer", "rows": 0.1})
    world.write()
    assert not world.run().succeeded
    events = world.instance.create_run_for_job(
        dg.job(name="sync_events")(lambda: None), tags={"dagster/partition": "globex"}
    )
    world.instance.report_run_failed(events, GONE)
    assert world.look() == {*standing, ("credential", "refused"), ("run_failed", "full"), ("run_failed", "events")}

    # All is mended: that run reads what the events named, too.
    fault(school)
    mutate(portal, **edited(learners[0], lastname=held["properties"]["lastname"]))
    change_options(portal, options)
    assert world.run().agrees
    assert world.look() == set()


def what_the_store_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults that no run has to find."""
    contract = load_contract(world.folder / "tenants", "globex")
    file = world.folder / "tenants" / "globex.yaml"
    inbox, modes, limits = Inbox.at(world.folder / "state"), Modes(world.store), Backpressure(window_seconds=1e-9)
    inbox.add([Delivery("globex", Side.LMS, f"{n}", "application/json", b"{}") for n in range(3)])
    parked = inbox.lease("globex", 1, 600)[0]
    inbox.park(parked.number, "LMS-501")
    modes.look("globex", Mode.PUSH, Sample(depth=60_000, oldest_seconds=0), limits)
    crm = crm_adapter(contract, world.store)
    crm.quota()
    crm.close()
    [(system, used, allowed)] = world.store.read("SELECT name, used, allowed FROM quotas")
    told = "UPDATE quotas SET used = ? WHERE name = ?"
    with world.store.transaction() as run:
        run(told, (allowed, system))
    ending = jwt.encode({"exp": datetime.now(UTC) + timedelta(days=3)}, "x" * 32)
    with monkeypatch.context() as patch:
        patch.setenv("LATER_TOKEN", ending)
        much_later = datetime.now(UTC) + timedelta(days=3)
        paused = Since(much_later.timestamp() - 7200, "the portal is being moved")
        found = {
            *(("stale", each) for each in ("", "full")),
            *(("queue", each) for each in ("age", "depth", "parked")),
            ("quota", ""),
            ("switched_to_pull", ""),
            ("expiry", "the credential source.token"),
        }
        assert world.look(now=much_later) == found
        # That a tenant which is paused grows old is no news; what stood before stands.
        assert world.look(now=much_later, paused=paused) == {*found, ("paused", "")}
    inbox.replay([parked.number])
    inbox.done([event.number for event in inbox.lease("globex", 10, 600)])
    with world.store.transaction() as run:
        run(told, (used, system))
    for _ in range(GOOD_WINDOWS):
        modes.look("globex", Mode.PUSH, Sample(0, 0.0), limits)
    good = file.read_text(encoding="utf-8")
    file.write_text("tenant: [", encoding="utf-8")
    assert ("contract", "") in world.look()
    file.write_text(good, encoding="utf-8")


def edited(key: str, **properties: str) -> Mapping[str, Any]:
    return {"object": "contacts", "op": "update", "idProperty": "lms_user_id", "key": key, "properties": properties}


def bearer() -> dict[str, str]:
    return {"Authorization": "Bearer pat-sandbox"}


def change_options(portal: str, options: list[dict[str, str]]) -> None:
    place = f"{portal}/crm/v3/properties/contacts/lms_status"
    httpx.patch(place, json={"options": options}, headers=bearer()).raise_for_status()
