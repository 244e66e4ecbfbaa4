"""`lms-crm doctor` against the sandbox: each wrong setting is a line with what mends it, never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.conftest import TENANTS
from tests.sandbox_control import requests, writes

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:  # noqa: ARG001 - environment
    """Visits the doctor with some settings changed; gives the exit code and what was told."""
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(TENANTS))
    monkeypatch.setenv("DAGSTER_HOME", str(TENANTS.parent))
    monkeypatch.delenv("LMS_CRM_STORE_URL", raising=False)

    def visit(*words: str, **changes: str) -> tuple[int, dict[str, Any]]:
        with monkeypatch.context() as patch:
            for name, value in changes.items():
                patch.setenv(name, value)
            result = CliRunner().invoke(app, ["doctor", "--json", *words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, json.loads(result.stdout)

    return visit


def lines(told: dict[str, Any], level: str, tenant: str = "") -> dict[str, str]:
    found = told["tenants"][tenant] if tenant else told["machine"]
    return {each["about"]: each["says"] for each in found if each["level"] == level}


def test_a_newcomer_is_told_the_next_step_and_nothing_is_written(
    doctor: Doctor, sandbox: Sandbox, tmp_path: Path
) -> None:
    code, told = doctor()

    assert (code, lines(told, "fail"), list(told["tenants"])) == (0, {}, ["acme", "globex"])
    for tenant in ("acme", "globex"):
        assert lines(told, "fail", tenant) == {}
        assert {"contract", "LMS address", "LMS clock", "LMS credential", "LMS rights"} <= lines(
            told, "ok", tenant
        ).keys()
        assert {"CRM address", "CRM clock", "CRM credential", "CRM rights", "CRM records", "warehouse"} <= lines(
            told, "ok", tenant
        ).keys()
    assert "nobody takes the events" in lines(told, "warn", "acme")["worker"]
    assert told["next"].startswith("lms-crm plan --tenant acme shows what would be written")
    assert not (tmp_path / "state").exists()
    assert writes(sandbox.salesforce).total() == writes(sandbox.hubspot).total() == 0
    assert all(set(statuses) <= {"200", "404", "405"} for statuses in requests(sandbox.hubspot).values())


@pytest.mark.parametrize(
    ("tenant", "change", "about", "says"),
    [
        ("acme", {"ACME_LMS_URL": "http://127.0.0.1:9"}, "LMS address", "nothing answers at http://127.0.0.1:9"),
        (
            "acme",
            {"ACME_CRM_URL": "https://no-such-host.invalid"},
            "CRM address",
            "the name no-such-host.invalid is not",
        ),
        ("acme", {"ACME_LMS_URL": "http://example.org"}, "contract", "must start with https://"),
        ("acme", {"ACME_LMS_TOKEN": "wr0ng"}, "LMS credential", "invalidtoken"),
        ("globex", {"GLOBEX_LMS_TOKEN": ""}, "LMS credential", "GLOBEX_LMS_TOKEN is not set"),
        ("acme", {"ACME_CRM_CLIENT_SECRET": "wr0ng"}, "CRM credential", "refuses the credential"),
        ("globex", {"GLOBEX_CRM_TOKEN": "wr0ng"}, "CRM credential", "refuses the credential"),
    ],
)
def test_a_wrong_setting_of_a_tenant_is_a_line(
    doctor: Doctor, tenant: str, change: dict[str, str], about: str, says: str
) -> None:
    code, told = doctor("--tenant", tenant, **change)

    assert code == 1
    assert says in lines(told, "fail", tenant)[about]
    assert told["next"].startswith(f"mend {tenant}: {about}: ")
    assert "wr0ng" not in json.dumps(told)


def test_a_wrong_setting_of_the_machine_is_a_line(doctor: Doctor, tmp_path: Path) -> None:
    key, damaged = tmp_path / "key", tmp_path / "damaged"
    key.write_text("short", encoding="ascii")
    damaged.mkdir()
    (damaged / "ops.sqlite").write_bytes(b"no database" * 1000)
    settings = {
        "LMS_CRM_KEY_FILE": str(key),
        "DAGSTER_HOME": "relative",
        "LMS_CRM_STATE_DIR": str(damaged),
    }

    code, told = doctor("--tenant", "acme", **settings)

    found = lines(told, "fail")
    assert code == 1
    assert {"key", "dagster", "store"} <= found.keys()
    assert "32 bytes in base64" in found["key"]
    code, told = doctor(LMS_CRM_TENANTS_DIR=str(tmp_path / "none"), LMS_CRM_STORE_URL="postgresql://127.0.0.1:9/db")
    assert code == 1
    assert {"tenants", "store"} <= lines(told, "fail").keys()
    assert told["tenants"] == {}
    key.write_text("c2FuZGJveC1zYW5kYm94LXNhbmRib3gtc2FuZGJveC0=", encoding="ascii")
    key.chmod(0o644)
    short = doctor("--tenant", "acme", LMS_CRM_KEY="abc")[1]["machine"]
    assert [each["remedy"] for each in short if each["about"] == "key"] == ["mend LMS_CRM_KEY"]
    mistyped = lines(doctor("--tenant", "acme", LMS_CRM_STATEDIR="x")[1], "warn")
    assert mistyped["settings"] == "nothing reads LMS_CRM_STATEDIR"
    assert "the sandbox's" in mistyped["key"]
    assert "may be read by others" in lines(doctor("--tenant", "acme", **settings)[1], "warn")["key"]


def test_a_variable_that_a_contract_names_is_no_stranger(doctor: Doctor, tmp_path: Path) -> None:
    text = (TENANTS / "globex.yaml").read_text(encoding="utf-8")
    (tmp_path / "globex.yaml").write_text(text.replace("env:GLOBEX_CRM_TOKEN", "env:LMS_CRM_HUBSPOT_KEY"), "utf-8")
    ours = {"LMS_CRM_TENANTS_DIR": str(tmp_path), "LMS_CRM_HUBSPOT_KEY": "pat-sandbox", "LMS_CRM_ACME_TOKEN": "x"}

    found = [each for each in doctor(**ours)[1]["machine"] if each["about"] == "settings"]

    assert [each["says"] for each in found] == ["nothing reads LMS_CRM_ACME_TOKEN"]
    # None of ours is so much like it that it may be meant.
    assert found[0]["remedy"].startswith("unset it")


def test_what_the_contracts_can_not_tell_of_other_tenants_is_said(doctor: Doctor, tmp_path: Path) -> None:
    text = (TENANTS / "globex.yaml").read_text(encoding="utf-8")
    (tmp_path / "globex.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "second.yaml").write_text(text.replace("tenant: globex", "tenant: second"), encoding="utf-8")

    told = doctor("--tenant", "globex", LMS_CRM_TENANTS_DIR=str(tmp_path))[1]
    assert "second writes to the same records" in lines(told, "warn", "globex")["CRM records"]

    (tmp_path / "second.yaml").unlink()
    told = doctor("--tenant", "globex", LMS_CRM_TENANTS_DIR=str(tmp_path))[1]
    assert "as far as its token tells" in lines(told, "ok", "globex")["CRM records"]


SCHOOL = {
    "thinkific": "adapter: thinkific\n  url: ${SANDBOX_THINKIFIC_URL}\n  flow: token\n  token: env:POOR",
    "oneroster": "adapter: oneroster\n  url: ${SANDBOX_ONEROSTER_URL}\n  token_url: ${SANDBOX_ONEROSTER_URL}/token\n"
    "  client_id: env:POOR\n  client_secret: env:SANDBOX_ONEROSTER_CLIENT_SECRET",
}


@pytest.mark.parametrize(("lms", "says"), [("thinkific", "may not read users"), ("oneroster", "may not read results")])
def test_a_right_that_a_run_needs_and_the_credential_lacks_fails(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lms: str, says: str
) -> None:
    text = (TENANTS / "globex.yaml").read_text(encoding="utf-8")
    source = "adapter: changes\n  url: ${GLOBEX_LMS_URL}\n  token: env:GLOBEX_LMS_TOKEN"
    assert source in text
    (tmp_path / "globex.yaml").write_text(text.replace(source, SCHOOL[lms]), encoding="utf-8")
    monkeypatch.setenv("POOR", "poor")

    code, told = doctor("--tenant", "globex", LMS_CRM_TENANTS_DIR=str(tmp_path))

    assert (code, "LMS rights" in lines(told, "fail", "globex")) == (1, True), told
    assert any(says in each["says"] for each in told["tenants"]["globex"] if each["level"] == "fail")


def test_people_read_a_line_a_finding(doctor: Doctor) -> None:  # noqa: ARG001 - its environment
    result = CliRunner().invoke(app, ["doctor", "--tenant", "acme"])

    assert result.exit_code == 0
    assert "  ✓ ok    LMS credential: accepted\n" in result.output
    assert result.output.splitlines()[-1].startswith("Next: lms-crm plan --tenant acme")
