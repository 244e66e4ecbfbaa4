"""`lms-crm contract …`: the files of the contracts themselves."""

import os
from typing import Annotated

import typer

from lms_crm_assets.cli.contract_files import AnyEnviron, tenants_folder
from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.contract.loading import contract_file
from lms_crm_assets.contract.rewriting import upgraded

contract_app = typer.Typer(help="Keep the tenants' contract files up to date.", no_args_is_help=True)


@contract_app.callback()
def _group() -> None:
    """Without a callback Typer takes a group's only command for the group."""


@contract_app.command("upgrade")
def upgrade(
    tenant: Tenant,
    *,
    write: Annotated[bool, typer.Option("--write", help="Rewrite the file; its comments are lost.")] = False,
) -> None:
    """The contract's file in the newest version of the format, without what is deprecated: on stdout or in its place.

    Comments are lost. What is deprecated is told by [bold]lms-crm tenants validate[/bold].
    Example: [bold]lms-crm contract upgrade --tenant acme --write[/bold]
    """
    path = contract_file(tenants_folder(), tenant)
    text = upgraded(path.read_bytes(), path, AnyEnviron(os.environ))
    if not write:
        typer.echo(text, nl=False)
        return
    beside = path.with_suffix(".yaml.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    typer.echo(f"{path} is rewritten; its comments are lost, see your version control", err=True)
