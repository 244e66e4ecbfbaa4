"""One run of a tenant at a time; killed and stopped runs are known as such."""

import signal
import time
from pathlib import Path

import dagster as dg
import pytest

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from tests.e2e.conftest import LmsCrm
from tests.sandbox_control import fault, writes

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 300.0


def wait_for_writes(crm: str, number: int) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while writes(crm).total() < number:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def slow(crm: str, seconds: float = 0.3) -> None:
    fault(crm, {"route": "^(PATCH|POST) /(services/data|crm)", "kind": "delay", "seconds": seconds})


@pytest.mark.long
def test_a_second_run_of_a_tenant_is_turned_away(sandbox: Sandbox, lms_crm: LmsCrm) -> None:
    slow(sandbox.salesforce, seconds=5)
    with lms_crm("reconcile", "--tenant", "acme") as first:
        wait_for_writes(sandbox.salesforce, 1)
        with lms_crm("reconcile", "--tenant", "acme") as second:
            _, err = second.communicate()
        assert second.returncode == 75, err
        assert "another run of acme is under way; try again later" in err
        fault(sandbox.salesforce)
        first.communicate()
    assert first.returncode == 0


def test_ctrl_c_ends_cleanly_with_one_line_and_no_further_call(sandbox: Sandbox, lms_crm: LmsCrm) -> None:
    slow(sandbox.hubspot)
    with lms_crm("reconcile", "--tenant", "globex") as run:
        wait_for_writes(sandbox.hubspot, 2)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=300)

    assert run.returncode == 130, err
    assert "lms-crm: stopped by a person; what was delivered is in the ledger, the rest is sent by the next run" in err
    assert "Traceback" not in err


def test_a_run_whose_process_was_killed_does_not_count_as_started_for_ever(
    sandbox: Sandbox, lms_crm: LmsCrm, settings: Settings, tmp_path: Path
) -> None:
    slow(sandbox.salesforce)
    with lms_crm("reconcile", "--tenant", "acme") as run:
        wait_for_writes(sandbox.salesforce, 1)
        run.kill()
        run.communicate()
    fault(sandbox.salesforce)

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        killed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert len(killed) == 1
        assert run_job(build_definitions(settings).resolve_job_def("full_reconcile"), "acme", instance).succeeded
        assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) == []
        again = instance.get_run_by_id(killed[0].run_id)
        assert again is not None
        assert again.status is dg.DagsterRunStatus.FAILURE
