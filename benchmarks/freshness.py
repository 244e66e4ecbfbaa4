"""`python -m benchmarks.freshness`: from an edit in the LMS to the value in the CRM, by webhook, with `lms-crm dev`.

The edits are made in the sandbox's school, whose webhooks `lms-crm dev` has ordered; the CRM's own records are looked at.
First with nothing else under way, then while a full reconciliation of the same tenant runs against a slow CRM.
"""

import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.results import Figure, show
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.sandbox_control import fault, mutate, records, writes

_PROJECT = Path(__file__).parents[1]
_QUIET, _BESIDE = 40, 12
_SEED = random.randrange(10**6)
_PATIENCE_SECONDS = 300.0
_SLOW = {"route": "^(PATCH|POST) /crm", "kind": "delay", "seconds": 1.5}


class Dev:
    """`lms-crm dev` in a folder of its own."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.environ = {
            **os.environ,
            **sandbox.environ(),
            "DAGSTER_HOME": str(folder),
            "LMS_CRM_STATE_DIR": str(folder / ".lms-crm" / "demo"),
            "LMS_CRM_TENANTS_DIR": str(folder / "tenants"),
        }

    def reconcile(self) -> "subprocess.Popen[bytes]":
        """Start a full reconciliation of globex."""
        command = [sys.executable, "-m", "lms_crm_assets", "reconcile", "--tenant", "globex"]
        return subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=subprocess.DEVNULL)

    def stop_schedules(self) -> None:
        """From now on globex runs when it is told to, or by its events."""
        file = self.folder / "tenants" / "globex.yaml"
        contract = yaml.safe_load(file.read_text(encoding="utf-8"))
        contract["schedules"] = {"full": "0 0 1 1 *", "incremental": "0 0 1 1 *"}
        file.write_text(yaml.safe_dump(contract), encoding="utf-8")

    def seconds_until_seen(self, learner: str, name: str) -> float:
        """Rename a learner in the LMS, and wait until the CRM says so."""
        started = time.monotonic()
        mutate(self.sandbox.school, object="learners", op="update", id=learner, fields={"family_name": name})
        _wait(
            lambda: name in {record["properties"]["lastname"] for record in records(self.sandbox.hubspot, "contacts")}
        )
        return time.monotonic() - started


@contextmanager
def running_dev() -> Iterator[Dev]:
    """Start it, and leave no process behind."""
    with tempfile.TemporaryDirectory(prefix="lms-crm-freshness-") as name:
        folder = Path(name)
        for file in ("workspace.yaml", "dagster.yaml"):
            shutil.copy(_PROJECT / file, folder)
        shutil.copytree(_PROJECT / "tenants", folder / "tenants")
        log = folder / "dev.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "lms_crm_assets", "dev", "--port", "0", "--fresh"],
                cwd=folder,
                env={**os.environ, "DAGSTER_HOME": name},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(lambda: "The sandbox:" in log.read_text(encoding="utf-8"))
            line = next(row for row in log.read_text(encoding="utf-8").splitlines() if row.startswith("The sandbox:"))
            yield Dev(folder, Sandbox(**dict(re.findall(r"(\w+) (http://\S+?)(?:,|$)", line))))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def main() -> None:
    """Measure, show, and say by the exit code whether the goals are met."""
    print(f"seed {_SEED}")
    chance = random.Random(_SEED)
    with running_dev() as dev:
        assert dev.reconcile().wait() == 0
        held = {r["properties"]["lms_user_id"] for r in records(dev.sandbox.hubspot, "contacts")}
        learners = [r["id"] for r in records(dev.sandbox.school, "learners") if r["id"] in held]
        chance.shuffle(learners)
        quiet = []
        for n in range(_QUIET):
            time.sleep(chance.uniform(0, 2))
            quiet.append(dev.seconds_until_seen(learners.pop(), f"Quiet {n}"))
        print(f"quiet: p50 {statistics.median(quiet):.1f} s, longest {max(quiet):.1f} s", flush=True)
        dev.stop_schedules()
        while dev.reconcile().wait():  # the five minutes' pull is under way
            time.sleep(1)
        fault(dev.sandbox.hubspot, _SLOW)
        for learner in learners[_BESIDE:]:
            mutate(
                dev.sandbox.hubspot,
                object="contacts",
                op="update",
                id=_crm_id(dev, learner),
                properties={"lastname": "x"},
            )
        before = writes(dev.sandbox.hubspot).total()
        beside: list[float] = []
        full = dev.reconcile()
        _wait(lambda: writes(dev.sandbox.hubspot).total() > before)
        while full.poll() is None and len(beside) < _BESIDE:
            beside.append(dev.seconds_until_seen(learners.pop(0), f"Beside {len(beside)}"))
        during = len(beside) if full.poll() is None else len(beside) - 1
        fault(dev.sandbox.hubspot)
        full.wait()
    figures = [
        Figure("webhook to CRM, quiet: p95 of 40", statistics.quantiles(quiet, n=20)[-1], 10.0, "s"),
        Figure(
            f"webhook to CRM beside a full reconciliation: the longest of {during}", max(beside[:during]), 60.0, "s"
        ),
    ]
    print(
        f"quiet: p50 {statistics.median(quiet):.1f} s, longest {max(quiet):.1f} s; beside: {[round(s, 1) for s in beside]}"
    )
    show(figures)
    sys.exit(not all(figure.ok for figure in figures))


def _crm_id(dev: Dev, learner: str) -> str:
    found = (r["id"] for r in records(dev.sandbox.hubspot, "contacts") if r["properties"]["lms_user_id"] == learner)
    return str(next(found))


def _wait(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError("it does not come")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
