"""A nightly run that finds a million records as they should be, against reading both sides.

The sandbox's school and HubSpot, as in `reconcile_100k`: 100,000 learners and 500,000 enrollments, which the CRM holds with
their completions. The limit reads the same through the same adapters into raw files and does nothing else; each is a process
of its own, in turns. `python -m benchmarks.nightly 0.01` tries it with a hundredth of that.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.reconcile_100k import COURSES, ENROLLMENTS, LEARNERS, unthrottled
from benchmarks.results import Figure
from benchmarks.run_cost import dagster_home
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox, running_sandbox
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.landing import land
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.snapshot.capture import land_records
from tests.sandbox_control import writes

ROUNDS = 3
_TENANT = "globex"
_RECONCILE = ["-m", "lms_crm_assets", "reconcile", "--tenant", _TENANT]
_READ = ["-m", "benchmarks.nightly", "read"]


@dataclass(frozen=True)
class Took:
    """Seconds by the clock, and of the process's CPU; its peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


def measure(scale: float = 1.0) -> list[Figure]:
    """Fill the CRM, then read both sides and reconcile in turns; the figures."""
    learners, enrollments = int(LEARNERS * scale), int(ENROLLMENTS * scale)
    size = ["--learners", str(learners), "--enrollments", str(enrollments), "--courses", str(COURSES)]
    with tempfile.TemporaryDirectory() as name, running_sandbox([*size, "--no-rate-limit"]) as sandbox:
        folder = Path(name)
        environ = {
            **os.environ,
            **sandbox.environ(),
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "LMS_CRM_STATE_DIR": f"{folder}/state",
            "LMS_CRM_TENANTS_DIR": str(unthrottled(folder)),
            "DAGSTER_HOME": str(dagster_home(folder)),
        }
        first = _process(_RECONCILE, folder, environ)
        print(f"the first run: {first.wall:.0f} s, {first.peak:,.0f} MiB", flush=True)
        before = writes(sandbox.hubspot).total()
        limits, runs = [], []
        for _ in range(ROUNDS):
            limits.append(_process(_READ, folder, environ))
            runs.append(_process(_RECONCILE, folder, environ))
            print(f"read {limits[-1]}, reconciled {runs[-1]}", flush=True)
        written = writes(sandbox.hubspot).total() - before
        held = _held(sandbox)
    wall, cpu = (
        median(ran.__dict__[what] / read.__dict__[what] for ran, read in zip(runs, limits, strict=True))
        for what in ("wall", "cpu")
    )
    print(f"a nightly run of {held:,} records: {wall:.2f} × reading both sides, of the processor {cpu:.2f} ×")
    return [
        Figure("a nightly run without changes, 1M records: time against reading both sides", wall, 1.25, "×"),
        Figure("a nightly run without changes, 1M records: write calls", written, 0, "calls"),
        Figure("a nightly run without changes, 1M records: peak memory", max(r.peak for r in runs), 1024, "MiB"),
    ]


def _held(sandbox: Sandbox) -> int:
    proof = prove_globex(sandbox.school, sandbox.hubspot)
    if not agrees(proof):
        told = "; ".join(
            f"{name}: expected {each.expected:,}, held {each.held:,}, {len(each.missing):,} missing, {len(each.surplus):,} surplus, "
            f"{len(each.differing):,} differ in {sorted({field for fields in each.differing.values() for field in fields})}"
            for name, each in proof.items()
            if not each.agrees
        )
        raise SystemExit(f"the CRM does not hold what the school does: {told}")
    return sum(each.held for each in proof.values())


def _process(arguments: list[str], folder: Path, environ: dict[str, str]) -> Took:
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environ, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} ended with {status >> 8}")
    return Took(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _read() -> None:
    """Read both sides as a full run does, into files, one after the other."""
    contract = load_contract(Path(os.environ["LMS_CRM_TENANTS_DIR"]), _TENANT)
    store = OperationalStore.at(Path(os.environ["LMS_CRM_STATE_DIR"]))
    with tempfile.TemporaryDirectory() as folder:
        lms, crm = lms_adapter(contract, store), crm_adapter(contract, store)
        land(lms.pull(list(LmsEntity), None), list(LmsEntity), Path(folder, "lms"))
        for obj in contract.in_order():
            land_records(crm.snapshot(object_spec(contract, obj)), Path(folder, obj))
        lms.close()
        crm.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["read"]:
            _read()
        case arguments:
            for figure in measure(*map(float, arguments)):
                print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:,.2f} {figure.unit}")
