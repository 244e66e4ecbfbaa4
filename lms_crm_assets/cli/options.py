"""Options that several commands share."""

from typing import Annotated

import typer

from lms_crm_assets.cli import completion

Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        "-t",
        help="The tenant, as its file in the tenants folder is called.",
        autocompletion=completion.tenants,
    ),
]
OfTenant = Annotated[
    str | None, typer.Option("--tenant", "-t", help="Of this tenant only.", autocompletion=completion.tenants)
]
JsonObject = Annotated[bool, typer.Option("--json", help="For programs: one JSON object on stdout, on one line.")]
JsonLines = Annotated[bool, typer.Option("--json", help="For programs: one JSON object a line.")]
SHOWN_ROWS = 100
"""So many rows are shown where nobody says how many."""
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help=f"So many; {SHOWN_ROWS}, or all with --json.")]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Don't mask learner data.")]
