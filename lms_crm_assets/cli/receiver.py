"""`lms-crm receiver`: the webhook service."""

from pathlib import Path
from typing import Annotated

import typer

from lms_crm_assets.cli.console import Exit, complain
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.settings import Settings
from lms_crm_assets.telemetry import logs


def receiver(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    port_file: Annotated[
        Path | None, typer.Option(help="Write the port to this file, as JSON, once requests are taken.")
    ] = None,
) -> None:
    """Take webhooks of the LMS and the CRM until Ctrl-C or SIGTERM, and keep them for the runs.

    Needs a key, for what is kept is sealed: see docs/receiver.md.
    Example: [bold]lms-crm receiver --host 0.0.0.0 --port 8080[/bold]
    """
    from lms_crm_assets.receiver.app import build_app  # noqa: PLC0415 - the web framework takes half a second
    from lms_crm_assets.receiver.server import serve  # noqa: PLC0415 - as above

    logs.for_services()
    settings = Settings.from_environ()
    if not settings.tenants_dir.is_dir():
        complain(f"there is no folder {settings.tenants_dir} with contracts: set LMS_CRM_TENANTS_DIR")
        raise typer.Exit(Exit.MEND)
    # What would only show at /readyz is said now: no key, or a folder that can't be written.
    Inbox.at(settings.state_dir)
    if not serve(build_app(settings), host, port, port_file):
        complain(f"port {port} of {host} can't be taken: another process may have it")
        raise typer.Exit(Exit.MEND)
