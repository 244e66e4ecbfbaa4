"""`lms-crm worker`: runs of events as soon as events come."""

from typing import Annotated

import typer

from lms_crm_assets import interrupt
from lms_crm_assets.cli.console import output_console, use_dagster_home
from lms_crm_assets.settings import Settings
from lms_crm_assets.telemetry import logs, traces


def worker(
    tenants_at_once: Annotated[int, typer.Option(min=1, max=32, help="So many tenants' runs go side by side.")] = 2,
) -> None:
    """Take the events that the receiver keeps, until Ctrl-C or SIGTERM: each is in the CRM within seconds.

    Without it the sensor [bold]waiting_events[/bold] starts the same runs, in some twenty seconds.
    Example: [bold]lms-crm worker[/bold]
    """
    from lms_crm_assets.defs.instance import dagster_instance  # noqa: PLC0415 - Dagster takes a second to import
    from lms_crm_assets.worker import work  # noqa: PLC0415 - as above

    logs.for_services()
    traces.begin()
    use_dagster_home()
    settings, console = Settings.from_environ(), output_console()
    interrupt.heard_from_now_on()
    with dagster_instance(settings) as instance:
        console.print("Waiting for events. Ctrl-C ends it.")
        work(settings, instance, tenants_at_once, lambda line: console.print(line, markup=False, soft_wrap=True))
