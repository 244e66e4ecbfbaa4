"""`lms-crm metrics`: the figures of runs and inbox, without a receiver."""

import os
import sys

from prometheus_client import CollectorRegistry, generate_latest

from lms_crm_assets.ops.exposition import InboxFigures, RunFigures
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings


def metrics() -> None:
    """Print the figures of all runs as Prometheus reads them: what the receiver shows at /metrics, but for its own.

    Without a key the inbox is left out.
    Example: [bold]lms-crm metrics > /var/lib/node_exporter/lms-crm.prom.part && mv …[/bold]
    """
    settings, registry = Settings.from_environ(), CollectorRegistry()
    registry.register(RunFigures(OperationalStore.at(settings.state_dir)))
    if {"LMS_CRM_KEY", "LMS_CRM_KEY_FILE"} & os.environ.keys():
        registry.register(InboxFigures(Inbox.at(settings.state_dir)))
    sys.stdout.write(generate_latest(registry).decode())
