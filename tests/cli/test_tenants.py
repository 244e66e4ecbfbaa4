"""`lms-crm tenants …` against the sandbox, in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from lms_crm_assets.cli.app import app
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.rewriting import SCHEMA_LINE
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.errors import ContractError
from tests.conftest import TENANTS
from tests.sandbox_control import writes


@pytest.fixture
def tenants(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - environment
    """A folder with the example contracts, to be changed."""
    for name in ("acme", "globex"):
        (tmp_path / f"{name}.yaml").write_bytes((TENANTS / f"{name}.yaml").read_bytes())
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["tenants", *words])


def contract(*words: str) -> Result:
    return CliRunner().invoke(app, ["contract", *words])


def change(file: Path, *replaced: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in replaced:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def line_of(file: Path, word: str) -> int:
    return next(n for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if word in line)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_the_examples_suit_the_sandbox(tenants: Path, tenant: str) -> None:  # noqa: ARG001 - its environment
    result = run("validate", "--tenant", tenant)

    assert result.exit_code == 0, result.output
    assert result.output == f"{tenant}: the contract is valid, both sides answer, and the CRM can hold what it names\n"


def test_a_second_tenant_in_the_same_records_is_warned_of(tenants: Path) -> None:
    second = tenants / "second.yaml"
    text = (tenants / "globex.yaml").read_text(encoding="utf-8")
    second.write_text(text.replace("tenant: globex", "tenant: second"), encoding="utf-8")

    result = run("validate", "--tenant", "second")

    assert result.exit_code == 0, result.output
    warning, _ = result.output.splitlines()
    assert warning.startswith(
        f"{second}:{line_of(second, 'destination:')}: warning: destination: globex writes to the same"
    )
    assert warning.endswith("docs/concepts.md, Two tenants in one CRM")
    (named,) = json.loads(run("validate", "--tenant", "second", "--json").stdout)["neighbours"]
    assert "contact (contacts.lms_user_id)" in named


def test_what_the_crm_can_not_hold_is_a_line_with_its_place_and_what_to_do(tenants: Path, sandbox: Sandbox) -> None:
    file = tenants / "acme.yaml"
    change(
        file,
        ("FirstName:", "FristName:"),
        ("to: LMS_Competency__c", "to: LMS_Skill__c"),
        ("match_key: LMS_Enrollment_Id__c", "match_key: LMS_Enrolment_Id__c"),
        ("scale: 2", "scale: 4"),
    )

    result = run("validate", "--tenant", "acme")

    assert result.exit_code == 1
    *lines, advice = result.output.splitlines()
    assert "lms-crm crm setup --tenant acme" in advice
    assert [line.partition(": error: ")[0] for line in lines] == [
        f"{file}:{line_of(file, word)}" for word in ("FristName", "LMS_Enrolment_Id__c", "scale: 4", "LMS_Skill__c")
    ]
    assert lines[0].endswith(
        "Contact has no field 'FristName'; write 'FirstName', or make the field there (lms-crm crm setup)"
    )
    assert "use 'scale: 2'" in lines[2]
    assert "the CRM has no object 'LMS_Skill__c'" in lines[3]
    assert writes(sandbox.salesforce).total() == 0


def test_findings_for_programs(tenants: Path) -> None:
    file = tenants / "globex.yaml"
    change(file, ("lms_role: role", "lms_rolle: role"))

    result = run("validate", "--tenant", "globex", "--json")

    told = json.loads(result.stdout)
    assert (result.exit_code, told["valid"], told["mistakes"]) == (1, False, [])
    (found,) = [finding for finding in told["findings"] if finding["severity"] == "error"]
    assert found["path"] == ["objects", "enrollment", "fields", "lms_rolle"]
    assert (found["file"], found["line"]) == (str(file), line_of(file, "lms_rolle"))


def test_mistakes_of_the_file_for_programs_and_for_people(tenants: Path) -> None:
    change(tenants / "acme.yaml", (": given_name", ": nickname"))

    plain, programs = run("validate", "--tenant", "acme"), run("validate", "--tenant", "acme", "--json")

    assert isinstance(plain.exception, ContractError)
    assert json.loads(programs.stdout)["mistakes"] == str(plain.exception).splitlines()
    assert programs.exit_code == 1


def test_show_says_what_each_field_holds(tenants: Path) -> None:  # noqa: ARG001 - its environment
    table = run("show", "--tenant", "acme").output
    told: dict[str, Any] = json.loads(run("show", "--tenant", "acme", "--json").stdout)

    row = next(line for line in table.splitlines() if "Progress__c" in line)
    assert row.split() == ["Progress__c", "progress_pct", "never_null", "number", "2", "decimals"]
    assert told["contract"]["objects"]["contact"]["fields"]["Email"]["from"] == "email"
    assert {row["crm_field"]: row["pii"] for row in told["mapped"]["contact"]}["Email"] is True
    assert told["mapped"]["enrollment"][1]["source"] == "contact by LMS_User_Id__c"


def test_show_needs_no_secret_and_no_network(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_CRM_CLIENT_SECRET")
    monkeypatch.setenv("ACME_CRM_URL", "http://127.0.0.1:9")

    assert run("show", "--tenant", "acme").exit_code == 0, tenants


def test_show_and_upgrade_need_no_address_either(tenants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_CRM_URL")

    assert "salesforce at https://acme-crm-url.not-set" in run("show", "--tenant", "acme").output, tenants
    assert "${ACME_CRM_URL}" in contract("upgrade", "--tenant", "acme").output


def test_diff_puts_the_crm_beside_the_contract(tenants: Path) -> None:
    change(tenants / "acme.yaml", ("FirstName:", "FristName:"))

    table = run("diff", "--tenant", "acme").output
    told = json.loads(run("diff", "--tenant", "acme", "--json").stdout)["objects"]["contact"]

    assert "error: Contact has no field 'FristName'" in table
    rows = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    assert rows["Department"].split() == ["Department", "string(80)", "not", "mapped"]
    assert rows["LMS_Status__c"].split() == ["LMS_Status__c", "picklist", "status", "text", "ok"]
    assert [field["name"] for field in told["unmapped"]] == [
        *("AccountId", "Department", "Description", "FirstName", "Phone", "Title")
    ]
    held = {row["crm_field"]: row["crm"] for row in told["mapped"]}
    assert held["LMS_Status__c"]["picklist"] == ["active", "suspended"]
    assert held["FristName"] is None


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_upgrade_prints_a_file_that_means_the_same(tenants: Path, tenant: str) -> None:
    file = tenants / f"{tenant}.yaml"
    before = load_contract(tenants, tenant)
    content = file.read_bytes()

    result = contract("upgrade", "--tenant", tenant)

    assert result.exit_code == 0
    assert file.read_bytes() == content
    assert result.stdout.startswith(f"{SCHEMA_LINE}\nversion: 2\n")
    assert f"url: ${{{tenant.upper()}_LMS_URL}}" in result.stdout
    file.write_text(result.stdout, encoding="utf-8")
    assert load_contract(tenants, tenant) == before


def test_upgrade_rewrites_a_file_of_version_1(tenants: Path) -> None:
    file = tenants / "globex.yaml"
    change(file, ("version: 2", "version: 1"), ("adapter: hubspot", "adapter: hubspot\n  calls_per_10_seconds: 77"))
    before = load_contract(tenants, "globex")

    result = contract("upgrade", "--tenant", "globex", "--write")

    assert result.exit_code == 0
    assert "its comments are lost" in result.stderr
    after = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert (after["version"], after["throttle"]) == (2, {"crm": {"calls_per_10_seconds": 77}})
    assert load_contract(tenants, "globex") == before
    assert sorted(path.name for path in tenants.iterdir()) == ["acme.yaml", "globex.yaml"]


def test_what_is_deprecated_is_a_note_with_its_place_and_upgrade_mends_it(tenants: Path) -> None:
    file = tenants / "globex.yaml"
    change(file, ("version: 2", "version: 1"), ("adapter: hubspot", "adapter: hubspot\n  calls_per_10_seconds: 77"))

    plain, programs = run("validate", "--tenant", "globex"), run("validate", "--tenant", "globex", "--json")

    assert (plain.exit_code, programs.exit_code) == (0, 0)
    places = [f"{file}:{line_of(file, word)}: note: " for word in ("version: 1", "calls_per_10_seconds")]
    notes = [line for line in plain.output.splitlines() if ": note: " in line]
    assert [line.startswith(place) for line, place in zip(notes, places, strict=True)] == [True, True]
    assert all("since 0.1 and read until 1.0" in line and "lms-crm contract upgrade" in line for line in notes)
    told = json.loads(programs.stdout)["notes"]
    assert [(each["text"], each["since"], each["until"]) for each in told] == [(line, "0.1", "1.0") for line in notes]
    assert told[1]["path"] == ["destination", "calls_per_10_seconds"]

    contract("upgrade", "--tenant", "globex", "--write")

    assert json.loads(run("validate", "--tenant", "globex", "--json").stdout)["notes"] == []


def test_upgrade_leaves_a_file_that_is_wrong_alone(tenants: Path) -> None:
    file = tenants / "globex.yaml"
    change(file, ("version: 2", "version: 1\nmood: good"))
    content = file.read_bytes()

    result = contract("upgrade", "--tenant", "globex", "--write")

    assert isinstance(result.exception, ContractError)
    assert file.read_bytes() == content
