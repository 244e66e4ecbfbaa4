"""The sandbox tells a real receiver of changes, and a tenth of it never arrives: judged by the sandbox's own records."""

from collections.abc import Iterator

import dagster as dg
import pytest

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops.inbox import Inbox, State
from lms_crm_assets.settings import Settings
from tests.receiver_server import serving
from tests.sandbox_control import mutate, records
from tests.webhook_catcher import delivered, subscribe

pytestmark = pytest.mark.slow

SEED = 7


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def test_a_tenth_of_the_webhooks_lost_and_the_rest_shuffled_is_repaired_by_the_next_reconciliation(
    sandbox: Sandbox, settings: Settings, instance: dg.DagsterInstance
) -> None:
    jobs = build_definitions(settings)

    def run(job: str) -> RunSummary:
        summary = run_job(jobs.resolve_job_def(job), "globex", instance)
        assert summary.succeeded, summary.problems
        return summary

    def differing() -> set[str]:
        return set(prove_globex(sandbox.school, sandbox.hubspot)["contact"].differing)

    run("full_reconcile")
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))
    with serving(settings) as receiver:
        sandbox.send_webhooks_to(receiver, drop=0.1, twice=0.1, shuffle=True, seed=SEED)
        learners = [r["id"] for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active"]
        contacts = {r["properties"].get("lms_user_id"): r["id"] for r in records(sandbox.hubspot, "contacts")}
        in_school, in_portal = learners[:60], learners[60:120]
        for each in in_school:
            mutate(sandbox.school, object="learners", op="update", id=each, fields={"family_name": "Changed"})
        for each in in_portal:
            mutate(
                sandbox.hubspot,
                object="contacts",
                op="update",
                id=contacts[each],
                properties={"lastname": "By a person"},
            )
        assert len(differing()) == 120

        told = [delivered(address) for address in (sandbox.school, sandbox.hubspot)]
        for address in (sandbox.school, sandbox.moodle, sandbox.hubspot):
            subscribe(address)  # nobody is told any more
    assert all(each["changed"] == 60 and each["acknowledged"] == 60 - each["dropped"] > 40 for each in told)
    lost_in_school, lost_in_portal = (each["dropped"] for each in told)
    assert lost_in_school > 0
    assert lost_in_portal > 0

    # What was told is right at once, whichever order it came in, and nothing of it waits any more.
    run("sync_events")
    # Each run reads what changed in the CRM, told or not; of the LMS it asks only for what it was told.

    assert differing() < set(in_school)
    assert len(differing()) == lost_in_school
    assert {event.state for event in Inbox.at(settings.state_dir).find("globex")} == {State.DONE}

    run("full_reconcile")
    assert agrees(prove_globex(sandbox.school, sandbox.hubspot))
