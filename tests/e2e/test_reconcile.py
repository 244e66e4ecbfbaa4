"""The main job from end to end, judged from the simulated CRMs' own records and request logs."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from math import ceil

import dagster as dg
import pytest

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof import agrees, prove_acme, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.report.facts import CRM
from lms_crm_assets.report.history import facts_of
from lms_crm_assets.report.making import report_file
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.canaries import leaks
from tests.sandbox_control import fault, mutate, records, requests, writes

Reconcile = Callable[..., RunSummary]


@pytest.fixture
def reconcile(settings: Settings) -> Iterator[Reconcile]:
    """Runs a job for a tenant on an instance of its own."""
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = build_definitions(settings)

        def run(tenant: str, job: str = "full_reconcile") -> RunSummary:
            return run_job(definitions.resolve_job_def(job), tenant, instance)

        yield run


@pytest.mark.slow
def test_salesforce_holds_what_moodle_holds_and_a_second_run_sends_no_write(
    sandbox: Sandbox, reconcile: Reconcile
) -> None:
    summary = reconcile("acme")

    assert summary.succeeded
    assert agrees(prove_acme(sandbox.moodle, sandbox.salesforce))
    figures = {obj: (o.in_lms, o.invalid, o.created) for obj, o in summary.objects.items()}
    # The recordings' own content: 203 users of which the guest has no name and no address, 456 enrolments.
    assert figures == {
        "contact": (203, 1, 202),
        "course": (5, 0, 5),
        "enrollment": (456, 0, 456),
        "completion": (456, 0, 456),
        "competency": (374, 0, 374),
    }
    takes_no_more_calls_than_batches(summary, 200)
    assert writes(sandbox.salesforce).total() == sum(ceil(n / 200) for n in (202, 5, 456, 456, 374))
    assert all(set(by_status) <= {"200"} for by_status in requests(sandbox.salesforce).values())
    sends_no_write(reconcile, "acme", sandbox.salesforce)


def test_hubspot_holds_what_the_school_holds_and_a_second_run_sends_no_write(
    sandbox: Sandbox, reconcile: Reconcile
) -> None:
    summary = reconcile("globex")

    assert summary.succeeded
    proof = prove_globex(sandbox.school, sandbox.hubspot)
    assert agrees(proof), proof
    assert proof["contact"].held > 250
    takes_no_more_calls_than_batches(summary, 100)
    sends_no_write(reconcile, "globex", sandbox.hubspot)


def takes_no_more_calls_than_batches(summary: RunSummary, size: int) -> None:
    for obj, figures in summary.objects.items():
        assert figures.write_calls <= ceil(figures.created / size) + 2, obj


def sends_no_write(reconcile: Reconcile, tenant: str, crm: str) -> None:
    before = writes(crm)
    summary = reconcile(tenant)
    assert before.total() > 0
    assert writes(crm) == before
    assert all(o.created == o.updated == o.rejected == 0 for o in summary.objects.values())


@pytest.mark.slow
def test_only_what_changed_in_the_lms_is_written_by_a_full_and_by_an_incremental_run(
    sandbox: Sandbox, reconcile: Reconcile
) -> None:
    reconcile("globex")
    learner = next(r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active")
    mutate(sandbox.school, object="learners", op="update", id=learner["id"], fields={"family_name": "Ångström"})

    summary = reconcile("globex")

    assert summary.objects["contact"].updated == 1
    assert sum(o.updated + o.created for o in summary.objects.values()) == 1
    held = {r["properties"]["lms_user_id"]: r["properties"] for r in records(sandbox.hubspot, "contacts")}
    assert held[learner["id"]]["lastname"] == "Ångström"
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))

    listings = requests(sandbox.school).get("GET /api/v1/{entity}")
    mutate(sandbox.school, object="learners", op="update", id=learner["id"], fields={"family_name": "Şahin"})

    summary = reconcile("globex", "incremental_pull")

    assert summary.succeeded
    assert requests(sandbox.school).get("GET /api/v1/{entity}") == listings
    assert summary.objects["contact"].updated == 1
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))


@pytest.mark.slow
def test_an_edit_in_the_crm_is_put_right_though_the_lms_did_not_change(
    sandbox: Sandbox, reconcile: Reconcile, settings: Settings
) -> None:
    reconcile("acme")
    contact = next(r for r in records(sandbox.salesforce, "Contact") if r["LMS_User_Id__c"] == "5")
    mutate(sandbox.salesforce, object="Contact", op="update", id=contact["Id"], fields={"LastName": "Typo"})

    summary = reconcile("acme")

    assert summary.objects["contact"].updated == 1
    assert agrees(prove_acme(sandbox.moodle, sandbox.salesforce))
    told = report_file(settings.state_dir, "acme", summary.run_id).read_text(encoding="utf-8")
    assert "It put what the LMS says in place of an edit that somebody had made there." in told
    assert "The last 2 runs" in told


@pytest.mark.parametrize("tenant", ["acme", "globex"])
@pytest.mark.long
def test_trouble_that_passes_is_waited_out(sandbox: Sandbox, reconcile: Reconcile, tenant: str) -> None:
    lms, crm = (sandbox.moodle, sandbox.salesforce) if tenant == "acme" else (sandbox.school, sandbox.hubspot)
    fault(lms, {"route": "^(GET|POST) /(api|webservice)", "kind": "status", "status": 503, "times": 2})
    fault(
        crm,
        {"route": "(composite/sobjects|batch/upsert)", "kind": "status", "status": 503, "times": 2},
        {"route": "(composite/sobjects|batch/upsert)", "kind": "cut_after", "times": 2, "skip": 1},
    )

    assert reconcile(tenant).succeeded

    fault(lms)
    fault(crm)
    proof = prove_acme(lms, crm) if tenant == "acme" else prove_globex(lms, crm)
    assert agrees(proof), {obj: dataclasses.astuple(o)[:3] for obj, o in proof.items()}


@pytest.mark.long
def test_an_enrollment_that_moves_to_another_learner_moves_in_the_crm(sandbox: Sandbox, reconcile: Reconcile) -> None:
    reconcile("globex")
    valid = {r["properties"]["lms_user_id"] for r in records(sandbox.hubspot, "contacts")}
    held = {r["properties"]["lms_enrollment_id"] for r in records(sandbox.hubspot, "lms_enrollment")}
    moved = next(r for r in records(sandbox.school, "enrollments") if r["id"] in held)
    learner = next(key for key in sorted(valid) if key != moved["learner_id"])
    mutate(sandbox.school, object="enrollments", op="update", id=moved["id"], fields={"learner_id": learner})

    assert reconcile("globex").succeeded

    proof = prove_globex(sandbox.school, sandbox.hubspot)
    assert not proof["enrollment"].differing, proof["enrollment"]


@pytest.mark.long
def test_bad_rows_are_in_quarantine_with_a_code_and_leave_it_when_mended(
    sandbox: Sandbox, reconcile: Reconcile, settings: Settings
) -> None:
    learners = [r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"][:4]
    planted = {
        learners[0]["id"]: ({"email": None}, {("LMS-101", "email")}),
        learners[1]["id"]: ({"email": "no at sign"}, {("LMS-104", "email")}),
        learners[2]["id"]: ({"status": "on holiday"}, {("LMS-105", "status")}),
        learners[3]["id"]: (
            {"username": "a@b.test.1764000000", "email": "0cc175b9c0f1b6a831c399e269772661", "status": "deleted"},
            {("LMS-106", "username")},
        ),
    }
    for key, (fields, _) in planted.items():
        mutate(sandbox.school, object="learners", op="update", id=key, fields=fields)
    # Their keys differ in case alone.
    for key in ("twin", "TWIN"):
        fields = {**learners[0], "email": f"{key}.{len(key)}@{key}.test", "username": key}
        del fields["id"]
        mutate(sandbox.school, object="learners", op="create", id=key, fields=fields)

    summary = reconcile("globex")

    assert summary.succeeded
    assert not {"twin", "TWIN"} & {r["properties"]["lms_user_id"] for r in records(sandbox.hubspot, "contacts")}
    for key in ("twin", "TWIN"):
        mutate(sandbox.school, object="learners", op="delete", id=key)
    assert quarantined(settings, "globex", planted) == {key: codes for key, (_, codes) in planted.items()}
    assert not set(planted) & {r["properties"]["lms_user_id"] for r in records(sandbox.hubspot, "contacts")}
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))

    for learner in learners:
        fields = {name: learner[name] for name in ("email", "username", "status")}
        mutate(sandbox.school, object="learners", op="update", id=learner["id"], fields=fields)
    reconcile("globex", "incremental_pull")

    assert quarantined(settings, "globex", planted) == {}
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))


def quarantined(settings: Settings, tenant: str, keys: Iterable[str]) -> dict[str, set[tuple[str, str]]]:
    with connect(locate(settings, tenant)) as con:
        rows = con.execute(
            'SELECT source_id, list((code, "column")) FROM staging.quarantine'
            " WHERE list_contains($1, source_id) GROUP BY ALL",
            [list(keys)],
        ).fetchall()
    return {key: set(found) for key, found in rows}


@pytest.mark.parametrize(
    ("tenant", "troubles"),
    [
        (
            "acme",
            [
                {"route": "GET .*/query", "kind": "status", "status": 503, "times": 2},
                {"route": "GET .*/query", "kind": "cut_after", "times": 1, "skip": 1},
            ],
        ),
        (
            "globex",
            [
                {"route": "GET /crm/v3/objects", "kind": "status", "status": 503, "times": 2, "skip": 1},
                {
                    "route": "crm/v3/objects",
                    "kind": "status",
                    "status": 429,
                    "headers": {"Retry-After": "1"},
                    "times": 12,
                },
            ],
        ),
    ],
)
@pytest.mark.long
def test_trouble_while_the_crm_is_read_is_waited_out(
    sandbox: Sandbox, reconcile: Reconcile, tenant: str, troubles: list[dict[str, object]]
) -> None:
    fault(sandbox.salesforce if tenant == "acme" else sandbox.hubspot, *troubles)

    summary = reconcile(tenant)

    assert summary.succeeded, summary.problems
    assert summary.undelivered == 0


@pytest.mark.slow
def test_what_the_crm_refuses_is_told_stops_nothing_else_and_its_children_are_linked_when_it_comes(
    sandbox: Sandbox, reconcile: Reconcile, settings: Settings
) -> None:
    enrolled = {r["learner_id"] for r in records(sandbox.school, "enrollments")}
    valid = [r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"]
    learner = next(r for r in valid if r["id"] in enrolled)
    other = mutate(sandbox.hubspot, object="contacts", op="create", properties={"email": learner["email"].lower()})

    first = reconcile("globex")

    assert first.objects["contact"].rejected == 1
    assert any("sync/contact: globex: 1 of" in line for line in first.refused)
    proof = prove_globex(sandbox.school, sandbox.hubspot)
    assert proof["contact"].missing == [learner["id"]]
    assert not proof["course"].missing
    facts = facts_of(OperationalStore.at(settings.state_dir), "globex", first.run_id)
    held = [r for r in records(sandbox.hubspot, "contacts") if r["properties"].get("lms_user_id")]
    assert {each.name: each.agreeing for each in facts.objects}["contact"] == len(held)
    assert ("LMS-402", CRM, "contact", 1) in {(r.code, r.by, r.kind, r.number) for r in facts.refused}
    page = report_file(settings.state_dir, "globex", first.run_id).read_text(encoding="utf-8")
    assert f"HubSpot agree on {facts.sum_of('agreeing'):,} of {facts.sum_of('total'):,} records." in page
    assert "The CRM holds another record that counts as the same" in page
    assert list(leaks(page)) == []

    second = reconcile("globex", "incremental_pull")

    assert first.objects["enrollment"].failed == second.objects["enrollment"].failed > 0
    assert not report_file(settings.state_dir, "globex", second.run_id).exists()
    mutate(sandbox.hubspot, object="contacts", op="archive", id=other["id"])
    third = reconcile("globex")
    assert third.undelivered == 0, third.refused
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))


@pytest.mark.long
def test_nothing_of_learners_is_in_what_dagster_keeps(sandbox: Sandbox, settings: Settings) -> None:
    learners = [r for r in records(sandbox.school, "learners") if r["email"]]
    bad = next(r for r in learners if "@" in r["email"])
    mutate(sandbox.school, object="learners", op="update", id=bad["id"], fields={"email": "canary.at.nowhere"})
    canaries = {"canary.at.nowhere", *(r["email"] for r in learners), *(r["username"] for r in learners)}
    fault(
        sandbox.hubspot,
        {
            "route": "batch/upsert",
            "kind": "status",
            "status": 500,
            "body": '{"message": "canary@crm.test"}',
            "times": 99,
        },
    )
    definitions = build_definitions(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        summary = run_job(definitions.resolve_job_def("full_reconcile"), "globex", instance)
        events = "\n".join(str(entry) for entry in instance.all_logs(summary.run_id))

    assert not summary.succeeded
    assert "canary@crm.test" not in events
    assert [value for value in canaries if value in events] == []


@pytest.mark.slow
@pytest.mark.parametrize("tenant", ["acme", pytest.param("globex", marks=pytest.mark.long)])
def test_what_was_written_is_read_back_and_a_value_that_did_not_stay_is_told(
    sandbox: Sandbox, reconcile: Reconcile, tenant: str
) -> None:
    crm, upsert = (
        (sandbox.salesforce, "composite/sobjects/Contact")
        if tenant == "acme"
        else (sandbox.hubspot, "contacts/batch/upsert")
    )
    honest = reconcile(tenant)
    assert [line for line in honest.refused if line.startswith("sync/")] == []
    if tenant == "acme":
        row = records(sandbox.moodle, "users")[10]
        mutate(sandbox.moodle, object="users", op="update", id=row["id"], fields={"lastname": "Changed"})
        answer = [{"id": contact_id(sandbox, str(row["id"])), "success": True, "errors": [], "created": False}]
    else:
        held = {r["properties"]["lms_user_id"]: r["id"] for r in records(crm, "contacts")}
        row = next(r for r in records(sandbox.school, "learners") if r["id"] in held)
        mutate(sandbox.school, object="learners", op="update", id=row["id"], fields={"family_name": "Changed"})
        results = [{"id": held[row["id"]], "properties": {"lms_user_id": row["id"]}, "new": False}]
        answer = {"status": "COMPLETE", "results": results}  # type: ignore[assignment]
    # The CRM says yes and does nothing.
    fault(crm, {"route": upsert, "kind": "status", "status": 200, "body": json.dumps(answer), "times": 1,
                "headers": {"content-type": "application/json"}})  # fmt: skip

    lied_to = reconcile(tenant)

    assert lied_to.objects["contact"].updated == 1
    assert [line for line in lied_to.refused if line.startswith("sync/")] == [
        f"sync/contact: {tenant}: 1 of 1 written records were read back, not all are as planned."
    ]
    assert reconcile(tenant, "incremental_pull").objects["contact"].updated == 1


def contact_id(sandbox: Sandbox, key: str) -> str:
    return next(str(r["Id"]) for r in records(sandbox.salesforce, "Contact") if r["LMS_User_Id__c"] == key)
