"""Refused records: sent again by each run, dead letters after too many refusals, and sent when there is reason to."""

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from tests.chaos.one_run import run
from tests.chaos.tenant import ChaosTenant
from tests.sandbox_control import records

REFUSAL = {
    "object": "contacts",
    "key_pattern": "^L3$",
    "message": "the portal's own rule",
    "category": "VALIDATION_ERROR",
}


@pytest.fixture
def tenant(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChaosTenant:
    """Ten learners; the portal refuses one of them, and two refusals make a dead letter."""
    found = ChaosTenant(
        "hubspot", sandbox, tmp_path, learners=10, only_contacts=True, contract={"delivery": {"max_attempts": 2}}
    )
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path / "tenants"))
    refuse(found, REFUSAL)
    return found


def refuse(tenant: ChaosTenant, *faults: dict[str, Any]) -> None:
    httpx.post(f"{tenant.address}/_sandbox/options", json={"record_faults": faults}).raise_for_status()


def counts(tenant: ChaosTenant) -> dict[str, Any]:
    done: dict[str, Any] = run(Settings.from_environ(), tenant.name)["counts"]["contact"]  # type: ignore[index]
    return {name: done[name] for name in ("created", "rejected", "skipped", "write_calls")}


def cli(*words: str) -> str:
    result = CliRunner().invoke(app, ["dead-letters", *words, "--tenant", "globex"])
    assert result.exit_code == 0, result.output
    return result.output


def held(tenant: ChaosTenant) -> set[str]:
    return {record["properties"]["lms_user_id"] for record in records(tenant.address, "contacts")}


def test_a_record_that_is_refused_too_often_is_not_sent_and_every_run_says_so(tenant: ChaosTenant) -> None:
    assert counts(tenant) == {"created": 9, "rejected": 1, "skipped": 0, "write_calls": 1}
    assert counts(tenant) == {"created": 0, "rejected": 1, "skipped": 0, "write_calls": 1}
    for _ in range(2):
        assert counts(tenant) == {"created": 0, "rejected": 0, "skipped": 1, "write_calls": 0}

    listed = [orjson.loads(line) for line in cli("list", "--json").splitlines()]
    assert [(one["external_id"], one["attempts"], one["is_dead"]) for one in listed] == [("L3", 2, True)]
    assert "refused 2 of 2 times with VALIDATION_ERROR" in cli("show", "--key", "L3")
    assert "the portal's own rule" not in cli("show", "--key", "L3")
    assert "the portal's own rule" in cli("show", "--key", "L3", "--show-values")


def test_a_dead_letter_is_sent_when_a_person_replays_it(tenant: ChaosTenant) -> None:
    for _ in range(3):
        counts(tenant)
    refuse(tenant)
    assert counts(tenant)["skipped"] == 1
    assert "1 dead letter is sent again" in cli("replay", "--key", "L3")

    assert counts(tenant) == {"created": 1, "rejected": 0, "skipped": 0, "write_calls": 1}
    assert "L3" in held(tenant)
    assert "globex has no dead letters" in cli("list")


@pytest.mark.long
def test_a_dead_letter_is_sent_when_its_values_change(tenant: ChaosTenant) -> None:
    for _ in range(3):
        counts(tenant)
    refuse(tenant)
    with connect(tenant.warehouse) as con:
        con.execute("UPDATE staging.learner SET given_name = 'Mended', row_hash = 1 WHERE source_id = 'L3'")

    assert counts(tenant) == {"created": 1, "rejected": 0, "skipped": 0, "write_calls": 1}
    assert "L3" in held(tenant)


@pytest.mark.long
def test_refusals_between_which_the_record_was_taken_do_not_add_up(tenant: ChaosTenant) -> None:
    counts(tenant)
    refuse(tenant)
    assert counts(tenant)["created"] == 1
    refuse(tenant, REFUSAL)
    tenant.move(1)

    assert counts(tenant)["rejected"] == 1
    assert cli("list", "--json") == ""
    assert "sent again" in cli("list", "--refused")


def test_replaying_asks_which(tenant: ChaosTenant) -> None:
    result = CliRunner().invoke(app, ["dead-letters", "replay", "--tenant", tenant.name])

    assert result.exit_code == 2
    assert "--all" in result.output
