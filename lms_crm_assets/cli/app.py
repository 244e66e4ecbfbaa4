"""`lms-crm`: the command line.

Exit codes: 0 all is well; 1 something a person must mend, said in one line; 2 the command's words are off; 3 the run
ended but the CRM did not take some records; 75 trouble that may pass by itself, try again later.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.cli.tenants import tenants_app
from lms_crm_assets.errors import LmsCrmError, RetryableError
from lms_crm_assets.settings import Settings

app = typer.Typer(
    name="lms-crm",
    help="Make a CRM agree with an LMS, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(tenants_app, name="tenants")

EXIT_MEND, EXIT_UNDELIVERED, EXIT_LATER = 1, 3, 75


@app.command()
def demo() -> None:
    """Reconcile both example tenants against the sandbox, twice, and prove the result.

    Needs no network and no accounts. The state is kept in .lms-crm/demo for `lms-crm dev`.
    """
    from lms_crm_assets.demo.demo import run_demo  # noqa: PLC0415 - Dagster takes a second to import

    _use_dagster_home()
    raise typer.Exit(run_demo(_console()))


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="The UI's port; 0 takes a free one.")] = 3000,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the demo's state first.")] = False,
) -> None:
    """Open the Dagster UI with the sandbox behind it."""
    from lms_crm_assets.demo.dev import run_dev  # noqa: PLC0415 - as above

    _use_dagster_home()
    raise typer.Exit(run_dev(_console(), port=port, fresh=fresh))


@app.command()
def reconcile(
    tenant: Tenant,
    *,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what changed in the LMS since the last pull.")
    ] = False,
) -> None:
    """Reconcile one tenant now: pull, check, compare, write what differs.

    Example: [bold]lms-crm reconcile --tenant acme[/bold]
    """
    from lms_crm_assets.reconcile import reconcile_tenant  # noqa: PLC0415 - as above

    _use_dagster_home()
    summary = reconcile_tenant(_console(), Settings.from_environ(), tenant, incremental=incremental)
    if summary.problems:
        for problem in summary.problems:
            _complain(problem)
        raise typer.Exit(EXIT_MEND)
    raise typer.Exit(EXIT_UNDELIVERED if summary.undelivered else 0)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Serve the simulated LMSs and CRMs until Ctrl-C; options are those of python -m lms_crm_assets.sandbox."""
    os.execv(sys.executable, [sys.executable, "-m", "lms_crm_assets.sandbox", *context.args])  # noqa: S606 - no shell


def _use_dagster_home() -> None:
    """Take the folder of dagster.yaml as Dagster's home, unless the environment names one."""
    if "DAGSTER_HOME" not in os.environ:
        if not Path("dagster.yaml").is_file():
            _complain("there is no dagster.yaml here: go to the project's folder, or set DAGSTER_HOME")
            raise typer.Exit(EXIT_MEND)
        os.environ["DAGSTER_HOME"] = str(Path.cwd())


def _console() -> Console:
    """Rich's console; a pipe or a file gets lines long enough for the tables."""
    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, 120))


def _complain(message: str) -> None:
    typer.secho(f"lms-crm: {message}", err=True, fg=typer.colors.RED)


def main() -> None:
    """Run the command; an error of ours is one line and an exit code, never a traceback."""
    try:
        app()
    except RetryableError as exc:
        _complain(f"{exc}; try again later")
        sys.exit(EXIT_LATER)
    except LmsCrmError as exc:
        _complain(str(exc))
        sys.exit(EXIT_MEND)
    except KeyboardInterrupt:
        _complain("stopped; what was delivered is in the ledger, the rest is sent by the next run")
        sys.exit(130)
