"""A first full reconciliation of 100,000 learners and 500,000 enrollments in one go: memory of the process."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.results import Figure
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import running_sandbox

LEARNERS, ENROLLMENTS, COURSES = 100_000, 500_000, 200
ROOT = Path(__file__).parent.parent


def measure() -> list[Figure]:
    """Run it in a process of its own, prove the result from the sandbox's records, and give the figures."""
    size = ["--learners", str(LEARNERS), "--enrollments", str(ENROLLMENTS), "--courses", str(COURSES)]
    with tempfile.TemporaryDirectory() as folder, running_sandbox([*size, "--no-rate-limit"]) as sandbox:
        environ = {
            **os.environ,
            **sandbox.environ(),
            "LMS_CRM_STATE_DIR": f"{folder}/state",
            "LMS_CRM_TENANTS_DIR": str(unthrottled(Path(folder))),
            "DAGSTER_HOME": str(_dagster_home(Path(folder))),
        }
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "lms_crm_assets", "reconcile", "--tenant", "globex"], cwd=folder, env=environ
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        proof = prove_globex(sandbox.school, sandbox.hubspot)
    wrong = sum(len(o.missing) + len(o.surplus) + len(o.differing) for o in proof.values())
    print(f"{sum(o.held for o in proof.values()):,} records in the CRM, {seconds:.0f} s, exit code {status >> 8}")
    return [
        Figure("reconcile 100k learners, 500k enrollments: peak memory", usage.ru_maxrss / 1024, 1536, "MiB"),
        Figure("reconcile 100k learners, 500k enrollments: records that disagree", wrong, 0, "records"),
        Figure(
            "reconcile 100k learners, 500k enrollments: failed", 0 if agrees(proof) and status == 0 else 1, 0, "runs"
        ),
    ]


def unthrottled(folder: Path) -> Path:
    """The example contract without HubSpot's limit, which would be the only thing measured."""
    contract = yaml.safe_load((ROOT / "tenants" / "globex.yaml").read_text(encoding="utf-8"))
    contract["throttle"] = {"crm": {"calls_per_10_seconds": 1_000_000}}
    tenants = folder / "tenants"
    tenants.mkdir()
    (tenants / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    return tenants


def _dagster_home(folder: Path) -> Path:
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return home
