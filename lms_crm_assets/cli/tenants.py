"""`lms-crm tenants …`: looking at the contracts."""

import typer

from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.settings import Settings

tenants_app = typer.Typer(help="Look at the tenants' contracts.", no_args_is_help=True)


@tenants_app.command("list")
def list_tenants() -> None:
    """The tenants that have a contract."""
    for name in tenant_names(Settings.from_environ().tenants_dir):
        typer.echo(name)


@tenants_app.command("validate")
def validate(tenant: Tenant) -> None:
    """Check a contract, and that both sides answer with its credentials."""
    from lms_crm_assets.preflight import check_both_sides  # noqa: PLC0415 - the vendors' clients take a second

    contract = load_contract(Settings.from_environ().tenants_dir, tenant)
    check_both_sides(contract)
    typer.echo(f"{tenant}: the contract is valid and both sides answer")
