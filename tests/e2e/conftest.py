"""The command line in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings

LmsCrm = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def lms_crm(sandbox: Sandbox, settings: Settings, tmp_path: Path) -> LmsCrm:  # noqa: ARG001 - they set the environment
    """Starts `lms-crm …` with the sandbox's environment and a Dagster home of its own."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    environ = {**os.environ, "DAGSTER_HOME": str(home)}

    def start(*arguments: str, **changes: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "lms_crm_assets", *arguments]
        return subprocess.Popen(
            command, env={**environ, **changes}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start
