"""How lines look, where they go and what they never hold."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from lms_crm_assets.errors import FatalError
from lms_crm_assets.telemetry import logs

LOG = structlog.get_logger("tests")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    logs.for_commands({})


def test_a_line_of_a_service_is_json_with_the_ids_that_are_bound(capsys: pytest.CaptureFixture[str]) -> None:
    logs.for_services({})
    with logs.bound(tenant="acme", run_id="r-1", object=""):
        LOG.info("batch_sent", records=200)
        # A thread carries them when it is told to.
        thread = threading.Thread(target=logs.carried(LOG.info), args=("call",))
        thread.start()
        thread.join()
    LOG.debug("page")

    told = capsys.readouterr()
    assert told.out == ""
    first, second = map(json.loads, told.err.splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"level": "info", "event": "batch_sent", "tenant": "acme", "run_id": "r-1", "records": 200}
    assert (second["event"], second["tenant"], second["run_id"]) == ("call", "acme", "r-1")


def test_a_command_keeps_its_screen_clean_and_may_have_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "logs" / "lms-crm.ndjson"
    logs.for_commands({"LMS_CRM_LOG_FILE": str(file), "LMS_CRM_LOG_FORMAT": "text"})
    LOG.info("run_began")
    LOG.warning("breaker_opened", system="https://crm.example.org", note="two words\nand a line")
    # Whoever rotates logs moves it away.
    file.rename(file.with_suffix(".1"))
    LOG.info("run_ended")

    [line] = capsys.readouterr().err.splitlines()
    assert line[8:] == " warning breaker_opened system=https://crm.example.org note='two words\\nand a line'"
    before = [json.loads(each)["event"] for each in file.with_suffix(".1").read_text(encoding="utf-8").splitlines()]
    assert before == ["run_began", "breaker_opened"]
    assert json.loads(file.read_text(encoding="utf-8"))["event"] == "run_ended"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_log_file_that_can_t_be_begun_anew_closes_nobody_elses(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "lms-crm.ndjson"
    logs.for_services({"LMS_CRM_LOG_FILE": str(file)})
    file.unlink()
    file.parent.rmdir()
    LOG.info("lost")
    # Other files of the process take the next numbers there are.
    others = [(tmp_path / f"{number}").open("w", encoding="utf-8") for number in range(4)]
    LOG.info("lost, too")
    for other in others:
        other.write("still open")
        other.close()

    file.parent.mkdir()
    LOG.info("run_ended")
    assert json.loads(file.read_text(encoding="utf-8"))["event"] == "run_ended"


def test_what_libraries_log_is_a_line_too_without_what_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.for_services({})
    library = logging.getLogger("a.library")
    with logs.bound(run_id="r-1"):
        library.warning("retrying %s", "/rest?wstoken=canary0123&email=canary@example.org")
        library.info("not asked for: canary")
        try:
            int("canary's value")
        except ValueError:
            library.exception("it broke")
            LOG.exception("unforeseen")

    told = capsys.readouterr().err
    assert "canary" not in told
    retry, broke, unforeseen = map(json.loads, told.splitlines())
    assert (retry["event"], retry["logger"], retry["run_id"]) == ("library", "a.library", "r-1")
    for line in (broke, unforeseen):
        assert line["error"] == "ValueError"
        assert "test_logs.py" in line["at"][-1]


def test_a_mistake_in_the_environment_is_told(tmp_path: Path) -> None:
    for environ, told in (
        ({"LMS_CRM_LOG_LEVEL": "loud"}, "LMS_CRM_LOG_LEVEL is loud: it has to be one of debug, info"),
        ({"LMS_CRM_LOG_FORMAT": "xml"}, "LMS_CRM_LOG_FORMAT is xml: it has to be json or text"),
        ({"LMS_CRM_LOG_FILE": f"{tmp_path}/"}, "of LMS_CRM_LOG_FILE can't be written"),
    ):
        with pytest.raises(FatalError, match=told):
            logs.for_services(environ)
