"""`lms-crm record`: recordings for contract tests."""

from pathlib import Path
from typing import Annotated

import typer

from lms_crm_assets.cli.console import print_json
from lms_crm_assets.cli.options import JsonObject, Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.progress import progress
from lms_crm_assets.settings import Settings


def record(
    tenant: Tenant,
    out: Annotated[Path, typer.Option("--out", help="A folder that is empty, or is made.")],
    pages: Annotated[int, typer.Option("--pages", min=1, help="Pages of each entity of the LMS.")] = 1,
    *,
    as_json: JsonObject = False,
) -> None:
    """Record what a tenant's LMS and CRM answer, with secrets and learner data replaced, for contract tests.

    Reads only: the LMS's probe and first pages, the CRM's definitions. See docs/testing.md.
    Example: [bold]lms-crm record --tenant acme --out recordings/acme[/bold]
    """
    from lms_crm_assets.recording.recorder import record as make  # noqa: PLC0415 - the vendors' clients take a second

    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    with progress(f"{tenant}: recording"):
        recorded = make(contract, OperationalStore.at(settings.state_dir), out, pages=pages)
    if as_json:
        print_json(
            {
                "tenant": tenant,
                "folder": out,
                "exchanges": dict(recorded.exchanges),
                "records": dict(recorded.records),
                "objects": recorded.objects,
            }
        )
        return
    read = ", ".join(f"{count:,} {entity}" for entity, count in recorded.records.items())
    typer.echo(f"LMS: {recorded.exchanges['lms']} exchanges, {read}")
    typer.echo(
        f"CRM: {recorded.exchanges['crm']} exchanges, the definitions of {', '.join(recorded.objects) or 'nothing'}"
    )
    typer.echo(
        f"Written to {out}. Texts, e-mails, ids and dates are replaced and credentials left out, by rules that know no"
        " particular LMS's customs: look the files over before you commit them."
    )
