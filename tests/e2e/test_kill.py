"""A run killed in the middle of its sync, started again, ends in the same state with no duplicate."""

import time
from subprocess import Popen

import pytest

from lms_crm_assets.demo.proof import agrees, prove_acme, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.e2e.conftest import LmsCrm
from tests.sandbox_control import fault, writes

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 300.0


@pytest.mark.parametrize(
    ("tenant", "kill_after_writes"),
    # `make chaos` kills two hundred times.
    [("globex", 14)],
)
def test_a_killed_run_started_again_ends_in_the_same_state(
    sandbox: Sandbox, lms_crm: LmsCrm, tenant: str, kill_after_writes: int
) -> None:
    crm = sandbox.salesforce if tenant == "acme" else sandbox.hubspot
    # Slow enough that the kill strikes between and within calls.
    fault(crm, {"route": "^(PATCH|POST) /(services/data|crm)", "kind": "delay", "seconds": 0.08})
    with lms_crm("reconcile", "--tenant", tenant) as run:
        _wait_for_writes(run, crm, kill_after_writes)
        run.kill()
        run.communicate()
    fault(crm)

    with lms_crm("reconcile", "--tenant", tenant) as run:
        out, err = run.communicate()

    assert run.returncode == 0, out + err
    proof = (
        prove_acme(sandbox.moodle, sandbox.salesforce)
        if tenant == "acme"
        else prove_globex(sandbox.school, sandbox.hubspot)
    )
    assert agrees(proof)


def _wait_for_writes(run: "Popen[str]", crm: str, number: int) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while writes(crm).total() < number:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
