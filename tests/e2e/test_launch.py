"""Runs as a person launches them with a form: a dry one, one of some objects, and one that sends a stored plan."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.launch import PLAN_STEP
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from tests.sandbox_control import mutate, records, writes

pytestmark = pytest.mark.slow


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def launched(instance: dg.DagsterInstance, settings: Settings, job: str, **wish: Any) -> RunSummary:
    return run_job(
        build_definitions(settings).resolve_job_def(job), "globex", instance, ops={PLAN_STEP: wish}, started_by="bob"
    )


def test_what_a_dry_launch_planned_is_sent_by_its_id(
    sandbox: Sandbox, settings: Settings, instance: dg.DagsterInstance
) -> None:
    dry = launched(instance, settings, "full_reconcile", dry_run=True)

    assert dry.succeeded, dry.problems
    assert (dry.plan["status"], writes(sandbox.hubspot).total()) == ("dry_run", 0)
    assert any("dry run, launched so by ui:bob; nothing is sent. To send the plan:" in line for line in dry.refused)

    applied = launched(instance, settings, "apply", apply_plan=dry.plan["plan_id"])
    assert applied.succeeded, applied.problems
    assert (applied.plan["plan_id"], applied.agrees) == (dry.plan["plan_id"], True)
    assert len(records(sandbox.hubspot, "contacts")) == applied.objects["contact"].created > 250

    again = launched(instance, settings, "full_reconcile")
    assert (again.plan["status"], again.plan["records"]) == ("approved", 0), "a launch is over by itself"


def test_a_launch_of_some_objects_says_what_it_left(
    sandbox: Sandbox, settings: Settings, instance: dg.DagsterInstance
) -> None:
    left = {"objects": {"contact": False, "competency": False}}
    some = launched(instance, settings, "full_reconcile", **left)

    assert some.succeeded, some.problems
    assert (len(records(sandbox.hubspot, "contacts")), len(records(sandbox.hubspot, "0-410"))) == (0, 6)
    told = "contact, competency left alone, only course, enrollment, completion, launched so by ui:bob"
    assert any(told in line for line in some.refused)
    # Enrollments wait for their contacts: nothing is sent that can't be linked.
    assert records(sandbox.hubspot, "p_lms_enrollment") == []

    rest = launched(instance, settings, "full_reconcile")
    assert rest.agrees
    assert rest.objects["course"].created == 0
    assert rest.objects["enrollment"].created > 0


def test_a_new_plan_is_measured_by_the_guardrails_whatever_the_form_says_of_a_stored_one(
    sandbox: Sandbox, settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert launched(instance, settings, "full_reconcile").succeeded
    for row in records(sandbox.hubspot, "contacts"):
        name = {"firstname": "Typo", "lastname": "Typo"}
        mutate(sandbox.hubspot, object="contacts", op="update", id=row["id"], properties=name)
    before = writes(sandbox.hubspot).total()

    refused = launched(instance, settings, "full_reconcile", despite_guardrails=True)

    assert not refused.succeeded
    assert any("max_update_share" in problem for problem in refused.problems), refused.problems
    assert writes(sandbox.hubspot).total() == before
    applied = launched(instance, settings, "apply", apply_plan=refused.plan["plan_id"], despite_guardrails=True)
    assert (applied.succeeded, applied.agrees) == (True, True), applied.problems
    assert writes(sandbox.hubspot).total() > before
