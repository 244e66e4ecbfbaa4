"""Options that several commands share."""

from typing import Annotated

import typer

Tenant = Annotated[str, typer.Option("--tenant", "-t", help="The tenant, as its file in the tenants folder is called.")]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Don't mask learner data.")]
