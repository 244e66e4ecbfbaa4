"""What all commands share: consoles, exit codes, one-line complaints, Dagster's home."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

EXIT_MEND, EXIT_UNDELIVERED, EXIT_LATER, EXIT_STOPPED = 1, 3, 75, 130


def output_console(*, to_stderr: bool = False) -> Console:
    """Rich's console; a pipe or a file gets lines long enough for the tables."""
    found = Console(stderr=to_stderr)
    return found if found.is_terminal else Console(stderr=to_stderr, width=max(found.width, 120))


def use_dagster_home() -> None:
    """Take the folder of dagster.yaml as Dagster's home, unless the environment names one."""
    if not os.environ.get("DAGSTER_HOME"):
        if not Path("dagster.yaml").is_file():
            complain("there is no dagster.yaml here: go to the project's folder, or set DAGSTER_HOME")
            raise typer.Exit(EXIT_MEND)
        os.environ["DAGSTER_HOME"] = str(Path.cwd())


def complain(message: str) -> None:
    """One line on stderr."""
    typer.secho(f"lms-crm: {message}", err=True, fg=typer.colors.RED)


def complain_of(problems: Sequence[str], *, passing: bool) -> int:
    """A line for each problem of a run; gives the exit code."""
    for problem in problems or ["the run failed; see its log in the Dagster UI"]:
        complain(f"{problem}; try again later" if passing else problem)
    return EXIT_LATER if passing else EXIT_MEND
