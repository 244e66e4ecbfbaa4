"""Reconciling one tenant from the command line."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from dagster import DagsterInstance
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.alerting import look_at
from lms_crm_assets.defs.instance import dagster_instance
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.defs.tenant_states import tenant_states
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.neighbours import REMEDY, neighbours
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.switches import SwitchBoard
from lms_crm_assets.preflight import check_both_sides
from lms_crm_assets.progress import progress
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.location import locate

_PLAN_FIGURES = (
    "plan_id",
    "status",
    "withheld",
    "left_alone",
    "records",
    "contacts_there_already",
    "calls",
    "minutes",
    "quota_share_after",
)


def reconcile_tenant(
    console: Console, settings: Settings, tenant: str, *, incremental: bool = False, title: str | None = None
) -> RunSummary:
    """Reconcile with a progress bar."""
    job = "incremental_pull" if incremental else "full_reconcile"
    return run_for_tenant(console, settings, tenant, job, title=title)


def as_document(tenant: str, summary: RunSummary) -> dict[str, Any]:
    """A run's end for programs; no learner data is in it."""
    plan = {name: summary.plan[name] for name in _PLAN_FIGURES if name in summary.plan}
    return {
        "tenant": tenant,
        "run_id": summary.run_id,
        "succeeded": summary.succeeded,
        "agrees": summary.succeeded and summary.agrees and not summary.waits,
        "waits": summary.waits,
        "passing": summary.passing,
        "problems": summary.problems,
        "warnings": summary.refused,
        "plan": plan or None,
        "objects": {obj: asdict(each) for obj, each in summary.objects.items()},
        "events": summary.events,
    }


def print_outcome(console: Console, tenant: str, summary: RunSummary) -> None:
    """A run's figures, and a line for each thing that was refused or waits."""
    console.print(figures({tenant: summary}))
    for line in (*summary.refused, *summary.advice):
        console.print(f"[yellow]![/yellow] {escape(line)}", soft_wrap=True)


def run_for_tenant(
    console: Console,
    settings: Settings,
    tenant: str,
    job: str,
    *,
    title: str | None = None,
    ops: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunSummary:
    """Check both sides, then run a job with a progress bar."""
    contract = load_contract(settings.tenants_dir, tenant)
    locate(settings, tenant)  # what is wrong with LMS_CRM_WAREHOUSE is said before anything else
    if not settings.state_dir.exists():
        # A mistyped LMS_CRM_STATE_DIR would otherwise be an empty state that nobody notices.
        console.print(f"A new state folder: {settings.state_dir.absolute()}", soft_wrap=True, markup=False)
    store = OperationalStore.at(settings.state_dir)
    switches = SwitchBoard(store).of(tenant)
    switches.check_not_paused()
    if job == "apply":
        switches.check_may_send()
    for unseen in check_both_sides(contract, store):
        console.print(f"[yellow]![/yellow] {escape(f'{tenant}: {unseen}')}", soft_wrap=True)
    definition = build_definitions(settings).resolve_job_def(job)
    with dagster_instance(settings) as instance, progress(title or f"{tenant}: {job}") as step:
        step("starting", 0, 0)
        summary = run_job(
            definition,
            tenant,
            instance,
            step,
            ops,
        )
        troubles = _tell(settings, instance, tenant) if job != "plan" else []
    if summary.waits or not summary.succeeded:
        # Another tenant's records are the likeliest reason for a plan that changes too much. The run's outcome counts more.
        with suppress(LmsCrmError):
            for other in neighbours(contract, settings.tenants_dir, store):
                console.print(f"[yellow]![/yellow] {escape(f'{other}; {REMEDY}')}", soft_wrap=True)
    for trouble in troubles:
        console.print(f"[yellow]![/yellow] {escape(f'an alert was not sent: {trouble}')}", soft_wrap=True)
    return summary


def _tell(settings: Settings, instance: DagsterInstance, tenant: str) -> list[str]:
    """Tell people of what is amiss, where no daemon looks; a line for each thing in the way of that."""
    tenants = TenantsResource(tenants_dir=str(settings.tenants_dir), state_dir=str(settings.state_dir))
    try:
        return look_at(tenants, tenant_states(instance, tenants, [tenant], datetime.now(UTC)))
    except Exception as exc:  # noqa: BLE001 - the run is over, and what it did counts
        return [f"looking for it failed: {type(exc).__name__}"]


def figures(summaries: dict[str, RunSummary], more: dict[str, dict[str, str]] | None = None) -> Table:
    """Per tenant and object, what a run found and did, or what it would do once its plan is sent.

    `more` adds columns with one value a tenant.
    """
    waiting = bool(summaries) and all(summary.waits for summary in summaries.values())
    written = ("to create", "to update", "to archive") if waiting else ("created", "updated", "archived")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("tenant", no_wrap=True)
    table.add_column("object", no_wrap=True)
    for name in ("in LMS", "invalid", *written, "unchanged", "not taken", "writes"):
        table.add_column(name, justify="right")
    extra = list(next(iter(more.values()))) if more else []
    for name in extra:
        table.add_column(name, justify="right")
    for tenant, summary in summaries.items():
        first = True
        for obj, o in summary.objects.items():
            numbers = (
                o.in_lms,
                o.invalid,
                *((o.create, o.update, o.archive) if waiting else (o.created, o.updated, o.archived)),
                o.unchanged,
                o.rejected + o.failed + o.skipped + o.refused,
                o.write_calls,
            )
            once = [more[tenant][name] if more and first else "" for name in extra]
            table.add_row(tenant if first else "", obj, *(f"{number:,}" for number in numbers), *once)
            first = False
        table.add_section()
    return table
