"""`lms-crm init` from two addresses to a contract that the CRM can hold, with nothing written on either side."""

from pathlib import Path

import pytest
import yaml

from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.e2e.conftest import LmsCrmHere
from tests.sandbox_control import writes


@pytest.fixture
def tenants(dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of contracts."""
    assert dagster_home.is_dir(), "which comes first, for it sets another folder"
    folder = tmp_path / "contracts"
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(folder))
    for name in ("LMS_TOKEN", "CRM_CLIENT_ID", "CRM_CLIENT_SECRET", "CRM_ACCESS_TOKEN"):
        monkeypatch.delenv(f"INITECH_{name}", raising=False)
    return folder


@pytest.mark.parametrize("crm", ["salesforce", "hubspot"])
def test_the_proposed_contract_fits_and_nothing_was_written_elsewhere(
    sandbox: Sandbox, tenants: Path, lms_crm_here: LmsCrmHere, crm: str
) -> None:
    secrets = {
        "INITECH_LMS_TOKEN": "sandbox-school-token",
        "INITECH_CRM_CLIENT_ID": "sandbox-client",
        "INITECH_CRM_CLIENT_SECRET": "sandbox-secret",
        "INITECH_CRM_ACCESS_TOKEN": "pat-sandbox",
    }
    ends = ["--lms", "changes", "--set", f"source.url={sandbox.school}", "--crm", crm]
    there = f"destination.url={getattr(sandbox, crm)}"

    made = lms_crm_here("init", "--tenant", "initech", *ends, "--set", there, "--yes", **secrets)

    assert made.returncode == 0, made.stderr
    assert "Next: lms-crm plan --tenant initech" in made.stdout
    text = (tenants / "initech.yaml").read_text(encoding="utf-8")
    assert len(yaml.safe_load(text)["objects"]) == 5
    assert not any(secret in text for secret in secrets.values())
    valid = lms_crm_here("tenants", "validate", "--tenant", "initech", **secrets)
    assert valid.returncode == 0, valid.stdout
    assert writes(sandbox.salesforce).total() == writes(sandbox.hubspot).total() == 0

    again = lms_crm_here("init", "--tenant", "initech", *ends, "--set", there, "--yes", **secrets)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_without_its_secret_nothing_is_written_and_offline_is(
    sandbox: Sandbox, tenants: Path, lms_crm_here: LmsCrmHere
) -> None:
    words = ["init", "--tenant", "initech", "--lms", "changes", "--crm", "hubspot", "--yes"]
    words += ["--set", f"source.url={sandbox.school}", "--object", "contact"]

    refused = lms_crm_here(*words)
    assert refused.returncode == 1
    # All that is missing at once.
    assert "INITECH_LMS_TOKEN" in refused.stderr
    assert "INITECH_CRM_ACCESS_TOKEN" in refused.stderr
    reason, note = refused.stderr.splitlines()[-2:]
    assert ("INITECH_LMS_TOKEN" in reason, "--offline" in note) == (True, True)
    assert not (tenants / "initech.yaml").exists()

    unknown = lms_crm_here(*words, "--offline", "--set", "source.urll=x")
    assert unknown.returncode == 1
    assert "nothing was written yet" in unknown.stderr
    assert not (tenants / "initech.yaml").exists()

    made = lms_crm_here(*words, "--offline")
    assert made.returncode == 0
    assert "are found by lms_user_id alone, never by their e-mail address" in made.stdout
    assert list(yaml.safe_load((tenants / "initech.yaml").read_text(encoding="utf-8"))["objects"]) == ["contact"]
