"""The only wiring: everything Dagster loads."""

import dagster as dg

from lms_crm_assets.defs import alerting, automation, jobs
from lms_crm_assets.defs.events import waiting_events
from lms_crm_assets.defs.fleet import fleet_health, fleet_job, fleet_watch
from lms_crm_assets.defs.labels import labelled
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.defs.retention import nightly_purge, purge_job, retention
from lms_crm_assets.defs.tenant_assets import TENANT_ASSETS
from lms_crm_assets.settings import Settings
from lms_crm_assets.telemetry import logs, traces


def _warehouse(settings: Settings) -> str:
    """Where the warehouses lie, so that Dagster shows no password in it."""
    return dg.EnvVar("LMS_CRM_WAREHOUSE") if settings.warehouse_url else ""


def build_definitions(settings: Settings) -> dg.Definitions:
    """All definitions, over the folders that the settings name."""
    return dg.Definitions(
        assets=labelled([*TENANT_ASSETS, fleet_health, retention]),
        jobs=[
            jobs.full_reconcile,
            jobs.incremental_pull,
            jobs.sync_events,
            jobs.plan,
            jobs.apply,
            fleet_job,
            purge_job,
        ],
        schedules=[automation.full_reconciles, automation.incremental_pulls, fleet_watch, nightly_purge],
        sensors=[automation.tenants_folder, waiting_events, alerting.alerts],
        resources={
            "tenants": TenantsResource(tenants_dir=str(settings.tenants_dir), state_dir=str(settings.state_dir)),
            "warehouse": WarehouseResource(database=_warehouse(settings), state_dir=str(settings.state_dir)),
        },
        # One process a run: 1-2.5 s instead of 20-50 s, and no fights for the DuckDB file. The UI's own "Materialize"
        # uses this executor too.
        executor=dg.in_process_executor,
    )


# Dagster's own processes come in here; a command has said how to log before.
logs.for_services_unless_configured()
traces.begin()
defs = build_definitions(Settings.from_environ())
