"""Backup and restore of a warehouse of a million records with twelve fields each, and the first delta after it.

The delta takes what the CRM holds into the ledger, once. To read a million records of an LMS and a CRM is limited by them
and is not in it (see the parts `ingest` and `reconcile`).
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.diff import SPEC
from benchmarks.results import Figure
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import scalar

ROOT = Path(__file__).parent.parent
ROWS, EDITS = 1_000_000, 10_000
_WITHIN_SECONDS = 15 * 60
_KIB = 1024


def measure() -> list[Figure]:
    """Lose a state folder and have it back; the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state, warehouse = folder / "state", folder / "state" / "warehouse" / "acme.duckdb"
        warehouse.parent.mkdir(parents=True)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.diff", "build", str(warehouse), str(ROWS), str(EDITS)],
            cwd=ROOT,
            check=True,
        )
        size = warehouse.stat().st_size / _KIB / _KIB
        environ = {**os.environ, "LMS_CRM_STATE_DIR": str(state), "LMS_CRM_TENANTS_DIR": str(ROOT / "tenants")}
        environ.pop("LMS_CRM_STORE_URL", None)
        backup = _timed(environ, "backup", str(folder / "backup"))
        shutil.rmtree(state)
        restore = _timed(environ, "restore", str(folder / "backup"))
        answer = folder / "answer.json"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.backup", "delta", str(warehouse), str(answer)], cwd=ROOT, check=True
        )
        found = json.loads(answer.read_bytes())
    print(
        f"{size:,.0f} MiB: backup {backup:.1f} s, restore {restore:.1f} s, first delta {found['seconds']:.1f} s"
        f" with {found['peak']:,.0f} MiB at most"
    )
    name = f"restore of a warehouse with {ROWS:,} × 12 values"
    return [
        Figure("backup of a warehouse with 1,000,000 × 12 values", backup, _WITHIN_SECONDS, "s"),
        Figure(f"{name}, with the first delta", restore + found["seconds"], _WITHIN_SECONDS, "s"),
        Figure(f"{name}: peak memory of the first delta", found["peak"], 1024, "MiB"),
        Figure(f"{name}: records misjudged", found["wrong"], 0, "records"),
    ]


def _timed(environ: dict[str, str], *words: str) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "lms_crm_assets", *words], cwd=ROOT, env=environ, check=True)
    return time.monotonic() - started


def _delta(warehouse: Path, answer: Path) -> None:
    """The edits that somebody made in the CRM are the delta, and none of them is called drift any more."""
    with connect(warehouse) as con:
        started = time.monotonic()
        build_delta(con, SPEC)
        seconds = time.monotonic() - started
        wrong = scalar(
            con,
            "SELECT count(*) FROM delta.course d FULL JOIN edit e ON e.key = d.external_id"
            " WHERE d.external_id IS NULL OR e.key IS NULL OR d.class <> 'ours'",
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB
    answer.write_text(json.dumps({"seconds": seconds, "wrong": wrong, "peak": peak}), encoding="utf-8")


if __name__ == "__main__" and sys.argv[1:2] == ["delta"]:
    _delta(Path(sys.argv[2]), Path(sys.argv[3]))
