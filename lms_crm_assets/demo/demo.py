"""`lms-crm demo`: both tenants reconciled through Dagster, a second run that must find nothing, and the proof."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console

from lms_crm_assets.defs.runs import RunSummary
from lms_crm_assets.demo.proof import ObjectProof, agrees, prove_acme, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox, running_sandbox
from lms_crm_assets.reconcile import figures, reconcile_tenant
from lms_crm_assets.settings import Settings

STATE_DIR = Path(".lms-crm/demo")
TENANTS = ("acme", "globex")


def demo_settings() -> Settings:
    """The example tenants, with a state of their own."""
    return Settings(Path(os.environ.get("LMS_CRM_TENANTS_DIR", "tenants")), STATE_DIR)


def run_demo(console: Console) -> int:
    """Run it; 0 when everything converged, 1 otherwise."""
    started = time.monotonic()
    shutil.rmtree(STATE_DIR, ignore_errors=True)
    settings = demo_settings()
    with running_sandbox(["--state-dir", str(STATE_DIR / "sandbox")]) as sandbox:
        os.environ.update(sandbox.environ())
        more: dict[str, dict[str, str]] = {}
        first: dict[str, RunSummary] = {}
        for tenant in TENANTS:
            begun, calls_before = time.monotonic(), api_calls(sandbox)
            first[tenant] = reconcile_tenant(console, settings, tenant, title=f"{tenant}: first run")
            calls = api_calls(sandbox) - calls_before
            more[tenant] = {"API calls": f"{calls:,}", "seconds": f"{time.monotonic() - begun:.1f}"}
            console.print(f"{tenant}: first run, {more[tenant]['seconds']} s")
        writes_before = write_calls(sandbox)
        second = {t: reconcile_tenant(console, settings, t, title=f"{t}: second run") for t in TENANTS}
        second_run_writes = write_calls(sandbox) - writes_before
        proofs = {
            "acme": prove_acme(sandbox.moodle, sandbox.salesforce),
            "globex": prove_globex(sandbox.school, sandbox.hubspot),
        }
    converged = (
        all(summary.succeeded and not summary.undelivered for summary in (*first.values(), *second.values()))
        and all(agrees(proof) for proof in proofs.values())
        and second_run_writes == 0
    )
    _report(console, first, more, proofs, second_run_writes)
    content = {
        "converged": converged,
        "seconds": round(time.monotonic() - started, 1),
        "tenants": {tenant: _objects(summary) for tenant, summary in first.items()},
        "second_run_writes": second_run_writes,
    }
    console.print(f"DEMO_JSON: {json.dumps(content)}", soft_wrap=True, markup=False, highlight=False)
    return 0 if converged else 1


def api_calls(sandbox: Sandbox) -> int:
    """Calls to all systems, LMSs and CRMs, by their own request logs."""
    return sum(_calls(address, lambda _route: True) for address in vars(sandbox).values())


def write_calls(sandbox: Sandbox) -> int:
    """Calls that change something in the CRMs, by their own request logs."""
    return sum(_calls(address, _is_write) for address in (sandbox.salesforce, sandbox.hubspot))


def _calls(address: str, counts: Callable[[str], bool]) -> int:
    requests = httpx.get(f"{address}/_sandbox/stats").raise_for_status().json()["requests"]
    return sum(sum(by_status.values()) for route, by_status in requests.items() if counts(route))


def _is_write(route: str) -> bool:
    method, _, path = route.partition(" ")
    return method not in {"GET", "HEAD"} and "oauth" not in path and not path.endswith(("/search", "/batch/read"))


def _objects(summary: RunSummary) -> dict[str, dict[str, int]]:
    return {
        obj: {
            "in_lms": figure.in_lms,
            "invalid": figure.invalid,
            "created": figure.created,
            "updated": figure.updated,
            "unchanged": figure.unchanged,
            "rejected": figure.rejected + figure.failed + figure.skipped,
        }
        for obj, figure in summary.objects.items()
    }


def _report(
    console: Console,
    first: dict[str, RunSummary],
    more: dict[str, dict[str, str]],
    proofs: dict[str, dict[str, ObjectProof]],
    second_run_writes: int,
) -> None:
    console.print()
    console.print("The first run, from empty CRMs:")
    console.print(figures(first, more))
    for summary in first.values():
        for line in (*summary.problems, *summary.refused):
            console.print(f"[yellow]![/yellow] {line}", soft_wrap=True)
    console.print()
    for tenant, proof in proofs.items():
        wrong = sum(len(o.missing) + len(o.surplus) + len(o.differing) for o in proof.values())
        held = sum(o.held for o in proof.values())
        console.print(
            f"[green]✓[/green] {tenant}: all {held:,} records in the CRM agree with the LMS, read back one by one"
            if not wrong
            else f"[red]✗[/red] {tenant}: {wrong:,} records in the CRM disagree with the LMS: {_examples(proof)}"
        )
    mark = "[red]✗[/red]" if second_run_writes else "[green]✓[/green]"
    console.print(f"{mark} the second run sent {second_run_writes} write calls")
    console.print("\nSee it in the Dagster UI: [bold]make dev[/bold], then open the address it prints.\n")


def _examples(proof: dict[str, ObjectProof]) -> str:
    found = [
        f"{obj} {what} {key}"
        for obj, o in proof.items()
        for what, keys in (("missing", o.missing), ("surplus", o.surplus), ("differing", list(o.differing)))
        for key in keys
    ]
    return ", ".join(found[:5])
