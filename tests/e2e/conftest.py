"""The command line in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lms_crm_assets.cli.app import main
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings

LmsCrm = Callable[..., "subprocess.Popen[str]"]
LmsCrmHere = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dagster_home(sandbox: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - they set the environment
    """A Dagster home of the test's own."""
    home = tmp_path / "dagster"
    home.mkdir()
    # Capturing each step's output starts two processes a step, which is most of a small run's time.
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}\n"
        f"run_storage: {{module: dagster._core.storage.runs, class: SqliteRunStorage, config: {{base_dir: {home}/history}}}}\n"
        "schedule_storage:\n  {module: dagster._core.storage.schedules, class: SqliteScheduleStorage,"
        f" config: {{base_dir: {home}/schedules}}}}\n"
        "event_log_storage:\n  {module: lms_crm_assets.defs.event_log, class: PooledSqliteEventLogStorage,"
        f" config: {{base_dir: {home}/history/runs}}}}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def lms_crm(dagster_home: Path) -> LmsCrm:  # noqa: ARG001 - as above
    """Starts `lms-crm …` as a process of its own."""

    def start(*arguments: str, **changes: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "lms_crm_assets", *arguments]
        return subprocess.Popen(
            command, env={**os.environ, **changes}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start


@pytest.fixture
def lms_crm_here(
    dagster_home: Path,  # noqa: ARG001 - as above
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> LmsCrmHere:
    """Runs `lms-crm …` in this process: the same, without the seconds that a start takes."""

    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        for name, value in {"COLUMNS": "140", **environ}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["lms-crm", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), out, err)

    return run
