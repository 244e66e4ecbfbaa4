"""Feature switches, judged by the CRM's own records and request log; and the audit trail of what was written under them."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from lms_crm_assets import inspect
from lms_crm_assets.cli.app import app
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof_crm import Held, held_in_hubspot
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.errors import SwitchedOffError
from lms_crm_assets.ops import tokens
from lms_crm_assets.reconcile import run_for_tenant
from lms_crm_assets.settings import Settings
from lms_crm_assets.sync.canary import LEAST
from tests.conftest import TENANTS
from tests.sandbox_control import mutate, records

pytestmark = pytest.mark.slow

OBJECTS = ("contact", "course", "enrollment")
CHANGED = 60


@dataclass
class Step:
    """One run under some switches: what it told, the calls that it made, and what the CRM held after it."""

    summary: RunSummary
    calls: list[dict[str, Any]]
    held: dict[str, dict[str, Held]]

    @property
    def writes(self) -> list[str]:
        """The paths of the calls that changed something, in their order."""
        return [
            call["path"]
            for call in self.calls
            if call["method"] not in {"GET", "HEAD"} and not call["path"].endswith(("/search", "/batch/read"))
        ]


@dataclass
class Story:
    """A tenant's runs under one switch after the other."""

    sandbox: Sandbox
    settings: Settings
    run: Callable[[str], None] = lambda _: None
    steps: dict[str, Step] = field(default_factory=dict)
    refused_key: str = ""
    changed: list[str] = field(default_factory=list)
    deleted: str = ""


@pytest.fixture(scope="module")
def story(_sandbox_of_the_session: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    sandbox, folder = _sandbox_of_the_session, tmp_path_factory.mktemp("story")
    for address in vars(sandbox).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
    contract["objects"] = {name: contract["objects"][name] for name in OBJECTS}
    contract["objects"]["contact"]["mode"] = "mirror"
    (folder / "tenants").mkdir()
    (folder / "tenants" / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setattr(tokens, "_shared", {})
        patch.delenv("LMS_CRM_STORE_URL", raising=False)
        for name, value in {
            **sandbox.environ(),
            "LMS_CRM_STATE_DIR": str(folder / "state"),
            "LMS_CRM_TENANTS_DIR": str(folder / "tenants"),
            "LMS_CRM_ACTOR": "ann",
            "COLUMNS": "200",
        }.items():
            patch.setenv(name, value)
        found = Story(sandbox, Settings.from_environ())
        job = build_definitions(found.settings).resolve_job_def("full_reconcile")

        def run(step: str) -> None:
            crm = sandbox.hubspot
            last = httpx.get(f"{crm}/_sandbox/log").json()["last"]
            summary = run_job(job, "globex", instance)
            calls = httpx.get(f"{crm}/_sandbox/log", params={"after": last}).json()["calls"]
            held = {obj: {each.key: each for each in held_in_hubspot(crm)[obj]} for obj in OBJECTS}
            found.steps[step] = Step(summary, calls, held)

        found.run = run
        switched("set", "--dry-run", "--reason", "first look")
        run("dry run")
        switched("clear", "--dry-run")
        switched("set", "--only", "contact,course")
        run("only parents")
        switched("set", "--pause", "--reason", "CRM migration")
        run("paused")
        yield found


@pytest.fixture(scope="module")
def went_on(story: Story) -> Story:
    """The same with canaries."""
    school, crm, run = story.sandbox.school, story.sandbox.hubspot, story.run
    switched("clear", "--pause")
    person = {k: v for k, v in records(school, "learners")[0].items() if k not in {"id", "updated_at", "deleted"}}
    person |= {"email": "new@globex.test", "username": "new"}
    mutate(school, object="learners", op="create", id="lrn-new", fields=person)
    enrollments = records(school, "enrollments")
    enrollment = {k: v for k, v in enrollments[0].items() if k not in {"id", "updated_at", "deleted"}}
    mutate(school, object="enrollments", op="create", id="enr-new", fields={**enrollment, "learner_id": "lrn-new"})
    parents = story.steps["only parents"].held
    linkable = [
        e["id"] for e in enrollments if e["learner_id"] in parents["contact"] and e["course_id"] in parents["course"]
    ]
    story.refused_key = by_md5(linkable)[2]
    switched("set", "--only", "enrollment", "--canary", "0.1")
    fault = {"object": "p_lms_enrollment", "key_pattern": f"^{story.refused_key}$"}
    httpx.post(f"{crm}/_sandbox/options", json={"record_faults": [fault]}).raise_for_status()
    run("canaries fail")
    httpx.post(f"{crm}/_sandbox/options", json={"record_faults": []}).raise_for_status()
    switched("clear", "--only")
    story.changed = sorted(parents["contact"])[:CHANGED]
    story.deleted = max(parents["contact"].keys() - {each["learner_id"] for each in enrollments})
    for key in story.changed:
        mutate(school, object="learners", op="update", id=key, fields={"family_name": "Renamed"})
    mutate(school, object="learners", op="delete", id=story.deleted)
    run("canaries hold")
    return story


def switched(command: str, *options: str) -> None:
    result = CliRunner().invoke(app, ["switches", command, "--tenant", "globex", *options])
    assert result.exit_code == 0, result.output


def by_md5(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: hashlib.md5(key.encode(), usedforsecurity=False).hexdigest())


def test_a_dry_run_makes_the_plan_and_sends_nothing(story: Story) -> None:
    step = story.steps["dry run"]

    assert step.summary.succeeded
    assert (step.summary.plan["status"], step.summary.plan["records"] > 300) == ("dry_run", True)
    assert "dry run, switched on by cli:ann since" in step.summary.plan["withheld"]
    assert step.calls
    assert step.writes == []
    assert any("first look" in line and "lms-crm switches clear" in line for line in step.summary.refused)


def test_only_some_objects_are_sent_and_what_was_left_is_said(story: Story) -> None:
    step = story.steps["only parents"]

    assert (len(step.held["contact"]) > 250, step.held["enrollment"]) == (True, {})
    assert {path.split("/")[4] for path in step.writes} == {"contacts", "0-410"}
    assert any("enrollment left alone, only contact, course" in line for line in step.summary.refused)


def test_a_paused_tenant_is_neither_read_nor_written(story: Story) -> None:
    step = story.steps["paused"]

    assert (step.summary.succeeded, step.summary.passing, step.calls) == (False, False, [])
    [told] = step.summary.problems
    assert told.startswith("globex is paused by cli:ann since")
    assert told.endswith(
        "(CRM migration): nothing is pulled or written. To go on: lms-crm switches clear --tenant globex --pause"
    )
    with pytest.raises(SwitchedOffError, match="globex is paused by cli:ann"):
        run_for_tenant(Console(), story.settings, "globex", "full_reconcile")


def test_every_write_that_the_crm_took_is_in_the_export_with_its_value_and_nothing_else(story: Story) -> None:
    step = story.steps["only parents"]
    rows = exported("--run", step.summary.run_id)
    taken = [row for row in rows if row["kind"] == "write"]

    assert told(taken) == holding(step)
    assert {(row["action"], row["status"], row["actor"]) for row in taken} == {("create", "succeeded", "cli:ann")}
    [run] = [row for row in rows if row["kind"] == "run"]
    assert (run["actor"], run["subject"]) == ("cli:ann", step.summary.plan["plan_id"])
    assert exported("--run", story.steps["dry run"].summary.run_id) == []


def test_the_list_masks_learners_values_unless_asked(story: Story) -> None:
    key, held = next(iter(story.steps["only parents"].held["contact"].items()))
    options = ["audit", "list", "--tenant", "globex", "--record", key]
    masked, plain = (CliRunner().invoke(app, [*options, *more]).output for more in ([], ["--show-values"]))

    email = str(held.fields["email"])
    assert (email in masked, f"({len(email)} characters)" in masked, email in plain) == (False, True, True)
    table = CliRunner().invoke(app, ["audit", "export", "--tenant", "globex", "--object", "contact"]).output
    assert next(csv.reader(io.StringIO(table)))[:4] == ["at", "kind", "actor", "action"]
    assert (inspect.audit("globex", settings=story.settings)["new"] == email).sum() == 1


@pytest.mark.long
def test_a_child_is_linked_to_the_parent_that_the_crm_has_and_waits_where_it_has_none(went_on: Story) -> None:
    parents, children = went_on.steps["only parents"], went_on.steps["canaries fail"]

    assert children.held["contact"] == parents.held["contact"]
    assert all(each.links["contacts"] and each.links["courses"] for each in children.held["enrollment"].values())
    assert "enr-new" not in children.held["enrollment"]
    assert children.summary.objects["enrollment"].refused == 1
    assert went_on.steps["canaries hold"].held["enrollment"]["enr-new"].links["contacts"] == ["lrn-new"]


@pytest.mark.long
def test_where_a_canary_is_refused_none_of_the_rest_is_written(went_on: Story) -> None:
    step = went_on.steps["canaries fail"]
    all_of_them = by_md5(went_on.steps["canaries hold"].held["enrollment"].keys() - {"enr-new"})
    canaries = all_of_them[: max(LEAST, ceil(len(all_of_them) / 10))]

    assert not step.summary.succeeded
    assert step.held["enrollment"].keys() == set(canaries) - {went_on.refused_key}
    [told] = step.summary.problems
    figures = f"of {len(canaries)} enrollment canaries 1 were not taken and 0 do not hold what was written"
    assert figures in told
    assert f"{len(all_of_them) - len(canaries)} other enrollment records were not sent" in told


@pytest.mark.long
def test_when_all_canaries_hold_the_rest_follows_in_the_same_run(went_on: Story) -> None:
    step = went_on.steps["canaries hold"]

    assert step.summary.succeeded, step.summary.problems
    assert all(step.held["contact"][key].fields["lastname"] == "Renamed" for key in went_on.changed)
    assert went_on.deleted not in step.held["contact"]
    contact_writes = [n for n, call in enumerate(step.calls) if "contacts/batch/upsert" in call["path"]]
    between = step.calls[contact_writes[0] : contact_writes[-1]]
    assert len(contact_writes) == 2
    assert any("contacts/batch/read" in call["path"] for call in between)


@pytest.mark.long
def test_updates_links_and_archives_are_in_the_export_as_the_crm_took_them(went_on: Story) -> None:
    taken = [row for row in exported() if row["status"] == "succeeded"]
    holds = went_on.steps["canaries hold"].held
    sent = {(r["object"], r["external_id"], r["action"], r["sync_run_id"]): r["action"] for r in taken}

    assert told(taken) == holding(went_on.steps["canaries hold"])
    assert Counter(sent.values()) == {
        "create": sum(map(len, holds.values())) + 1,
        "update": CHANGED,
        "archive": 1,
        "link contact": len(holds["enrollment"]),
        "link course": len(holds["enrollment"]),
    }


@pytest.mark.long
def test_the_trail_tells_who_what_from_and_to_and_how_it_ended(went_on: Story) -> None:
    key = went_on.changed[0]
    first = went_on.steps["only parents"].held["contact"][key].fields["lastname"]
    [renamed] = [row for row in exported("--record", key, "--object", "contact") if row["action"] == "update"]
    runs = [row for row in exported() if row["kind"] == "run"]
    refused = [row for row in exported("--record", went_on.refused_key) if row["status"] == "rejected"]
    deeds = [(row["action"], row["subject"], row["reason"]) for row in exported() if row["kind"] == "deed"]

    assert (renamed["old"], renamed["new"], renamed["class"], renamed["actor"]) == (first, "Renamed", "ours", "cli:ann")
    assert renamed["sync_run_id"] == went_on.steps["canaries hold"].summary.run_id
    assert [row["subject"] for row in runs] == [
        went_on.steps[name].summary.plan["plan_id"] for name in ("only parents", "canaries fail", "canaries hold")
    ]
    assert {row["sync_run_id"] for row in refused} == {went_on.steps["canaries fail"].summary.run_id}
    assert all(row["batch_id"].startswith("canary-") for row in refused)
    assert deeds[:2] == [("switches.set", "dry-run", "first look"), ("switches.cleared", "dry-run", "")]


def told(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, str]]:
    """What each record holds, if nothing but these writes was made, one after the other."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        key = row["object"], row["external_id"]
        if row["action"] == "archive":
            del found[key]
        elif row["new"] is not None:
            found.setdefault(key, {})[row["field"]] = row["new"]
    return found


def holding(step: Step) -> dict[tuple[str, str], dict[str, str]]:
    """The same as the CRM says it."""
    return {(obj, key): as_told(each) for obj in OBJECTS for key, each in step.held[obj].items()}


def exported(*options: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["audit", "export", "--tenant", "globex", "--format", "ndjson", *options])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def as_told(held: Held) -> dict[str, str]:
    """The CRM's record as the plan writes it: HubSpot gives everything as text, and moments to the millisecond."""
    values = {name: str(value) for name, value in held.fields.items() if value not in {None, ""}}
    return {**values, **{name.removesuffix("s"): keys[0] for name, keys in held.links.items()}}
