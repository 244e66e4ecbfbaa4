"""`lms-crm forget` and `lms-crm purge`: personal data taken away, one learner's or what was kept for long enough."""

import getpass
import os
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from lms_crm_assets.cli.console import EXIT_MEND, complain
from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings


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
            raise typer.Exit(EXIT_MEND)
        AuditLog(OperationalStore.at(settings.state_dir)).note(person(), "learner.allowed-again", tenant, "a learner")
        typer.echo(f"{tenant}: may come again with the next full reconciliation: lms-crm reconcile --tenant {tenant}")
        return
    if not yes:
        typer.echo(forgetting.look(text).document(), nl=False)
        typer.echo("Nothing was changed: this is what would go. To do it, add --yes", err=True)
        return
    receipt, file = forgetting.forget(text)
    AuditLog(OperationalStore.at(settings.state_dir)).note(
        person(), "learner.forgotten", tenant, f"receipt {file.name}"
    )
    typer.echo(receipt.document(), nl=False)
    typer.echo(f"The receipt is kept as {file}", err=True)


def _user() -> str:
    """Who runs this; a container may have no name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def purge(
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", help="Of this tenant only, and no runs.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")] = False,
) -> None:
    """Take away what was kept for as long as the contracts say. The job [bold]purge[/bold] does so every night.

    Example: [bold]lms-crm purge --dry-run[/bold]
    """
    from lms_crm_assets.privacy.retention import purge_shared, purge_tenant  # noqa: PLC0415 - as above

    settings, now = Settings.from_environ(), datetime.now(UTC)
    word = "would go" if dry_run else "went"
    names = [tenant] if tenant else tenant_names(settings.tenants_dir)
    contracts = [load_contract(settings.tenants_dir, name) for name in names]
    for contract in contracts:
        counts = purge_tenant(settings, contract, now, dry_run=dry_run)
        told = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
        typer.echo(f"{contract.tenant}: {told or 'nothing'} {word}")
    if tenant is None:
        shared = purge_shared(settings, contracts, dry_run=dry_run)
        told = ", ".join(f"{number:,} {what}" for what, number in shared.items() if number)
        typer.echo(f"all tenants: {told or 'nothing'} {word}; runs of Dagster: the job purge")
