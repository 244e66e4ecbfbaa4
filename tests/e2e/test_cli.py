"""A wrong setting gets one clear line, an exit code, and nothing half-written."""

import re

import pytest

from lms_crm_assets.cli.console import Exit
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.e2e.conftest import LmsCrm, LmsCrmHere
from tests.sandbox_control import mutate, records, writes


@pytest.mark.parametrize(
    ("tenant", "change", "message"),
    [
        ("acme", {"ACME_LMS_URL": "http://127.0.0.1:9"}, "nothing answers at http://127.0.0.1:9 .*check source.url"),
        ("acme", {"ACME_CRM_URL": "http://127.0.0.1:9"}, "Salesforce at http://127.0.0.1:9 .*check destination.url"),
        ("globex", {"GLOBEX_CRM_URL": "http://127.0.0.1:9"}, "HubSpot at http://127.0.0.1:9 .*check destination.url"),
        ("acme", {"ACME_LMS_TOKEN": "wr0ng"}, "invalidtoken.*check source.token"),
        ("globex", {"GLOBEX_LMS_TOKEN": "wr0ng"}, "refuses the credential.*check source.token"),
        ("acme", {"ACME_CRM_CLIENT_SECRET": "wr0ng"}, "refuses the credential.*check destination.client_id"),
        ("globex", {"GLOBEX_CRM_TOKEN": "wr0ng"}, "refuses the credential.*check destination.access_token"),
        ("globex", {"GLOBEX_CRM_TOKEN": ""}, "the environment variable GLOBEX_CRM_TOKEN is not set"),
        ("globex", {"LMS_CRM_KEY": ""}, "the `webhooks` and `clients` of contracts deliver .*LMS_CRM_KEY_FILE names"),
        ("nobody", {}, r"no tenant 'nobody': there is no file .*nobody.yaml \(tenants there: acme, globex\)"),
    ],
)
def test_a_wrong_setting_is_one_line_and_an_exit_code(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tenant: str, change: dict[str, str], message: str
) -> None:
    run = lms_crm_here("reconcile", "--tenant", tenant, **change)
    out, err = run.stdout, run.stderr

    # Where nothing answers, it may do so later.
    assert run.returncode == (Exit.LATER if "http://127.0.0.1:9" in change.values() else Exit.MEND)
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert re.search(message, lines[0]), err
    assert "Traceback" not in out + err
    assert "wr0ng" not in out + err
    assert writes(sandbox.salesforce).total() == writes(sandbox.hubspot).total() == 0


@pytest.mark.slow
def test_a_run_is_shown_as_a_table_and_refusals_are_named(lms_crm: LmsCrm) -> None:
    with lms_crm("reconcile", "--tenant", "acme", COLUMNS="140") as run:
        out, err = run.communicate()

    assert run.returncode == 0, err
    assert "LMS-104" in out
    row = next(line for line in out.splitlines() if "contact" in line)
    assert row.split()[1:7] == ["contact", "203", "1", "202", "0", "0"]


@pytest.mark.slow
def test_records_that_the_crm_refuses_are_an_exit_code_of_their_own(sandbox: Sandbox, lms_crm: LmsCrm) -> None:
    learner = next(r for r in records(sandbox.school, "learners") if r["email"] and r["status"] == "active")
    mutate(sandbox.hubspot, object="contacts", op="create", properties={"email": learner["email"].lower()})

    with lms_crm("reconcile", "--tenant", "globex", COLUMNS="140") as run:
        out, err = run.communicate()

    assert run.returncode == 3, out + err
    assert "sync/contact: globex: 1 of" in out
    assert "! 1 contact that hubspot has already share an e-mail address" in out
