"""What a run costs that finds nothing to do: a small tenant, in step, reconciled again and again in one process.

The job with all its assets and checks, and as `lms-crm reconcile` runs it once Python is up: both sides asked whether they
answer, Dagster's instance opened, people told. The sandbox answers at once, so that hardly anything but our own work is in it.
"""

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from benchmarks.results import Figure
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.instance import dagster_instance
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.sandbox_process import running_sandbox
from lms_crm_assets.reconcile import run_for_tenant
from lms_crm_assets.settings import Settings
from lms_crm_assets.telemetry import logs

ROOT = Path(__file__).parent.parent
SMALL = ["--learners", "20", "--enrollments", "40", "--courses", "3", "--no-rate-limit"]
ROUNDS = 5
_GOAL_SECONDS = 3.0
_TENANTS = ("acme", "globex")


def measure() -> list[Figure]:
    """Both example tenants in turns; the figures."""
    with tempfile.TemporaryDirectory() as folder, running_sandbox(SMALL) as sandbox:
        logs.for_commands()
        settings = Settings(ROOT / "tenants", Path(folder) / "state")
        with patch.dict(os.environ, {**sandbox.environ(), "DAGSTER_HOME": str(dagster_home(Path(folder)))}):
            return _measured(settings)


def dagster_home(folder: Path) -> Path:
    """A home like the project's own, whose state lies in the folder."""
    home = folder / "dagster"
    home.mkdir()
    text = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
    (home / "dagster.yaml").write_text(text.replace(".lms-crm/dagster", str(home)), encoding="utf-8")
    return home


def _measured(settings: Settings) -> list[Figure]:
    took: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with dagster_instance(settings) as instance:
        job = build_definitions(settings).resolve_job_def("full_reconcile")
        ways: Mapping[str, Callable[[str], RunSummary]] = {
            "": lambda tenant: run_job(job, tenant, instance),
            ", with all that lms-crm reconcile does around it": partial(
                run_for_tenant, Console(file=io.StringIO()), settings, job="full_reconcile"
            ),
        }
        for tenant in _TENANTS:
            _took(tenant, ways[""])
        for _ in range(ROUNDS):
            for tenant in _TENANTS:
                for name, run in ways.items():
                    took.setdefault((tenant, name), []).append(_took(tenant, run))
    figures = []
    for (tenant, name), found in took.items():
        wall, cpu = (statistics.median(each) for each in zip(*found, strict=True))
        print(
            f"a run of {tenant} that finds nothing to do{name}: {wall:.2f} s, of the processor {cpu:.2f} s", flush=True
        )
        figures.append(Figure(f"a run's fixed cost, nothing to do, {tenant}{name}", wall, _GOAL_SECONDS, "s"))
    return figures


def _took(tenant: str, run: Callable[[str], RunSummary]) -> tuple[float, float]:
    """Seconds by the clock and of this process's CPU."""
    began, cpu = time.monotonic(), time.process_time()
    summary = run(tenant)
    seconds = time.monotonic() - began, time.process_time() - cpu
    if not (summary.succeeded and summary.agrees):
        raise SystemExit(f"the run of {tenant} did not end in agreement: {summary.problems}")
    return seconds


if __name__ == "__main__":
    for figure in measure():
        print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:,.2f} {figure.unit}")
