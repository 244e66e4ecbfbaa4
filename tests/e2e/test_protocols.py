"""One school behind every protocol: what reaches the CRM is what the school's own records say, as documented."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof_crm import held_in_hubspot
from lms_crm_assets.demo.proof_school import Row, school_rows, valid_rows
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.conftest import TENANTS
from tests.sandbox_control import mutate, records, writes

pytestmark = pytest.mark.slow

# A second run writes nothing, whichever the protocol: the rows that are compared are the same.
_QUIET = "canvas"
SIZE = {"learners": 60, "courses": 4, "enrollments": 120}
# The documents of docs/: what the words of the school's enrollments come to in each LMS; other words are no enrollment.
_CONTRACT = {"active", "invited", "suspended", "expired", "completed", "withdrawn"}
_PENDING = {"pending_payment"}


@dataclass(frozen=True)
class Protocol:
    """One way to read the school: the example in docs/sandbox.md, what the LMS lacks, what `poor` is told."""

    system: str
    adapter: str
    statuses: set[str]
    refusal: str
    lacks: tuple[str, ...] = ()
    poor: Mapping[str, Any] = field(default_factory=lambda: {"token": "env:POOR"})


PROTOCOLS = [
    Protocol("school", "changes", _CONTRACT, "the LMS gave 0 learners where it had"),
    Protocol("canvas", "canvas", _CONTRACT | _PENDING, "the Canvas token may not list the account's users"),
    Protocol(
        "oneroster",
        "oneroster",
        _CONTRACT - {"withdrawn"} | _PENDING,
        "gradebook/v1p2/lineItems forbids the call (403)",
        ("completion",),
        {"client_id": "env:POOR"},
    ),
    Protocol(
        "thinkific",
        "thinkific",
        _CONTRACT - {"withdrawn"} | _PENDING,
        "api/public/v1/users forbids the call (403)",
        ("competency",),
        {"flow": "token", "token": "env:POOR", "api_key": None, "subdomain": None},
    ),
    Protocol("moodle_school", "moodle", {"active", "completed", "suspended", "expired"}, "sees no user but itself"),
]


class School:
    """The school behind one protocol, and a hand that changes it behind the product's back."""

    def __init__(self, protocol: Protocol, sandbox: Sandbox) -> None:
        self._protocol = protocol
        self._lms: str = getattr(sandbox, protocol.system)
        self._moodle = sandbox.moodle_school if protocol.adapter == "moodle" else None
        # Moodle has tables of its own: the same school behind the contract says what they should come to.
        self._rows = sandbox.school if self._moodle else self._lms

    def expected(self) -> tuple[list[str], list[tuple[str, str]]]:
        """The addresses of the learners, and the address and course title of each enrollment."""
        rows = school_rows(self._rows)
        rows["enrollments"] = [
            {**row, "status": "active"} for row in rows["enrollments"] if row["status"] in self._protocol.statuses
        ]
        valid = valid_rows(rows)
        emails = {row.key: str(row.text("email")) for row in valid["contact"]}
        titles = {row.key: str(row.text("title")) for row in valid["course"]}
        pairs = [(emails[str(row.learner_id)], titles[str(row.course_id)]) for row in valid["enrollment"]]
        return sorted([*emails.values(), *self._accounts()]), sorted(pairs)

    def _accounts(self) -> list[str]:
        """The addresses of the people whom every Moodle has: the admin and those of the tokens, not the guest."""
        users = records(self._moodle, "users") if self._moodle else []
        return [user["email"] for user in users if 1 < user["id"] < _moodle_user("lrn-0000001")]

    def enrollments(self) -> list[Row]:
        """Enrollments that every LMS has, of good learners, each of another one."""
        good = {row.key for row in valid_rows(school_rows(self._rows))["contact"]}
        found = {
            row["learner_id"]: row
            for row in records(self._rows, "enrollments")
            if row["status"] in {"active", "completed"} and row["learner_id"] in good
        }
        return [row for row in found.values() if not row["course_id"].startswith("crs-gone")]

    def rename(self, learner_id: str, family_name: str) -> None:
        mutate(self._rows, object="learners", op="update", id=learner_id, fields={"family_name": family_name})
        if self._moodle:
            user = _moodle_user(learner_id)
            mutate(self._moodle, object="users", op="update", id=user, fields={"lastname": family_name})

    def delete_learner(self, learner_id: str) -> None:
        """With all that hangs on the learner, as LMSs do it."""
        mutate(self._rows, object="learners", op="delete", id=learner_id)
        for entity in ("enrollments", "completions", "scores", "competencies"):
            for row in records(self._rows, entity):
                if row["learner_id"] == learner_id:
                    mutate(self._rows, object=entity, op="delete", id=row["id"])
        if self._moodle:
            mutate(self._moodle, object="users", op="delete", id=_moodle_user(learner_id))

    def delete_enrollment(self, row: Row) -> None:
        mutate(self._rows, object="enrollments", op="delete", id=row["id"])
        if self._moodle:
            key = f"{_moodle_user(row['learner_id'])}:{int(row['course_id'][4:]) + 1}"
            mutate(self._moodle, object="enrolments", op="delete", key=key)


def _moodle_user(learner_id: str) -> int:
    return int(learner_id[4:]) + 4


class Tenant:
    """A contract that reads the school by one protocol, and mirrors it into HubSpot."""

    def __init__(self, protocol: Protocol, sandbox: Sandbox, settings: Settings, folder: Path) -> None:
        folder.mkdir()
        self.crm = sandbox.hubspot
        self._protocol, self._folder = protocol, folder
        settings = dataclasses.replace(settings, tenants_dir=folder)
        self._warehouse = locate(settings, "globex")
        self._job = build_definitions(settings).resolve_job_def("full_reconcile")
        self._source = _documented_source(protocol.adapter)
        self.has_its_credential()

    def reconcile(self) -> RunSummary:
        with dg.DagsterInstance.ephemeral() as instance:
            return run_job(self._job, "globex", instance)

    def has_its_credential(self) -> None:
        """The one of docs/sandbox.md, from now on."""
        self._write_contract(self._source)

    def becomes_poor(self) -> None:
        """The credential is one without rights from now on."""
        source = {**self._source, **self._protocol.poor}
        self._write_contract({name: value for name, value in source.items() if value is not None})

    def held(self) -> tuple[list[str], list[tuple[str, str]]]:
        """What `School.expected` gives, from the CRM's own records."""
        held = held_in_hubspot(self.crm)
        emails = {row.key: row.fields["email"] for row in held["contact"]}
        titles = {row.key: row.fields["hs_course_name"] for row in held["course"]}
        links = [(*row.links["contacts"], *row.links["courses"]) for row in held["enrollment"]]
        return sorted(emails.values()), sorted((emails[contact], titles[course]) for contact, course in links)

    def family_names(self) -> list[str]:
        return [row.fields["lastname"] for row in held_in_hubspot(self.crm)["contact"]]

    def everything(self) -> str:
        """All records of the CRM as they stand there, archived ones too."""
        objects = ("contacts", "0-410", "p_lms_enrollment", "p_lms_completion", "p_lms_competency")
        return json.dumps({name: records(self.crm, name) for name in objects})

    def staged(self, table: str) -> int:
        with connect(self._warehouse) as con:
            [[count]] = con.execute(f"SELECT count(*) FROM staging.{table}").fetchall()
        return int(count)

    def _write_contract(self, source: Mapping[str, Any]) -> None:
        contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8")) | {"source": source}
        for obj in self._protocol.lacks:
            del contract["objects"][obj]
        for obj in ("contact", "enrollment"):
            contract["objects"][obj]["mode"] = "mirror"
        (self._folder / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")


def _documented_source(adapter: str) -> dict[str, Any]:
    """The example of docs/sandbox.md."""
    text = (TENANTS.parent / "docs" / "sandbox.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    [source] = [found for block in blocks if (found := yaml.safe_load(block)["source"])["adapter"] == adapter]
    return dict(source)


# The school, by the changes contract, is what the example tenant globex reads.
_EACH_TIME = {"moodle_school"}


@pytest.fixture(
    params=[
        pytest.param(protocol, id=protocol.system, marks=() if protocol.system in _EACH_TIME else pytest.mark.long)
        for protocol in PROTOCOLS
    ]
)
def protocol(request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """A protocol; the school is a small one."""
    found: Protocol = request.param
    for system in {"school", found.system}:
        httpx.post(f"{getattr(sandbox, system)}/_sandbox/reset", json=SIZE).raise_for_status()
    monkeypatch.setenv("POOR", "poor")
    return found


@pytest.fixture
def school(protocol: Protocol, sandbox: Sandbox) -> School:
    return School(protocol, sandbox)


@pytest.fixture
def tenant(protocol: Protocol, sandbox: Sandbox, settings: Settings, tmp_path: Path) -> Tenant:
    return Tenant(protocol, sandbox, settings, tmp_path / "tenants")


def test_the_crm_holds_what_the_school_holds_and_follows_it(protocol: Protocol, school: School, tenant: Tenant) -> None:
    first = tenant.reconcile()
    assert first.succeeded, first.problems
    assert first.agrees, first.refused
    emails, pairs = tenant.held()
    assert (emails, pairs) == school.expected()
    assert len(emails) > 50
    assert len(pairs) > 80

    before, sent = tenant.everything(), writes(tenant.crm)
    tenant.becomes_poor()
    refused = tenant.reconcile()
    assert not refused.succeeded
    [line] = refused.problems
    assert protocol.refusal in line
    assert "\n" not in line
    assert tenant.everything() == before
    assert writes(tenant.crm) == sent

    tenant.has_its_credential()
    learners, enrollments = tenant.staged("learner"), tenant.staged("enrollment")
    renamed, removed, left = school.enrollments()[:3]
    school.rename(renamed["learner_id"], "Ångström")
    school.delete_learner(removed["learner_id"])
    school.delete_enrollment(left)
    last = tenant.reconcile()
    assert last.succeeded, last.problems
    assert tenant.staged("learner") == learners - 1
    assert tenant.staged("enrollment") < enrollments
    assert last.objects["contact"].updated == 1
    assert tenant.family_names().count("Ångström") == 1
    assert tenant.held() == school.expected()

    sent = writes(tenant.crm)
    if protocol.system == _QUIET:
        assert tenant.reconcile().succeeded
        assert writes(tenant.crm) == sent
