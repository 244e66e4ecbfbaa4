"""`lms-crm forget` and `lms-crm purge`: personal data taken away, one learner's or what was kept for long enough."""

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from lms_crm_assets.cli import completion
from lms_crm_assets.cli.console import Exit, complain, output_console, print_json
from lms_crm_assets.cli.options import JsonLines, JsonObject, Tenant
from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.progress import progress
from lms_crm_assets.settings import Settings

if TYPE_CHECKING:
    from lms_crm_assets.privacy.receipt import Receipt


def forget(
    learner: Annotated[
        str,
        typer.Argument(help="The LMS's id, an e-mail address, a username or an external id; - reads it from stdin."),
    ],
    tenant: Tenant,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; else it is only shown how much there is.")] = False,
    allow_again: Annotated[
        bool,
        typer.Option("--allow-again", help="Let a forgotten learner come again with the next full reconciliation."),
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Who asks for it, for the receipt; your user name by default.")] = "",
    as_json: JsonObject = False,
) -> None:
    """Forget one learner: in every table, delivery and file of the tenant, with a receipt. It can't be undone.

    They don't come back while the LMS still has them. Their records in the CRM are left or archived, as the contract's
    [bold]privacy.forget[/bold] says. See docs/personal-data.md.
    Example: [bold]lms-crm forget 4711 --tenant acme --yes[/bold]
    """
    from lms_crm_assets.privacy.forgetting import Forgetting  # noqa: PLC0415 - the CRMs' clients take a second

    text = sys.stdin.readline().strip() if learner == "-" else learner
    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    forgetting = Forgetting(settings, contract, by or _user(), datetime.now(UTC))
    if allow_again:
        number = forgetting.allow_again(text)
        if not number:
            complain(f"nobody of {tenant} was forgotten under that id or name")
            raise typer.Exit(Exit.MEND)
        AuditLog(OperationalStore.at(settings.state_dir)).note(person(), "learner.allowed-again", tenant, "a learner")
        if as_json:
            print_json({"tenant": tenant, "allowed_again": number})
            return
        typer.echo(f"{tenant}: may come again with the next full reconciliation: lms-crm reconcile --tenant {tenant}")
        return
    if not yes:
        with progress(f"{tenant}: looking everywhere"):
            found = forgetting.look(text)
        _show(found, as_json=as_json)
        typer.echo("Nothing was changed: this is what would go. To do it, add --yes", err=True)
        return
    with progress(f"{tenant}: forgetting"):
        receipt, file = forgetting.forget(text)
    AuditLog(OperationalStore.at(settings.state_dir)).note(
        person(), "learner.forgotten", tenant, f"receipt {file.name}"
    )
    _show(receipt, as_json=as_json)
    typer.echo(f"The receipt is kept as {file}", err=True)


def _show(receipt: "Receipt", *, as_json: bool) -> None:
    """What was there of somebody: numbers by place, and the keyed hash that stands for them."""
    if as_json:
        print_json(asdict(receipt))
        return
    typer.echo(f"{receipt.tenant}: the learner {receipt.learner}; asked for by {receipt.by} at {receipt.at}")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("where")
    table.add_column("how many", justify="right")
    places = [(f"records in the CRM, {receipt.crm}: {obj}", number) for obj, number in receipt.archived.items()]
    places += [(f"rows: {name.replace(chr(34), '')}", number) for name, number in receipt.rows.items()]
    places += [(f"files: {name}", number) for name, number in receipt.files.items()]
    places += [("deliveries in the inbox", receipt.deliveries), ("kept answers of the API", receipt.answers)]
    for place, number in places:
        if number:
            table.add_row(place, f"{number:,}")
    if table.row_count:
        output_console().print(table, markup=False, highlight=False)
    if receipt.crm == "left":
        typer.echo("Their records in the CRM are left (privacy.forget: leave in the contract).")


def _user() -> str:
    """Who runs this; a container may have no name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def purge(
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", "-t", help="Of this tenant only, and no runs.", autocompletion=completion.tenants),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Take away what was kept for as long as the contracts say. The job [bold]purge[/bold] does so every night.

    Example: [bold]lms-crm purge --dry-run[/bold]
    """
    from lms_crm_assets.privacy.retention import purge_shared, purge_tenant  # noqa: PLC0415 - as above

    settings, now = Settings.from_environ(), datetime.now(UTC)
    word = "would go" if dry_run else "went"
    names = [tenant] if tenant else tenant_names(settings.tenants_dir)
    contracts = [load_contract(settings.tenants_dir, name) for name in names]
    found: list[tuple[str | None, Mapping[str, int]]] = []
    with progress("Looking" if dry_run else "Purging") as step:
        for number, contract in enumerate(contracts):
            step(contract.tenant, number, len(contracts))
            found.append((contract.tenant, purge_tenant(settings, contract, now, dry_run=dry_run)))
        if tenant is None:
            found.append((None, purge_shared(settings, contracts, dry_run=dry_run)))
    for name, counts in found:
        if as_json:
            print_json({"tenant": name, "dry_run": dry_run, "counts": dict(counts)})
            continue
        told = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
        also = "" if name else "; runs of Dagster: the job purge"
        typer.echo(f"{name or 'all tenants'}: {told or 'nothing'} {word}{also}")
