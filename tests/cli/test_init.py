"""What `lms-crm init` says of words that no contract can be made of."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app

WORDS = ["init", "--tenant", "initech", "--lms", "moodle", "--crm", "hubspot", "--set", "source.url=https://lms.test"]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (["--set", "source.url.port=3"], "a value, not a section"),
        (["--set", "source.adapter=webct"], "say --lms instead"),
        (["--set", "destination.adapter=siebel"], "say --crm instead"),
        (["--object", "learner"], "is none of contact"),
    ],
)
def test_words_that_are_off_are_told_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], answer: str
) -> None:
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))

    refused = CliRunner().invoke(app, [*WORDS, "--offline", "--yes", *said], env={"COLUMNS": "200"})

    assert (refused.exit_code, refused.exception.__class__) == (2, SystemExit)
    assert answer in refused.output
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_is_no_yaml_is_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))

    made = CliRunner().invoke(app, [*WORDS, "--offline", "--yes", "--set", "source.token=env:[", "--object", "contact"])

    assert made.exit_code == 1
    assert "source.token" in str(made.exception)
