"""A fleet as it stands after a day: contracts, and what a run of each CRM left behind, once for every tenant.

Two tenants run for real, against the sandbox: a full run, one that finds nothing, and an incremental one that finds nothing.
What these left in Dagster's history and in the operational store is then copied for all others of their CRM.
"""

import json
import shutil
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import dagster as dg
import yaml
from dagster._core.storage.dagster_run import DagsterRun
from dagster._serdes import serialize_value

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.edge import TENANTS, key
from lms_crm_assets.defs.jobs import full_reconcile, incremental_pull
from lms_crm_assets.defs.runs import run_job
from lms_crm_assets.defs.started import DUE_TAG, SCHEDULE_TAG
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.settings import Settings
from tests.sandbox_control import requests

ROOT = Path(__file__).parents[1]
EXAMPLES = ("globex", "acme")
_EVENTS_A_TENANT = 20
_EVERY = timedelta(minutes=30)
_CALLS = "calls.json"


@dataclass(frozen=True)
class Fleet:
    """Where its parts lie; `runs` is how many runs each tenant has behind it, the oldest of them a full one."""

    folder: Path
    tenants: int
    runs: int

    @property
    def settings(self) -> Settings:
        """The settings of the code location."""
        return Settings(self.folder / "tenants", self.folder / "state")

    def names(self) -> list[str]:
        """The tenants, HubSpot's and Salesforce's in turn."""
        return [f"t{number:04d}" for number in range(self.tenants)]

    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance, with the storages of the project's dagster.yaml."""
        home = self.folder / "home"
        if not home.exists():
            home.mkdir()
            text = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
            (home / "dagster.yaml").write_text(text.replace(".lms-crm/", f"{home}/"), encoding="utf-8")
        return dg.DagsterInstance.from_config(str(home))

    def fill(self, sandbox: Sandbox) -> None:
        """Make it."""
        for number, name in enumerate(self.names()):
            self._write_contract(name, EXAMPLES[number % 2])
        with self.instance() as instance:
            self._run_two(instance, (sandbox.hubspot, sandbox.salesforce))
            instance.add_dynamic_partitions(str(TENANTS.name), self.names())
            for name in self.names()[2:]:
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(key("crm_snapshot", CrmObject.CONTACT), partition=name)
                )
            self._copy_runs(instance)
        self._copy_figures()
        self._fill_inbox()

    def _write_contract(self, name: str, example: str) -> None:
        file = self.settings.tenants_dir / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        contract = yaml.safe_load((ROOT / "tenants" / f"{example}.yaml").read_text(encoding="utf-8"))
        contract |= {"tenant": name, "schedules": {"full": "0 2 * * *", "incremental": "*/30 * * * *"}}
        file.write_text(yaml.safe_dump(contract), encoding="utf-8")

    def _run_two(self, instance: dg.DagsterInstance, crms: tuple[str, str]) -> None:
        """Run the first two tenants, and keep how many calls each run took."""
        definitions, calls = build_definitions(self.settings), {}
        for name, example, crm in zip(self.names(), EXAMPLES, crms, strict=False):
            for what, job in (("first", full_reconcile), ("full", full_reconcile), ("incremental", incremental_pull)):
                before = _calls(crm)
                done = run_job(definitions.resolve_job_def(job.name), name, instance)
                assert done.succeeded, done.problems
                calls[f"{example}, {what}"] = _calls(crm) - before
        (self.folder / _CALLS).write_text(json.dumps(calls), encoding="utf-8")

    def _copy_runs(self, instance: dg.DagsterInstance) -> None:
        """The runs of each tenant, in the order of time; of the newest, and of the full one, the events too."""
        now = datetime.now(UTC)
        newest = now.replace(minute=now.minute - now.minute % 30, second=0, microsecond=0)
        like = {
            (job.name, number): instance.get_runs(
                dg.RunsFilter(job_name=job.name, tags={"dagster/partition": name}), limit=1
            )[0]
            for job in (full_reconcile, incremental_pull)
            for number, name in enumerate(self.names()[:2])
        }
        runs, tags, shards = [], [], []
        for place in reversed(range(self.runs)):
            is_full, due = place == self.runs - 1, newest - place * _EVERY
            job, schedule = (full_reconcile, "full") if is_full else (incremental_pull, "incremental")
            created, ended = (str((due + after).replace(tzinfo=None)) for after in _AFTER)
            for number, name in enumerate(self.names()):
                run = _run_like(like[job.name, number % 2], name, schedule, due)
                row = (run.run_id, run.job_name, "SUCCESS", serialize_value(run), name, created, ended)
                runs.append((*row, *((due + after).timestamp() for after in _AFTER)))
                tags += [(run.run_id, tag, value) for tag, value in run.tags.items()]
                if is_full or place == 0:
                    shards.append((like[job.name, number % 2].run_id, run.run_id))
        home = self.folder / "home" / "dagster" / "history"
        with closing(sqlite3.connect(home / "runs.db")) as con, con:
            columns = "run_id, pipeline_name, status, run_body, partition, create_timestamp, update_timestamp"
            con.executemany(
                f"INSERT INTO runs ({columns}, start_time, end_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", runs
            )
            con.executemany("INSERT INTO run_tags (run_id, key, value) VALUES (?, ?, ?)", tags)
        for like_id, run_id in shards:
            file = home / "runs" / f"{run_id}.db"
            shutil.copy(home / "runs" / f"{like_id}.db", file)
            with closing(sqlite3.connect(file)) as con, con:
                con.execute("UPDATE event_logs SET run_id = ?", [run_id])

    def _copy_figures(self) -> None:
        """What the two have in the operational store, for the others under names of their own."""
        with closing(apsw.Connection(str(self.settings.state_dir / "ops.sqlite"))) as con, con:
            for number, name in enumerate(self.names()[2:]):
                like = self.names()[number % 2]
                for table in ("metrics", "systems"):
                    columns = ", ".join(row[1] for row in con.execute(f"PRAGMA table_info({table})"))
                    rest = columns.removeprefix("tenant, ")
                    con.execute(
                        f"INSERT INTO {table} ({columns}) SELECT ?, {rest} FROM {table} WHERE tenant = ?", (name, like)
                    )
            for table in ("quotas", "pace", "latencies", "turns"):
                columns = ", ".join(row[1] for row in con.execute(f"PRAGMA table_info({table})"))
                kept = list(con.execute(f"SELECT {columns} FROM {table} LIMIT 200"))
                marks = ", ".join("?" * len(columns.split(", ")))
                for name in self.names()[2:]:
                    con.executemany(
                        f"INSERT INTO {table} ({columns}) VALUES ({marks})",
                        [(f"{row[0]} {name}", *row[1:]) for row in kept],
                    )

    def _fill_inbox(self) -> None:
        inbox = Inbox.at(self.settings.state_dir)
        for name in self.names():
            inbox.add(
                [
                    Delivery(name, Side.LMS, f"msg_{number}", "application/json", b'{"type": "changes"}')
                    for number in range(_EVENTS_A_TENANT)
                ]
            )


# Of a run's due time: when it was made, and when it ended.
_AFTER = (timedelta(seconds=5), timedelta(seconds=35))


def calls_of_runs(folder: Path) -> dict[str, int]:
    """How many calls of the CRM each of the runs took that were made for real."""
    found: dict[str, int] = json.loads((folder / _CALLS).read_text(encoding="utf-8"))
    return found


def _calls(address: str) -> int:
    return sum(sum(by_status.values()) for route, by_status in requests(address).items() if "oauth" not in route)


def _run_like(run: DagsterRun, name: str, schedule: str, due: datetime) -> DagsterRun:
    tags = {
        "dagster/partition": name,
        SCHEDULE_TAG: schedule,
        DUE_TAG: due.isoformat(),
        "dagster/schedule_name": f"{schedule}s",
        "dagster/run_key": f"{schedule} {name} {due.isoformat()}",
    }
    return run._replace(run_id=str(uuid.uuid4()), tags={**run.tags, **tags})
