"""`lms-crm doctor`: what is wrong, what mends it, and what to do next."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from lms_crm_assets.cli import completion
from lms_crm_assets.cli.console import Exit, print_json
from lms_crm_assets.cli.options import JsonObject
from lms_crm_assets.contract.loading import contract_file, tenant_names
from lms_crm_assets.doctor.verdict import Level, Verdict
from lms_crm_assets.settings import Settings

_MARKS = {
    Level.OK: ("✓ ok", typer.colors.GREEN),
    Level.WARN: ("! warn", typer.colors.YELLOW),
    Level.FAIL: ("✗ fail", typer.colors.RED),
}


def doctor(
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant", "-t", help="This tenant only; all of them by default.", autocompletion=completion.tenants
        ),
    ] = None,
    *,
    as_json: JsonObject = False,
) -> None:
    """Look at the machine, the settings, and both sides of each tenant; say what to mend and what to do next.

    Reads only: nothing is written in the LMS, the CRM or the state. Exit code 1 when something fails.
    Example: [bold]lms-crm doctor --tenant acme[/bold]
    """
    from lms_crm_assets.defs.daemons import daemon_health  # noqa: PLC0415 - Dagster takes a second to import
    from lms_crm_assets.doctor.examination import examine_machine, examine_tenant  # noqa: PLC0415 - as above
    from lms_crm_assets.doctor.next_step import next_step  # noqa: PLC0415 - as above

    settings = Settings.from_environ()
    barred = not os.access(settings.tenants_dir, os.R_OK | os.X_OK)
    if tenant is not None and not barred:
        contract_file(settings.tenants_dir, tenant)
    machine = list(examine_machine(settings, os.environ, daemon_health()))
    if not as_json:
        _show("machine", machine)
    tenants: dict[str, list[Verdict]] = {}
    names = [] if barred else [tenant] if tenant else tenant_names(settings.tenants_dir)
    for name in names:
        tenants[name] = list(examine_tenant(settings, os.environ, name))
        if not as_json:
            _show(name, tenants[name])
    step = next_step(machine, tenants, settings)
    if as_json:
        told = {name: [asdict(each) for each in found] for name, found in tenants.items()}
        content = {"machine": [asdict(each) for each in machine], "tenants": told, "next": step}
        print_json(content)
    else:
        typer.echo(f"Next: {step}")
    every = [*machine, *(each for found in tenants.values() for each in found)]
    raise typer.Exit(Exit.MEND if any(each.level is Level.FAIL for each in every) else Exit.OK)


def _show(title: str, verdicts: Sequence[Verdict]) -> None:
    typer.secho(title, bold=True)
    for each in verdicts:
        mark, color = _MARKS[each.level]
        typer.echo(f"  {typer.style(f'{mark:<7}', fg=color)} {each.about}: {each.says}")
        if each.remedy:
            typer.echo(f"          → {each.remedy}")
