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
from tests.sandbox_control import mutate, records, requests


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


def test_a_delivery_is_followed_by_its_id_and_the_figures_are_those_of_the_systems(
    log_file: Path,
    pushed: Pushed,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school, hubspot = pushed.sandbox.school, pushed.sandbox.hubspot
    full = pushed.run("full_reconcile")
    before = pushed.metrics()
    renamed = good_learners(pushed.sandbox)[0]
    mutate(school, object="learners", op="update", id=renamed["id"], fields={"family_name": "Ångström"})
    pushed.tell(("learners", renamed["id"]))
    events = pushed.run("sync_events")

    # The id that the sender chose leads to the run, the run to the batch, the batch to its call.
    [accepted] = lines(log_file, "accepted", delivery_id="msg_1")
    assert accepted.items() >= {"tenant": "globex", "side": "lms", "result": "new"}.items()
    [taken] = lines(log_file, "events_taken")
    assert taken["delivery_ids"] == ["msg_1"]
    assert taken["run_id"] == events.run_id
    [sent] = lines(log_file, "batch_sent", run_id=events.run_id)
    ids = {"tenant": "globex", "lane": "events", "layer": "sync", "object": "contact", "batch_id": "upsert-0"}
    assert sent.items() >= {**ids, "delivery_ids": ["msg_1"], "records": 1, "succeeded": 1, "calls": 1}.items()
    [call] = lines(log_file, "call", run_id=events.run_id, batch_id="upsert-0")
    assert call.items() >= {**ids, "delivery_ids": ["msg_1"], "side": "crm", "status": "ok"}.items()
    for summary in (full, events):
        [ended] = lines(log_file, "run_ended", run_id=summary.run_id)
        assert ended["status"] == "succeeded"

    # One endpoint for receiver and runs.
    after = pushed.metrics()
    globex = {"tenant": "globex", "crm": "hubspot"}
    contacts = {**globex, "object": "contact"}
    assert figure(before, "records_created_total", **contacts) == full.objects["contact"].created > 200
    assert figure(after, "records_updated_total", **contacts) == events.objects["contact"].updated == 1
    assert figure(before, "records_rejected_total", **globex) == sum(o.rejected for o in full.objects.values())
    assert figure(after, "records_invalid", **globex, object="learners") == full.objects["contact"].invalid > 0
    assert figure(before, "records_extracted_total", **globex, object="learners") == len(records(school, "learners"))
    for lane in ("full", "events"):
        assert figure(after, "runs_total", **globex, lane=lane, status="succeeded") == 1
        assert figure(after, "run_duration_seconds_count", **globex, lane=lane) == 1
    assert figure(after, "events_settled_total", **globex, status="done") == 1
    assert figure(after, "deliveries_total", tenant="globex", side="lms", result="new") == 1
    assert figure(after, "http_request_duration_seconds_count", side="receiver", status="202") == 1
    assert (figure(after, "last_success_timestamp_seconds", **globex) > 0) == full.agrees
    for side, address in (("lms", school), ("crm", hubspot)):
        calls = sum(number for by_status in requests(address).values() for number in by_status.values())
        assert figure(after, "http_requests_total", **globex, side=side) == calls
        assert figure(after, "http_request_duration_seconds_count", **globex, side=side) == calls
        assert figure(after, "breaker_open", **globex, side=side) == 0

    # Without a receiver the same figures, and nothing but them on the screen.
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(pushed.settings.state_dir))
    printed = CliRunner().invoke(app, ["metrics"])
    assert printed.exit_code == 0, printed.output
    assert figure(printed.stdout, "records_updated_total", **contacts) == 1
    assert figure(printed.stdout, "inbox_depth", tenant="globex") == 0

    # Of nobody anything.
    told = log_file.read_text(encoding="utf-8") + after
    assert "Ångström" not in told
    assert [row["email"] for row in records(school, "learners") if row["email"] and row["email"] in told] == []
