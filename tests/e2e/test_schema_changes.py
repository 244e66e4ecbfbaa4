"""An administrator changes the CRM's schema: the next discovery tells it, and no run writes half of what it should.

One small school is kept in a Salesforce org and in a HubSpot portal. Before each change the CRM is emptied, so that the
run would have everything to write; what was accepted once stays in the warehouse.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.edge import key
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops import tokens
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.sandbox_control import mutate, records, writes

pytestmark = pytest.mark.slow

SIZE = {"learners": 12, "courses": 2, "enrollments": 15}
SHORT, LONG, AWAY = "lrn-short", "lrn-long", "lrn-away"
WIDTH = 5
DAY = "2026-05-01T00:00:00Z"


@dataclass(frozen=True)
class World:
    """Two tenants of one school, `acme` in Salesforce and `globex` in HubSpot."""

    sandbox: Sandbox
    settings: Settings
    instance: dg.DagsterInstance

    def address(self, tenant: str) -> str:
        return self.sandbox.salesforce if tenant == "acme" else self.sandbox.hubspot

    def run(self, tenant: str, job: str = "full_reconcile") -> RunSummary:
        return run_job(build_definitions(self.settings).resolve_job_def(job), tenant, self.instance)

    def checks(self, run: RunSummary, asset: str = "crm_schema") -> dict[str, dg.AssetCheckEvaluation]:
        found = self.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        events = [record.event_log_entry.dagster_event for record in found.records]
        checks = [event.asset_check_evaluation_data for event in events if event]
        return {each.check_name: each for each in checks if each.asset_key == key("discovery", asset)}

    def held(self, tenant: str, kind: str, match_key: str) -> dict[str, dict[str, Any]]:
        """The CRM's own records, by match key."""
        rows = records(self.address(tenant), kind)
        values = [row.get("properties", row) for row in rows if not row.get("archived")]
        return {row[match_key]: row for row in values if row.get(match_key)}


@pytest.fixture(scope="module")
def world(_sandbox_of_the_session: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both tenants, reconciled once, so that the CRMs as they are stand accepted."""
    sandbox, folder = _sandbox_of_the_session, tmp_path_factory.mktemp("schemas")
    for address in vars(sandbox).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    httpx.post(f"{sandbox.school}/_sandbox/reset", json=SIZE).raise_for_status()
    for name, username, status in (
        (SHORT, "ada", "active"),
        (LONG, "ada.of.long.name", "active"),
        (AWAY, "bob", "suspended"),
    ):
        person = {"given_name": "Ada", "family_name": name, "organization": "Globex", "status": status}
        person |= {"username": username, "email": f"{name}@example.test"}
        mutate(sandbox.school, object="learners", op="create", id=name, fields=person)
    for course, progress in ((1, 40), (2, 100)):
        of = {"learner_id": SHORT, "course_id": f"crs-000000{course}"}
        done = (
            {"state": "completed", "completed_at": "2026-06-01T00:00:00Z"}
            if progress == 100
            else {"state": "in_progress"}
        )
        mutate(
            sandbox.school, object="enrollments", op="create", id=f"{SHORT}-{course}", fields={**of, "enrolled_at": DAY}
        )
        mutate(
            sandbox.school,
            object="completions",
            op="create",
            id=f"{SHORT}-{course}",
            fields={**of, **done, "progress_pct": progress},
        )
    (folder / "tenants").mkdir()
    school = _contract("globex")["source"]
    for tenant in ("acme", "globex"):
        contract = {**_contract(tenant), "source": school, "mode": "pull", "webhooks": {}}
        # However many records a change concerns, the others are sent.
        contract["checks"] = {"max_invalid_share": 1.0}
        (folder / "tenants" / f"{tenant}.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setattr(tokens, "_shared", {})
        for name, value in sandbox.environ().items():
            patch.setenv(name, value)
        patch.delenv("LMS_CRM_STORE_URL", raising=False)
        patch.setenv("LMS_CRM_TENANTS_DIR", str(folder / "tenants"))
        patch.setenv("LMS_CRM_STATE_DIR", str(folder / "state"))
        world = World(sandbox, Settings(folder / "tenants", folder / "state"), instance)
        for tenant in ("acme", "globex"):
            first = world.run(tenant)
            assert first.succeeded, first.problems
            assert all(check.passed for check in world.checks(first).values())
        yield world


def _contract(tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TENANTS / f"{tenant}.yaml").read_text(encoding="utf-8"))
    return found


Written = Callable[[World, str], None]
"""Looks whether the CRM holds exactly the records that a change does not concern."""
Told = tuple[str, str, str, str]
"""What the discovery says: the object, its field, what happened, and its effect."""


Change = tuple[Mapping[str, Any], Told]
"""What is done to the CRM, and what is said of it."""


@dataclass(frozen=True)
class Case:
    """What is done to a CRM before one run."""

    tenant: str
    changes: Sequence[Change]
    written: Written | None = None

    @property
    def told(self) -> set[Told]:
        return {told for _, told in self.changes}

    @property
    def blocks(self) -> bool:
        return any(effect == "block" for *_, effect in self.told)


def learners(world: World) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in records(world.sandbox.school, "learners") if not row.get("deleted")}


def courses_but_no_contact(world: World, tenant: str) -> None:
    """A required field that no contact has: whatever doesn't hang on contacts is written."""
    assert len(world.held(tenant, "LMS_Course__c", "LMS_Course_Id__c")) == SIZE["courses"]
    assert world.held(tenant, "Contact", "LMS_User_Id__c") == {}


def what_fits(world: World, tenant: str) -> None:
    """Contacts with a short name who are active; of their completions those below 100 %, which is a digit too many."""
    people = {
        name for name, row in learners(world).items() if row["status"] == "active" and len(row["username"]) <= WIDTH
    }
    assert SHORT in people
    assert people.isdisjoint({LONG, AWAY})
    assert world.held(tenant, "Contact", "LMS_User_Id__c").keys() == people
    rows = [row for row in records(world.sandbox.school, "completions") if row["learner_id"] in people]
    fit = {row["id"] for row in rows if row["progress_pct"] < 100}
    assert 0 < len(fit) < len(rows)
    assert world.held(tenant, "LMS_Completion__c", "LMS_Completion_Id__c").keys() == fit


def active_ones_only(world: World, tenant: str) -> None:
    active = {name for name, row in learners(world).items() if row["status"] == "active"}
    assert AWAY not in active
    assert world.held(tenant, "contacts", "lms_user_id").keys() == active


def salesforce(obj: str, op: str, name: str | None = None, to: Any = None) -> dict[str, Any]:
    change = {"object": obj, "op": op, "field": name, "to": to}
    return {each: value for each, value in change.items() if value is not None}


CONTACT, COURSE, ENROLLMENT, COMPLETION = "Contact", "LMS_Course__c", "LMS_Enrollment__c", "LMS_Completion__c"
ACTIVE = {"options": [{"label": "Active", "value": "active"}]}
CASES = {
    "Salesforce: a required field": Case(
        "acme",
        [
            (
                salesforce(CONTACT, "add", "Site__c", {"type": "string", "required": True}),
                ("contact", "Site__c", "required", "alert"),
            )
        ],
        courses_but_no_contact,
    ),
    "Salesforce: what concerns single records": Case(
        "acme",
        [
            (
                salesforce(CONTACT, "change", "LMS_Username__c", {"length": WIDTH}),
                ("contact", "LMS_Username__c", "length narrowed", "alert"),
            ),
            (
                salesforce(CONTACT, "change", "LMS_Status__c", {"values": ["active"]}),
                ("contact", "LMS_Status__c", "picklist values gone", "alert"),
            ),
            (
                salesforce(COMPLETION, "change", "Progress__c", {"precision": 4, "scale": 2}),
                ("completion", "Progress__c", "digits narrowed", "alert"),
            ),
            (
                salesforce(CONTACT, "add", "Nickname__c", {"type": "string"}),
                ("contact", "Nickname__c", "field made", "note"),
            ),
        ],
        what_fits,
    ),
    "Salesforce: what is gone": Case(
        "acme",
        [
            (
                salesforce(CONTACT, "drop", "LMS_Username__c"),
                ("contact", "LMS_Username__c", "field gone", "block"),
            ),
            (
                salesforce(CONTACT, "rename", "LMS_Organization__c", "LMS_Organisation__c"),
                ("contact", "LMS_Organization__c", "field renamed", "block"),
            ),
            (
                salesforce(CONTACT, "access", "LMS_Country__c", "none"),
                ("contact", "LMS_Country__c", "field gone", "block"),
            ),
            (
                salesforce("LMS_Competency__c", "drop"),
                ("competency", "", "object gone", "block"),
            ),
            (
                salesforce(ENROLLMENT, "drop", "Contact__c"),
                ("enrollment", "Contact__r", "relation gone", "block"),
            ),
        ],
    ),
    "Salesforce: what no longer serves": Case(
        "acme",
        [
            (
                salesforce(CONTACT, "change", "LMS_Username__c", {"type": "double"}),
                ("contact", "LMS_Username__c", "type changed", "block"),
            ),
            (
                salesforce(CONTACT, "access", "LMS_Country__c", "read"),
                ("contact", "LMS_Country__c", "read-only", "block"),
            ),
            (
                salesforce(CONTACT, "change", "LMS_User_Id__c", {"unique": False}),
                ("contact", "LMS_User_Id__c", "uniqueness lost", "block"),
            ),
            (
                salesforce(COURSE, "change", "LMS_Course_Id__c", {"external_id": False}),
                ("course", "LMS_Course_Id__c", "external id lost", "block"),
            ),
            (
                salesforce(COMPLETION, "change", "Progress__c", {"precision": 4, "scale": 1}),
                ("completion", "Progress__c", "decimals narrowed", "block"),
            ),
        ],
    ),
    "HubSpot: what concerns single records": Case(
        "globex",
        [
            (
                {"PATCH": "/crm/v3/properties/contacts/lms_status", "json": ACTIVE},
                ("contact", "lms_status", "picklist values gone", "alert"),
            ),
            (
                {"object": "p_lms_enrollment", "op": "add", "field": "site", "to": {"required": True}},
                ("enrollment", "site", "required", "alert"),
            ),
        ],
        active_ones_only,
    ),
    "HubSpot: what blocks": Case(
        "globex",
        [
            (
                {"DELETE": "/crm/v3/properties/contacts/lms_country"},
                ("contact", "lms_country", "field gone", "block"),
            ),
            (
                {
                    "PATCH": "/crm/v3/properties/contacts/lms_username",
                    "json": {"type": "number", "fieldType": "number"},
                },
                ("contact", "lms_username", "type changed", "block"),
            ),
            (
                {"object": "contacts", "op": "access", "field": "lms_organization", "to": "read"},
                ("contact", "lms_organization", "read-only", "block"),
            ),
            (
                {"object": "p_lms_enrollment", "op": "change", "field": "lms_enrollment_id", "to": {"unique": False}},
                ("enrollment", "lms_enrollment_id", "uniqueness lost", "block"),
            ),
            (
                {"object": "p_lms_competency", "op": "drop"},
                ("competency", "", "object gone", "block"),
            ),
        ],
    ),
}
ALONE = {
    " ".join([case.tenant, *told]): Case(case.tenant, [(change, told)])
    for case in CASES.values()
    if case.blocks
    for change, told in case.changes
}


def emptied(world: World, tenant: str) -> None:
    """The CRM as it was accepted, without a record."""
    httpx.post(f"{world.address(tenant)}/_sandbox/reset").raise_for_status()


def administer(world: World, tenant: str, change: Mapping[str, Any]) -> None:
    """Change the schema, by HubSpot's own API where the change names a method of it."""
    address = world.address(tenant)
    if "op" in change:
        answer = httpx.post(f"{address}/_sandbox/schema", json=dict(change))
    else:
        (method, path), *_ = change.items()
        headers = {"Authorization": "Bearer pat-sandbox"}
        answer = httpx.request(method, f"{address}{path}", headers=headers, json=change.get("json"))
    assert answer.is_success, answer.text


@pytest.mark.parametrize("name", CASES)
def test_changes_are_told_with_what_they_mean_and_nothing_is_half_written(world: World, name: str) -> None:
    look_at(world, CASES[name])


@pytest.mark.long
@pytest.mark.parametrize("name", ALONE)
def test_each_change_that_blocks_does_so_alone(world: World, name: str) -> None:
    look_at(world, ALONE[name])


def look_at(world: World, case: Case) -> None:
    emptied(world, case.tenant)
    for change, _ in case.changes:
        administer(world, case.tenant, change)
    before = writes(world.address(case.tenant))

    run = world.run(case.tenant)

    written = writes(world.address(case.tenant)) - before
    checks = world.checks(run)
    told = {
        tuple(row[each] for each in ("object", "field", "change", "effect")) for row in rows_of(checks["as_accepted"])
    }
    # A lookup that is gone takes its field with it.
    assert {each for each in told if each in case.told or each[3] != "note"} == case.told
    assert not checks["as_accepted"].passed
    assert not checks["fits_contract"].passed
    assert run.succeeded != case.blocks, run.problems
    if case.blocks:
        assert not written
        # Whoever looks at the run reads what happened.
        assert all(field in " ".join(run.problems) for _, field, *_ in case.told)
    else:
        assert written
        # What the CRM would refuse it was not sent.
        assert sum(each.rejected + each.failed + each.skipped for each in run.objects.values()) == 0
        assert sum(each.refused for each in run.objects.values()) > 0
        assert checks["fits_contract"].severity is dg.AssetCheckSeverity.WARN
    if case.written is not None:
        case.written(world, case.tenant)


def rows_of(check: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    table = check.metadata.get("changes")
    return [dict(record.data) for record in table.records] if isinstance(table, dg.TableMetadataValue) else []


def test_it_stays_red_until_a_person_accepts(world: World) -> None:
    """A picklist that took any word is restricted."""
    emptied(world, "acme")
    administer(world, "acme", salesforce(CONTACT, "change", "LMS_Status__c", {"restricted": False}))
    administer(world, "acme", salesforce(CONTACT, "change", "LMS_Organization__c", {"length": 100}))

    told = cli("crm", "schema", "--tenant", "acme", "--json")
    [change] = json.loads(told.stdout)["crm"]
    narrowed = ("contact", "LMS_Organization__c", "length narrowed", "alert")
    assert (told.exit_code, *(change[name] for name in ("object", "field", "change", "effect"))) == (1, *narrowed)
    accepted = cli("crm", "accept", "--tenant", "acme")
    assert (accepted.exit_code, "LMS_Organization__c: length narrowed" in accepted.stdout) == (0, True)
    assert world.checks(world.run("acme", "plan"))["as_accepted"].passed
    assert cli("crm", "schema", "--tenant", "acme").exit_code == 0

    administer(world, "acme", salesforce(CONTACT, "change", "LMS_Status__c", {"restricted": True}))
    told = cli("crm", "schema", "--tenant", "acme")
    assert "LMS_Status__c: picklist restricted" in told.stdout
    emptied(world, "acme")
    cli("crm", "schema", "--tenant", "acme")
    assert cli("crm", "accept", "--tenant", "acme").exit_code == 0


def cli(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_a_run_that_comes_often_takes_what_was_discovered_just_now(world: World) -> None:
    emptied(world, "globex")
    assert cli("crm", "schema", "--tenant", "globex").exit_code == 0
    before = httpx.get(f"{world.sandbox.hubspot}/_sandbox/log").json()["last"]

    run = world.run("globex", "incremental_pull")

    assert run.succeeded, run.problems
    log = httpx.get(f"{world.sandbox.hubspot}/_sandbox/log", params={"after": before}).json()["calls"]
    assert log
    assert [call["path"] for call in log if "/properties/" in call["path"] or "/schemas/" in call["path"]] == []


@pytest.mark.parametrize(
    ("tenant", "change", "name"),
    [
        ("acme", salesforce(CONTACT, "drop", "LMS_Username__c"), "LMS_Username__c"),
        ("globex", {"DELETE": "/crm/v3/properties/contacts/lms_username"}, "lms_username"),
    ],
)
def test_a_field_that_goes_after_the_discovery_ends_the_run_and_refuses_nobody(
    world: World, tenant: str, change: Mapping[str, Any], name: str
) -> None:
    emptied(world, tenant)
    assert cli("crm", "schema", "--tenant", tenant).exit_code == 0
    administer(world, tenant, change)
    key, username = f"lrn-of-{tenant}", f"ada.of.{tenant}"
    person = {"username": username, "email": f"{key}@example.test", "family_name": key, "status": "active"}
    mutate(world.sandbox.school, object="learners", op="create", id=key, fields=person)

    run = world.run(tenant, "incremental_pull")

    assert not run.succeeded
    assert any("schema changed under way" in line and name in line for line in run.problems), run.problems
    assert username not in " ".join(run.problems)
    letters = cli("dead-letters", "list", "--tenant", tenant, "--refused")
    assert key not in letters.stdout


def test_a_tenant_is_compared_with_the_one_that_its_contract_names(world: World) -> None:
    tenants: Path = world.settings.tenants_dir
    contract = yaml.safe_load((tenants / "globex.yaml").read_text(encoding="utf-8"))
    here = {**contract, "tenant": "globex-sandbox", "checks": {"compare_schema_with": "globex"}}
    (tenants / "globex-sandbox.yaml").write_text(yaml.safe_dump(here), encoding="utf-8")
    emptied(world, "globex")

    checks = world.checks(world.run("globex-sandbox", "plan"))

    assert checks["like_production"].passed
    assert "globex has all that the contract needs" in str(checks["like_production"].description)
