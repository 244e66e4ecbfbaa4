"""The main job over a DuckLake: the same as over files, judged from the simulated CRM's own records."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.privacy.forgetting import Forgetting
from lms_crm_assets.privacy.retention import purge_tenant
from lms_crm_assets.settings import Settings
from tests.e2e.test_reconcile import sends_no_write, takes_no_more_calls_than_batches
from tests.postgres import Server
from tests.sandbox_control import records
from tests.warehouse.test_lake import everything


@pytest.mark.long
def test_a_lake_holds_what_a_file_does_and_forgets_as_a_file_does(  # noqa: PLR0917 - fixtures
    sandbox: Sandbox,
    settings: Settings,
    lake_url: SecretStr,
    postgres: Server,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LMS_CRM_WAREHOUSE", lake_url.get_secret_value())
    settings = dataclasses.replace(settings, warehouse_url=lake_url)
    jobs = build_definitions(settings)
    with dg.DagsterInstance.ephemeral() as instance:

        def reconcile(tenant: str) -> RunSummary:
            return run_job(jobs.resolve_job_def("full_reconcile"), tenant, instance)

        summary = reconcile("globex")

        assert summary.succeeded
        assert agrees(prove_globex(sandbox.school, sandbox.hubspot))
        takes_no_more_calls_than_batches(summary, 100)
        sends_no_write(reconcile, "globex", sandbox.hubspot)
        assert not list(settings.state_dir.rglob("*.duckdb"))

    now = datetime.now(UTC)
    contract = load_contract(settings.tenants_dir, "globex")
    held = everything(postgres, database, tmp_path / "lake")
    learner = next(r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active")
    assert held(learner["email"])
    would = purge_tenant(settings, contract, now, dry_run=True)
    assert purge_tenant(settings, contract, now) == would
    receipt, _ = Forgetting(settings, contract, "dpo", now).forget(learner["id"])
    assert receipt.rows["raw_lms.learners"] == 1
    assert not held(learner["email"])
