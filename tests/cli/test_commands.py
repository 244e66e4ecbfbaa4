"""Every command by itself: JSON for programs, an example in its help, names behind a tab, nothing of progress in a file."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.cli.console import Exit
from lms_crm_assets.progress import counted, progress
from tests.conftest import TENANTS

WITHOUT_JSON = {
    "demo": "a show for a person, whose last line is JSON anyway",
    "dev": "runs until Ctrl-C",
    "sandbox": "prints lines to be pasted into a shell, and runs until Ctrl-C",
    "receiver": "runs until it is told to end; its log is JSON",
    "worker": "runs until it is told to end; its log is JSON",
    "metrics": "speaks Prometheus' own format",
    "init": "writes a file whose name is known; tenants show --json says what is in it",
    "connect": "a person has to be there, at a browser",
    "contract upgrade": "prints the contract's file",
    "quarantine export": "has --format ndjson",
    "audit export": "has --format ndjson",
}


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    found = get_command(app) if group is None else group
    inner = getattr(found, "commands", None)
    if inner is None:
        yield " ".join(words), found
        return
    for name, command in inner.items():
        yield from commands(command, (*words, name))


COMMANDS = dict(commands())


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_every_command_speaks_json_but_for_those_with_a_reason() -> None:
    without = {name for name, command in COMMANDS.items() if "--json" not in options(command)}

    assert without == WITHOUT_JSON.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example_of_the_command(name: str) -> None:
    told = " ".join((COMMANDS[name].help or "").split())

    assert f"[bold]lms-crm {name}" in told


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("acme", "globex"):
        (tmp_path / f"{name}.yaml").write_bytes((TENANTS / f"{name}.yaml").read_bytes())
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def completed(line: str) -> list[str]:
    """What bash would offer behind the line."""
    words = {"_LMS_CRM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    result = CliRunner().invoke(app, [], prog_name="lms-crm", env=words)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if "--tenant" in options(COMMANDS[name]) and name != "init"]
)
def test_a_tenant_is_completed(folder: Path, name: str) -> None:
    assert completed(f"lms-crm {name} --tenant a") == ["acme"], folder


def test_words_and_values_are_completed() -> None:
    assert completed("lms-crm tenants va") == ["validate"]
    assert completed("lms-crm plan --object con") == ["contact"]


@pytest.mark.parametrize("line", ["lms-crm apply --tenant acme p-", "lms-crm report --tenant acme --run 1"])
def test_nothing_that_is_there_is_no_error_and_makes_nothing(folder: Path, line: str) -> None:
    assert completed(line) == []
    assert not (folder / "state").exists()


def test_a_folder_that_can_not_be_read_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path / "nowhere"))

    assert completed("lms-crm plan --tenant ") == []


def test_a_tab_does_not_wait_for_what_only_runs_need() -> None:
    code = "import sys, lms_crm_assets.cli.app; print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )

    assert "typer" in loaded
    assert loaded & {"dagster", "pandera", "polars", "pandas", "fastapi", "hubspot", "simple_salesforce"} == set()


def test_progress_is_nothing_where_nobody_watches(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a CI sets for colours is no terminal.
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("Working") as step:
        assert list(counted(range(1_200), step, "rows")) == list(range(1_200))

    assert capfd.readouterr() == ("", "")


def test_progress_is_on_stderr_of_a_terminal_and_never_on_stdout(tmp_path: Path) -> None:
    code = "from lms_crm_assets.progress import progress\nwith progress('Working') as s:\n s('a tenant', 1, 2); print('out')"
    master, terminal = os.openpty()
    with (tmp_path / "out").open("wb") as out:
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=terminal, env=environ, check=True)
    os.close(terminal)
    told = b""
    # Linux ends a terminal that nobody holds any more with an error, not with an end.
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65_536):
            told += chunk
    os.close(master)

    assert done.returncode == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == "out\n"
    assert b"Working" in told
    assert b"50%" in told


def test_lists_are_an_object_a_line(folder: Path) -> None:
    told = CliRunner().invoke(app, ["tenants", "list", "--json"]).stdout.splitlines()

    assert [json.loads(line)["tenant"] for line in told] == ["acme", "globex"]
    assert json.loads(told[0])["file"] == str(folder / "acme.yaml")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("tenants list", Exit.OK),
        ("events replay", Exit.WORDS),
        ("plan --tenant acme --colour red", Exit.WORDS),
        ("credentials check --tenant acme", Exit.MEND),
    ],
)
def test_how_it_ends(folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, code: Exit) -> None:
    monkeypatch.setenv("ACME_LMS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ACME_CRM_URL", "http://127.0.0.1:9")
    for name in ("ACME_LMS_TOKEN", "ACME_CRM_CLIENT_ID", "ACME_CRM_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)

    assert CliRunner().invoke(app, words.split()).exit_code == code, folder
