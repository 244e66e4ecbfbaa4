"""`lms-crm crm …`: making a CRM ready for a contract, and what changed in it since."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lms_crm_assets.cli.console import Exit, complain, print_json
from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.cli.schema import accept, schema
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract, HubSpotDestination
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import CredentialError, FatalError
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.progress import Step, progress
from lms_crm_assets.settings import Settings

if TYPE_CHECKING:
    from lms_crm_assets.crm.examine import Examination
    from lms_crm_assets.crm.setup import Definitions, SetupPlan

crm_app = typer.Typer(help="Make a CRM ready for a contract, and see what changed in it.", no_args_is_help=True)
crm_app.command("schema")(schema)
crm_app.command("accept")(accept)


@crm_app.command("setup")
def setup(
    tenant: Tenant,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make it without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: the plan as one JSON object; made only with --yes.")
    ] = False,
) -> None:
    """Make what the contract names and the CRM lacks: objects, fields, options, associations and their labels.

    The plan is shown first. In HubSpot it is carried out when it is confirmed; for Salesforce it is the list of what an
    admin has to make. Exit code 1 when something is missing in the end.
    Example: [bold]lms-crm crm setup --tenant globex[/bold]
    """
    from lms_crm_assets.crm.hubspot.definitions import HubSpotDefinitions  # noqa: PLC0415 - takes a second

    settings = Settings.from_environ()
    store = OperationalStore.at(settings.state_dir)
    contract = load_contract(settings.tenants_dir, tenant)
    if not isinstance(contract.destination, HubSpotDestination):
        found, wanted = _planned(contract, store, None)
        _show(contract, found, wanted, as_json=as_json)
        raise typer.Exit(Exit.MEND if wanted.changes or wanted.left else 0)
    definitions = HubSpotDefinitions(contract, contract.destination, store)
    try:
        found, wanted = _planned(contract, store, definitions)
        _show(contract, found, wanted, as_json=as_json)
        if not wanted.changes:
            raise typer.Exit(Exit.MEND if wanted.left else 0)
        if not yes and (as_json or not typer.confirm("Make this in HubSpot?", err=True)):
            raise typer.Exit(Exit.MEND)
        with progress("Making it in HubSpot") as step:
            _make(definitions, wanted, step)
        made = "; ".join(line for change in wanted.changes for line in change.lines)
        AuditLog(store).note(person(), "crm.set-up", tenant, f"{len(wanted.changes)} changes", made)
        _, wanted = _planned(contract, store, definitions)
    finally:
        definitions.close()
    typer.echo(f"{tenant}: {_said(wanted)}", err=as_json)
    raise typer.Exit(Exit.MEND if wanted.changes or wanted.left else 0)


def _make(definitions: "Definitions", wanted: "SetupPlan", step: Step) -> None:
    """Carry the changes out; what is refused is told, and keeps the others only where they need it."""
    from lms_crm_assets.crm.setup import What  # noqa: PLC0415 - as above

    for number, change in enumerate(wanted.changes):
        step(next(change.lines, ""), number, len(wanted.changes))
        try:
            definitions.make(change)
        except CredentialError:
            raise
        except FatalError as exc:
            if change.what in {What.OBJECT, What.GROUP}:
                raise
            complain(str(exc))


def _planned(
    contract: Contract, store: OperationalStore, definitions: "Definitions | None"
) -> "tuple[Mapping[CrmObject, Examination], SetupPlan]":
    from lms_crm_assets.crm.examine import examine  # noqa: PLC0415 - as above
    from lms_crm_assets.crm.setup import plan  # noqa: PLC0415 - as above

    found = examine(contract, store)
    groups = (
        {examined.spec.to: definitions.groups(examined.spec.to) for examined in found.values() if examined.schema}
        if definitions
        else {}
    )
    return found, plan(contract.destination.adapter, found, groups)


def _show(contract: Contract, found: "Mapping[CrmObject, Examination]", wanted: "SetupPlan", *, as_json: bool) -> None:
    from lms_crm_assets.crm.setup import advice  # noqa: PLC0415 - as above

    crm = contract.destination.adapter
    if as_json:
        told: dict[str, Any] = {
            "tenant": contract.tenant,
            "crm": crm,
            "changes": [asdict(change) for change in wanted.changes],
            "left": [asdict(finding) for finding in wanted.left],
            "advice": list(advice(crm, wanted, found)),
        }
        print_json(told)
        return
    for line in (line for change in wanted.changes for line in change.lines):
        typer.echo(line)
    for finding in wanted.left:
        typer.echo(f"! {finding.text}")
    for line in advice(crm, wanted, found):
        typer.echo(line)
    if not wanted.changes:
        typer.echo(f"{contract.tenant}: nothing to make; {_said(wanted)}")


def _said(wanted: "SetupPlan") -> str:
    if wanted.changes:
        return f"{len(wanted.changes):,} of these are missing still"
    if wanted.left:
        return f"{len(wanted.left):,} of the contract's names need an admin, or another contract"
    return "the CRM has all that the contract names"
