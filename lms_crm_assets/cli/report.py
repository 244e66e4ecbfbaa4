"""`lms-crm report`: one run as a page for people who work with the CRM."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from lms_crm_assets.cli import completion
from lms_crm_assets.cli.export_files import target
from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings

_STDOUT = Path("-")


def report(
    tenant: Tenant,
    *,
    run: Annotated[
        str,
        typer.Option(
            "--run",
            help="This run: its id, or how it begins; the newest by default.",
            autocompletion=completion.runs,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the page there, - is stdout; by default beside those of other runs."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: the figures alone, as one JSON object.")
    ] = False,
) -> None:
    """Make the report of a run: what agrees, what changed, what was refused and why, trend, daily calls.

    One HTML file that loads nothing, to be opened in a browser, printed or sent on. Values that tell who somebody is are masked.
    Example: [bold]lms-crm report --tenant acme --out last-night.html[/bold]
    """
    from lms_crm_assets.report.facts import as_document  # noqa: PLC0415 - quick commands need none of it
    from lms_crm_assets.report.history import facts_of  # noqa: PLC0415 - as above

    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    store = OperationalStore.at(settings.state_dir)
    facts = facts_of(store, tenant, run)
    if as_json:
        typer.echo(orjson.dumps(as_document(facts)).decode())
        return
    from lms_crm_assets.report.making import make_page, report_file, write_page  # noqa: PLC0415 - as above
    from lms_crm_assets.warehouse.published import reading  # noqa: PLC0415 - as above

    page = make_page(facts, contract, store, lambda: reading(settings, tenant))
    if out == _STDOUT:
        sys.stdout.write(page)
        return
    if out is not None:
        with target(out) as file:
            file.write(page)
    else:
        out = report_file(settings.state_dir, tenant, facts.run_id)
        write_page(out, page)
    typer.echo(f"{out}: run {facts.run_id} of {facts.ended_at:%Y-%m-%d %H:%M} UTC")
