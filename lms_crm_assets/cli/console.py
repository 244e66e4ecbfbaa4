"""What all commands share: consoles, exit codes, JSON for programs, one-line complaints, Dagster's home."""

import json
import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer
from rich.console import Console


class Exit(IntEnum):
    """How a command ends; docs/exit-codes.md says what to do about each."""

    OK = 0
    MEND = 1
    WORDS = 2
    UNDELIVERED = 3
    WAITS = 4
    LATER = 75
    STOPPED = 130


def output_console(*, to_stderr: bool = False) -> Console:
    """Rich's console; a pipe or a file gets lines long enough for the tables."""
    found = Console(stderr=to_stderr)
    return found if found.is_terminal else Console(stderr=to_stderr, width=max(found.width, 120))


def print_json(told: Any) -> None:
    """One JSON value on one line of stdout; what JSON has no word for, a moment or a path, as its text."""
    typer.echo(json.dumps(told, ensure_ascii=False, default=str))


def use_dagster_home() -> None:
    """Take the folder of dagster.yaml as Dagster's home, unless the environment names one."""
    if not os.environ.get("DAGSTER_HOME"):
        if not Path("dagster.yaml").is_file():
            complain("there is no dagster.yaml here: go to the project's folder, or set DAGSTER_HOME")
            raise typer.Exit(Exit.MEND)
        os.environ["DAGSTER_HOME"] = str(Path.cwd())
    home = Path(os.environ["DAGSTER_HOME"])
    if not home.is_absolute() or not home.is_dir():
        complain(
            f"DAGSTER_HOME={home} is no absolute path of a folder: set it to the project's folder, or unset it there"
        )
        raise typer.Exit(Exit.MEND)


def complain(message: str) -> None:
    """One line on stderr."""
    typer.secho(f"lms-crm: {message}", err=True, fg=typer.colors.RED)


def complain_of(problems: Sequence[str], *, passing: bool) -> Exit:
    """A line for each problem of a run; gives the exit code."""
    for problem in problems or ["the run failed; see its log in the Dagster UI"]:
        complain(f"{problem}; try again later" if passing else problem)
    return Exit.LATER if passing else Exit.MEND
