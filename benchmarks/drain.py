"""`python -m benchmarks.drain`: 100,000 events that wait in the inbox, each of a learner of its own, until all are settled.

The simulated HubSpot keeps its limit of 190 calls in ten seconds. The CRM is empty, so that each event is a record.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from benchmarks.results import Figure, show
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import run_job
from lms_crm_assets.demo.sandbox_process import running_sandbox
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.settings import Settings
from tests.sandbox_control import records, writes

EVENTS = 100_000
_PAGE = 500
_GOAL_SECONDS = 300.0


def main() -> None:
    """Measure, show, and say by the exit code whether the goals are met."""
    size = ["--learners", str(EVENTS), "--enrollments", "1000", "--courses", "20"]
    with tempfile.TemporaryDirectory(prefix="lms-crm-drain-") as folder, running_sandbox(size) as sandbox:
        os.environ.update(sandbox.environ())
        settings = Settings(Path(__file__).parents[1] / "tenants", Path(folder))
        inbox = Inbox.at(settings.state_dir)
        ids = [row["id"] for row in records(sandbox.school, "learners")]
        for start in range(0, len(ids), _PAGE):
            inbox.add([_delivery(key) for key in ids[start : start + _PAGE]])
        print(f"{inbox.depth('globex').pending:,} events wait", flush=True)
        job = build_definitions(settings).resolve_job_def("sync_events")
        started, runs = time.monotonic(), 0
        with dg.DagsterInstance.ephemeral() as instance:
            while (depth := inbox.depth("globex")).pending + depth.leased:
                summary = run_job(job, "globex", instance)
                runs += 1
                contacts = summary.objects.get("contact")
                print(f"{time.monotonic() - started:.0f} s: {contacts} {summary.problems}", flush=True)
                if not summary.succeeded:
                    break
        seconds = time.monotonic() - started
        held, calls = len(records(sandbox.hubspot, "contacts")), writes(sandbox.hubspot).total()
        left = inbox.depth("globex")
    print(f"{runs} runs, {held:,} contacts in the CRM by {calls:,} write calls; left: {left}")
    figures = [
        Figure(f"drain of {EVENTS:,} events at 190 calls in 10 s", seconds, _GOAL_SECONDS, "s"),
        Figure("drain: events that are left", left.pending + left.leased, 0, "events"),
    ]
    show(figures)
    sys.exit(not all(figure.ok for figure in figures))


def _delivery(key: str) -> Delivery:
    body = {
        "type": "changes",
        "timestamp": "2026-11-27T00:00:00Z",
        "data": {"items": [{"entity": "learners", "id": key}]},
    }
    return Delivery("globex", Side.LMS, f"msg_{key}", "application/json", json.dumps(body).encode())


if __name__ == "__main__":
    main()
