"""`lms-crm switches`: pausing a tenant, dry runs, some objects only, canaries first; with who, when and why."""

from typing import Annotated, Any

import typer

from lms_crm_assets.cli.console import Exit, complain, print_json
from lms_crm_assets.cli.options import JsonObject, Tenant
from lms_crm_assets.contract.loading import contract_file, load_contract
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.audit import person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.switches import Name, SwitchBoard, Switches
from lms_crm_assets.settings import Settings

switches_app = typer.Typer(
    help="What a tenant's runs may do for now, whatever its contract says.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever wonders later; no learner data.")]


@switches_app.command()
def show(tenant: Tenant, *, as_json: JsonObject = False) -> None:
    """Which switches are set, by whom, since when and why.

    Example: [bold]lms-crm switches show --tenant acme[/bold]
    """
    _tell(_board(tenant).of(tenant), as_json=as_json)


@switches_app.command("set")
def set_switches(
    tenant: Tenant,
    *,
    pause: Annotated[bool, typer.Option("--pause", help="Pull and write nothing; events are taken and wait.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Go as far as the plan, and send nothing.")] = False,
    only: Annotated[
        str | None, typer.Option(metavar="OBJECTS", help="Leave all but these objects alone: contact,course …")
    ] = None,
    canary: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Send this share of each object's records first, 0.05 say, and the rest if all goes well.",
        ),
    ] = None,
    reason: Reason = "",
    as_json: JsonObject = False,
) -> None:
    """Set one or several switches; the others stay as they are. A run under way heeds them from its next batch on.

    Example: [bold]lms-crm switches set --tenant acme --pause --reason "CRM migration"[/bold]
    """
    wanted = {
        Name.ONLY: only,
        Name.CANARY: canary,
        Name.PAUSE: "" if pause else None,
        Name.DRY_RUN: "" if dry_run else None,
    }
    values = {name: value for name, value in wanted.items() if value is not None}
    if not values:
        complain("say which switch: --pause, --dry-run, --only or --canary")
        raise typer.Exit(Exit.WORDS)
    board = _board(tenant)
    if only is not None:
        _check_mapped(tenant, only)
    board.set(tenant, values, person(), reason)
    _tell(board.of(tenant), as_json=as_json)


@switches_app.command()
def clear(
    tenant: Tenant,
    *,
    pause: Annotated[bool, typer.Option("--pause", help="Only this one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only this one.")] = False,
    only: Annotated[bool, typer.Option("--only", help="Only this one.")] = False,
    canary: Annotated[bool, typer.Option("--canary", help="Only this one.")] = False,
    reason: Reason = "",
    as_json: JsonObject = False,
) -> None:
    """Clear the named switches, or all of them.

    What was left meanwhile is in the next run's plan. Example: [bold]lms-crm switches clear --tenant acme --pause[/bold]
    """
    flags = {Name.PAUSE: pause, Name.DRY_RUN: dry_run, Name.ONLY: only, Name.CANARY: canary}
    board = _board(tenant)
    cleared = board.clear(tenant, [name for name in Name if flags[name] or not any(flags.values())], person(), reason)
    if as_json:
        print_json({**_told(board.of(tenant)), "cleared": cleared})
        return
    typer.echo(f"{tenant}: cleared {', '.join(cleared)}" if cleared else f"{tenant}: no such switch was set")
    if left := str(board.of(tenant)):
        typer.echo(f"{tenant}: {left}")


def _board(tenant: str) -> SwitchBoard:
    settings = Settings.from_environ()
    # A tenant whose contract can't be read can be paused all the same.
    contract_file(settings.tenants_dir, tenant)
    return SwitchBoard(OperationalStore.at(settings.state_dir))


def _check_mapped(tenant: str, only: str) -> None:
    mapped = load_contract(Settings.from_environ().tenants_dir, tenant).objects
    asked = {word.strip() for word in only.split(",")}
    if missing := [obj for obj in CrmObject if obj in asked and obj not in mapped]:
        raise FatalError(
            f"{tenant} maps no {', '.join(missing)}; it maps {', '.join(o for o in CrmObject if o in mapped)}"
        )


def _told(found: Switches) -> dict[str, Any]:
    switches = [
        {
            "switch": each.name,
            "value": each.value,
            "set_by": each.set_by,
            "since": each.since.isoformat(timespec="seconds"),
            "reason": each.reason,
        }
        for each in found.by_name.values()
    ]
    return {"tenant": found.tenant, "switches": switches}


def _tell(found: Switches, *, as_json: bool) -> None:
    if as_json:
        print_json(_told(found))
        return
    for switch in found.by_name.values():
        typer.echo(f"{found.tenant}: {switch}")
    if not found.by_name:
        typer.echo(f"{found.tenant}: no switch is set")
