"""From a webhook to the CRM in the log and in the figures: the same ids all the way, and the counts that the systems made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.telemetry import logs
from tests.e2e.test_events import Pushed, good_learners, pushed  # noqa: F401 - the fixture
from tests.sandbox_control import records, requests

pytestmark = pytest.mark.slow


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "log" / "lms-crm.ndjson"
    logs.for_services({"LMS_CRM_LOG_FILE": str(file), "LMS_CRM_LOG_LEVEL": "debug"})
    yield file
    logs.for_commands({})


def lines(file: Path, event: str, **wanted: Any) -> list[dict[str, Any]]:
    found = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [line for line in found if line["event"] == event and wanted.items() <= line.items()]


def figure(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of that name that have these labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def test_a_delivery_is_followed_by_its_id_and_what_its_run_did_is_shown(
    log_file: Path,
    pushed: Pushed,  # noqa: F811 - the fixture
) -> None:
    school, hubspot = pushed.sandbox.school, pushed.sandbox.hubspot
    told_of = good_learners(pushed.sandbox)[0]
    pushed.tell(("learners", told_of["id"]))
    run = pushed.run("sync_events")
    assert [r["properties"]["lms_user_id"] for r in records(hubspot, "contacts")] == [told_of["id"]]

    # The id that the sender chose leads to the run, the run to the batch, the batch to its call.
    [accepted] = lines(log_file, "accepted", delivery_id="msg_1")
    assert accepted.items() >= {"tenant": "globex", "side": "lms", "result": "new"}.items()
    [taken] = lines(log_file, "events_taken")
    assert taken.items() >= {"delivery_ids": ["msg_1"], "run_id": run.run_id}.items()
    [sent] = lines(log_file, "batch_sent", run_id=run.run_id)
    ids = {"tenant": "globex", "lane": "events", "layer": "sync", "object": "contact", "batch_id": "upsert-0"}
    assert sent.items() >= {**ids, "delivery_ids": ["msg_1"], "records": 1, "succeeded": 1, "calls": 1}.items()
    [call] = lines(log_file, "call", run_id=run.run_id, batch_id="upsert-0")
    assert call.items() >= {**ids, "delivery_ids": ["msg_1"], "side": "crm", "status": "ok"}.items()
    [ended] = lines(log_file, "run_ended", run_id=run.run_id)
    assert ended["status"] == "succeeded"

    # One endpoint for receiver and runs.
    shown, globex = pushed.metrics(), {"tenant": "globex", "crm": "hubspot"}
    assert figure(shown, "records_created_total", **globex, object="contact") == 1
    assert figure(shown, "records_created_total", **globex) == 1
    assert figure(shown, "runs_total", **globex, lane="events", status="succeeded") == 1
    assert figure(shown, "run_duration_seconds_count", **globex, lane="events") == 1
    assert figure(shown, "events_settled_total", **globex, status="done") == 1
    assert figure(shown, "deliveries_total", tenant="globex", side="lms", result="new") == 1
    assert figure(shown, "http_request_duration_seconds_count", side="receiver", status="202") == 1
    assert figure(shown, "freshness_promised_seconds", **globex) > 0
    # It looked at one record only.
    assert figure(shown, "last_success_timestamp_seconds") == 0
    made_as_many_calls(shown, lms=school, crm=hubspot)

    # Without a receiver the same figures, and nothing but them on the screen.
    printed = CliRunner().invoke(app, ["metrics"])
    assert printed.exit_code == 0, printed.output
    assert figure(printed.stdout, "records_created_total", **globex, object="contact") == 1
    assert printed.stderr == ""
    assert figure(printed.stdout, "inbox_depth", tenant="globex") == 0

    # Of nobody anything.
    everything = log_file.read_text(encoding="utf-8") + shown
    for value in (told_of["email"], told_of["family_name"], told_of["given_name"]):
        assert f"{value}" not in everything


@pytest.mark.long
def test_the_figures_of_a_full_run_are_those_of_both_systems(
    log_file: Path,
    pushed: Pushed,  # noqa: F811 - the fixture
) -> None:
    school, hubspot = pushed.sandbox.school, pushed.sandbox.hubspot
    run = pushed.run("full_reconcile")

    shown, globex = pushed.metrics(), {"tenant": "globex", "crm": "hubspot"}
    for what, counts in run.objects.items():
        for name in ("created", "updated", "archived", "rejected", "failed", "skipped", "unchanged"):
            assert figure(shown, f"records_{name}_total", **globex, object=what) == getattr(counts, name), (what, name)
    assert figure(shown, "records_created_total", **globex, object="contact") == len(records(hubspot, "contacts"))
    assert figure(shown, "records_extracted_total", **globex, object="learners") == len(records(school, "learners"))
    assert figure(shown, "records_invalid", **globex, object="learners") == run.objects["contact"].invalid > 0
    assert (figure(shown, "last_success_timestamp_seconds", **globex) > 0) == run.agrees
    made_as_many_calls(shown, lms=school, crm=hubspot)
    told = log_file.read_text(encoding="utf-8") + shown
    assert [row["email"] for row in records(school, "learners") if row["email"] and row["email"] in told] == []


def made_as_many_calls(shown: str, **addresses: str) -> None:
    """As many as the systems themselves have counted."""
    for side, address in addresses.items():
        calls = sum(number for by_status in requests(address).values() for number in by_status.values())
        assert figure(shown, "http_requests_total", tenant="globex", side=side) == calls
        assert figure(shown, "http_request_duration_seconds_count", tenant="globex", side=side) == calls
        assert figure(shown, "breaker_open", tenant="globex", side=side) == 0
