"""The instance of commands that run jobs themselves, several at once."""

import logging
import os
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest

from lms_crm_assets.defs.instance import dagster_instance
from lms_crm_assets.settings import Settings


def test_a_run_that_begins_waits_for_no_handler_of_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have logging's own lock meanwhile, for which the run that has the handler's waits."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dagster_instance(Settings(tmp_path / "tenants", tmp_path / "state")) as instance:
        handler = logging.StreamHandler()
        handler.acquire()
        try:
            begins = threading.Thread(target=instance.get_handlers)
            begins.start()
            begins.join(20)
            assert not begins.is_alive()
        finally:
            handler.release()


@dg.op
def printing() -> int:
    return os.fstat(sys.stdout.fileno()).st_ino


@dg.job
def prints() -> None:
    printing()


def test_a_run_leaves_the_output_of_its_process_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dagster_instance(Settings(tmp_path / "tenants", tmp_path / "state")) as instance:
        result = prints.execute_in_process(instance=instance)

    assert result.output_for_node("printing") == os.fstat(sys.stdout.fileno()).st_ino
