"""Options that several commands share."""

from typing import Annotated

import typer

Tenant = Annotated[str, typer.Option("--tenant", "-t", help="The tenant, as its file in the tenants folder is called.")]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SHOWN_ROWS = 100
"""So many rows are shown where nobody says how many."""
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help=f"So many; {SHOWN_ROWS}, or all with --json.")]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Don't mask learner data.")]
