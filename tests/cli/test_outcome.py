"""What `lms-crm reconcile` and `apply` print at a run's end, and where Dagster's home is taken from."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from lms_crm_assets.cli.console import use_dagster_home
from lms_crm_assets.defs.runs import RunSummary
from lms_crm_assets.reconcile import print_outcome


def test_what_was_refused_is_said_as_it_stands() -> None:
    told = io.StringIO()

    print_outcome(
        Console(file=told, width=200),
        "acme",
        RunSummary("1", succeeded=True, objects={}, refused=["sync: [/a] CONFLICT [b] × 1"]),
    )

    assert "! sync: [/a] CONFLICT [b] × 1" in told.getvalue()


def test_a_home_that_is_empty_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")

    use_dagster_home()

    assert os.environ["DAGSTER_HOME"] == str(tmp_path)
