"""`lms-crm`: the command line; how it ends stands in `console.Exit`."""

import contextlib
import os
import signal
import sys
from typing import Annotated

import typer

from lms_crm_assets.cli.alerts import alerts_app
from lms_crm_assets.cli.audit import audit_app
from lms_crm_assets.cli.backups import backup, restore
from lms_crm_assets.cli.connect import connect
from lms_crm_assets.cli.console import Exit, complain, output_console, use_dagster_home
from lms_crm_assets.cli.contract import contract_app
from lms_crm_assets.cli.credentials import credentials_app
from lms_crm_assets.cli.crm import crm_app
from lms_crm_assets.cli.dead_letters import dead_letters_app
from lms_crm_assets.cli.doctor import doctor
from lms_crm_assets.cli.events import events_app
from lms_crm_assets.cli.init import init
from lms_crm_assets.cli.metrics import metrics
from lms_crm_assets.cli.options import JsonObject, Tenant
from lms_crm_assets.cli.plans import apply, end_of_run, explain, plan
from lms_crm_assets.cli.privacy import forget, purge
from lms_crm_assets.cli.quarantine import quarantine_app
from lms_crm_assets.cli.receiver import receiver
from lms_crm_assets.cli.record import record
from lms_crm_assets.cli.report import report
from lms_crm_assets.cli.switches import switches_app
from lms_crm_assets.cli.tenants import tenants_app
from lms_crm_assets.cli.worker import worker
from lms_crm_assets.errors import LmsCrmError, RetryableError
from lms_crm_assets.interrupt import StoppedError
from lms_crm_assets.settings import Settings
from lms_crm_assets.telemetry import logs
from lms_crm_assets.withholding import discreet

app = typer.Typer(
    name="lms-crm",
    help="Make a CRM agree with an LMS, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(tenants_app, name="tenants")
app.add_typer(contract_app, name="contract")
app.add_typer(credentials_app, name="credentials")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(crm_app, name="crm")
app.add_typer(events_app, name="events")
app.add_typer(alerts_app, name="alerts")
app.add_typer(switches_app, name="switches")
app.add_typer(audit_app, name="audit")
app.command()(init)
app.command()(plan)
app.command()(apply)
app.command()(explain)
app.command()(forget)
app.command()(purge)
app.command()(record)
app.command()(connect)
app.command()(metrics)
app.command()(receiver)
app.command()(worker)
app.command()(doctor)
app.command()(backup)
app.command()(restore)
app.command()(report)


@app.callback()
def logging_begins() -> None:
    """Say how to log before anything does; services say it anew."""
    logs.for_commands()


@app.command()
def demo() -> None:
    """Reconcile both example tenants against the sandbox, twice, and prove the result.

    Needs no network and no accounts. The state is kept in .lms-crm/demo for `lms-crm dev`.
    Example: [bold]lms-crm demo[/bold]
    """
    from lms_crm_assets.demo.demo import run_demo  # noqa: PLC0415 - Dagster takes a second to import

    use_dagster_home()
    raise typer.Exit(run_demo(output_console()))


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="The UI's port; 0 takes a free one.")] = 3000,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the demo's state first.")] = False,
) -> None:
    """Open the Dagster UI, with the receiver and the sandbox behind it.

    Example: [bold]lms-crm dev --port 3001[/bold]
    """
    from lms_crm_assets.demo.dev import run_dev  # noqa: PLC0415 - as above

    use_dagster_home()
    raise typer.Exit(run_dev(output_console(), port=port, fresh=fresh))


@app.command()
def reconcile(
    tenant: Tenant,
    *,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what changed in the LMS and in the CRM since the last run.")
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Reconcile one tenant now: pull, check, compare, write what differs.

    Exit code 3 when the CRM did not take some records, 4 when nothing was sent since the plan waits.
    Example: [bold]lms-crm reconcile --tenant acme[/bold]
    """
    from lms_crm_assets.reconcile import reconcile_tenant  # noqa: PLC0415 - as above

    use_dagster_home()
    console = output_console(to_stderr=as_json)
    summary = reconcile_tenant(console, Settings.from_environ(), tenant, incremental=incremental)
    end_of_run(console, tenant, summary, as_json=as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def sandbox(context: typer.Context) -> None:
    """Serve the simulated systems until Ctrl-C, and print the environment in which the example tenants find them.

    Further options are those of [bold]python -m lms_crm_assets.sandbox --help[/bold].
    Example: [bold]lms-crm sandbox --state-dir .lms-crm/demo/sandbox[/bold]
    """
    from lms_crm_assets.demo.sandbox_process import running_sandbox  # noqa: PLC0415 - only here

    with running_sandbox(context.args) as running:
        typer.echo("# Paste these lines into another terminal; then for example: lms-crm plan --tenant acme")
        for name, value in running.environ().items():
            typer.echo(f"export {name}={value}")
        typer.echo("# Ctrl-C stops the sandbox.")
        sys.stdout.flush()
        # Whichever way it is told to end, the servers end with it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


def main() -> None:
    """Run the command; an error of ours is one line and an exit code, never a traceback."""
    try:
        app(prog_name="lms-crm")
    except RetryableError as exc:
        complain(f"{exc}; try again later")
        _add_notes(exc)
        sys.exit(Exit.LATER)
    except StoppedError as exc:
        complain(str(exc))
        # A library's native thread that was interrupted may abort the interpreter's own way out; everything is closed.
        os._exit(Exit.STOPPED)
    except LmsCrmError as exc:
        complain(str(exc))
        _add_notes(exc)
        sys.exit(Exit.MEND)
    except Exception as exc:  # noqa: BLE001 - it is raised again; a terminal may be a log
        told = discreet(exc)
        raise told from told.__cause__


def _add_notes(exc: LmsCrmError) -> None:
    """What the command adds to an error: what it left undone, say."""
    for note in getattr(exc, "__notes__", ()):
        complain(note)
