"""`lms-crm connect`: a person allows access to the CRM in the browser, and the vault keeps what comes of it."""

import webbrowser
from enum import StrEnum
from typing import Annotated

import typer

from lms_crm_assets.cli.contract_files import tenants_folder
from lms_crm_assets.cli.loopback import Loopback
from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.errors import ContractError
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault
from lms_crm_assets.settings import Settings


class Host(StrEnum):
    """How the app's redirect address calls this machine."""

    NUMBER = "127.0.0.1"
    NAME = "localhost"


def connect(
    tenant: Tenant,
    port: Annotated[int, typer.Option(help="The redirect address's port; 0 takes a free one.")] = 8765,
    host: Annotated[
        Host, typer.Option(help="The redirect address's host, as it is registered with the app.")
    ] = Host.NUMBER,
    scope: Annotated[
        list[str] | None, typer.Option(help="Ask for this scope, for each one; without it for what the contract needs.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the person.", min=1)] = 300.0,
    *,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
) -> None:
    """Let a person allow access to the CRM, and keep the refresh token in the vault.

    For contracts with flow refresh_token whose refresh_token is vault:NAME. The app has to know the redirect address
    http://127.0.0.1:8765/callback.
    Example: [bold]lms-crm connect --tenant acme[/bold]
    """
    from lms_crm_assets.crm.adapters import crm_adapter  # noqa: PLC0415 - the vendors' clients take a second
    from lms_crm_assets.crm.approval import Asking, app_of, exchange  # noqa: PLC0415 - as above

    contract = load_contract(tenants_folder(), tenant)
    name = _name_in_vault(contract)
    store = OperationalStore.at(Settings.from_environ().state_dir)
    # Before anybody is asked: without a key there is nowhere to keep the answer.
    vault = Vault.opened(store)
    app = app_of(contract, secrets_of(tenant, store), scope or ())
    with Loopback(port, host) as loopback:
        asking = Asking.new(loopback.redirect_uri)
        address = asking.address(app)
        typer.echo(f"Allow access in the browser; the answer is waited for at {loopback.redirect_uri}:\n{address}")
        if not no_browser:
            webbrowser.open(address)
        code = asking.code(app, loopback.answer(timeout))
    vault.keep(tenant, name, exchange(app, asking, code).get_secret_value())
    AuditLog(store).note(person(), "credentials.connected", tenant, f"vault:{name}")
    typer.echo(f"kept as vault:{name} of {tenant}, sealed with the key {vault.ring.present.id}")
    crm = crm_adapter(contract, store)
    try:
        crm.probe()
    finally:
        crm.close()
    typer.echo(f"{contract.destination.adapter} at {contract.destination.url} accepts it")


def _name_in_vault(contract: Contract) -> str:
    destination = contract.destination
    if destination.flow != "refresh_token":
        raise ContractError(
            f"destination.flow of {contract.tenant} is {destination.flow}, which no person has to allow: set it to"
            " refresh_token, with client_id and refresh_token: vault:crm_refresh_token"
        )
    kind, _, name = str(destination.refresh_token).partition(":")
    if kind != "vault":
        raise ContractError(
            f"destination.refresh_token of {contract.tenant} lies in {kind}:, where nothing can be kept: write"
            " vault:crm_refresh_token there"
        )
    return name
