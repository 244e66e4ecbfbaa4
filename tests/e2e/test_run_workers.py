"""Past one process: twenty tenants over two workers, of which one is killed with its runs, and all twenty converge.

The parts are real: Postgres for Dagster and the operational store, Redis, Dagster's daemon with its queue, Celery's workers
as `deploy/celery` starts them. Judged from the schools' and the portals' own records.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pytest
import redis
from dagster._core.instance.ref import InstanceRef
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from lms_crm_assets.defs.celery_runs import TaskRunLauncher
from lms_crm_assets.demo.proof import agrees, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.conftest import TENANTS
from tests.deploy.manifests import DEPLOY
from tests.postgres import PASSWORD, Server
from tests.sandbox_control import fault, records, statistics, writes

pytestmark = pytest.mark.long

NUMBER = 20
NAMES = [f"t{n:02d}" for n in range(NUMBER)]
PATIENCE_SECONDS = 900.0
NEVER = "0 0 29 2 *"
WORKER = ["-m", "celery", "--app", "lms_crm_assets.defs.run_workers", "worker", "--concurrency", "2", "--hostname"]

T = TypeVar("T")
Status = dg.DagsterRunStatus


@dataclass(frozen=True)
class Systems:
    """The addresses of the tenants' schools and portals, in the tenants' order."""

    school: list[str]
    hubspot: list[str]


def wait_for(what: str, look: Callable[[], T]) -> T:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < give_up_at, what
        time.sleep(0.2)
    return found


@contextmanager
def running(arguments: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a group of its own, ended afterwards; what does not end by itself is killed."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """The whole group, as a machine that loses its power."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def broker(tmp_path: Path, unused_port: int) -> Iterator[str]:
    """The address of a Redis of the test's own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis on this machine: redis-server is not in the PATH")
    options = ["--port", str(unused_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        with redis.Redis(port=unused_port) as client:
            wait_for("Redis answers", lambda: _answers(client))
        yield f"redis://127.0.0.1:{unused_port}/0"
        process.kill()


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[Systems]:
    ready = tmp_path / "systems.json"
    with running(["-m", "tests.e2e.many_systems", str(ready), str(NUMBER)], tmp_path / "systems.log"):
        wait_for("the systems answer", ready.exists)
        yield Systems(**json.loads(ready.read_text(encoding="utf-8")))


@pytest.fixture
def instance(
    systems: Systems,
    postgres: Server,
    database: str,
    broker: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    """Dagster as deploy/celery configures it, but that it looks more often; the environment of all processes."""
    (tmp_path / "tenants").mkdir()
    contract = (TENANTS / "globex.yaml").read_text(encoding="utf-8")
    due = datetime.now(UTC) + timedelta(minutes=2)
    for name, school, portal in zip(NAMES, systems.school, systems.hubspot, strict=True):
        text = contract.replace("tenant: globex", f"tenant: {name}")
        text = text.replace("${GLOBEX_LMS_URL}", school).replace("${GLOBEX_CRM_URL}", portal)
        text += f'schedules: {{full: "{due:%M %H} * * *", incremental: "{NEVER}"}}\n'
        (tmp_path / "tenants" / f"{name}.yaml").write_text(text, encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    text = (DEPLOY / "celery" / "dagster.yaml").read_text(encoding="utf-8")
    for old, new in {
        "postgres_db:\n": f"postgres_db:\n      port: {postgres.port}\n",
        "poll_interval_seconds: 30": "poll_interval_seconds: 2",
        "start_timeout_seconds: 900": "start_timeout_seconds: 300",
        "/tmp/dagster": str(tmp_path / "artifacts"),
    }.items():
        assert old in text
        text = text.replace(old, new)
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
    (home / "workspace.yaml").write_text(
        "load_from: [{python_module: {module_name: lms_crm_assets.definitions, location_name: lms_crm_assets}}]\n",
        encoding="utf-8",
    )
    postgres.run(f'DROP DATABASE IF EXISTS "{database}_dagster"')
    postgres.run(f'CREATE DATABASE "{database}_dagster"')
    environ = {
        **Sandbox(*[""] * 8).environ(),
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_HOST": "127.0.0.1",
        "DAGSTER_PG_DB": f"{database}_dagster",
        "DAGSTER_PG_USERNAME": "tests",
        "DAGSTER_PG_PASSWORD": PASSWORD,
        "LMS_CRM_BROKER_URL": broker,
        "LMS_CRM_STORE_URL": postgres.url(database),
        "LMS_CRM_STATE_DIR": str(tmp_path / "state"),
        "LMS_CRM_TENANTS_DIR": str(tmp_path / "tenants"),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LMS_CRM_WAREHOUSE", raising=False)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as found:
        found.add_dynamic_partitions("tenants", NAMES)
        yield found


def test_twenty_tenants_over_two_workers_converge_though_one_is_killed(
    instance: dg.DagsterInstance, systems: Systems, tmp_path: Path
) -> None:
    workspace = str(tmp_path / "home" / "workspace.yaml")
    for portal in systems.hubspot:
        # Slow enough that the kill strikes in the middle of a run.
        fault(portal, {"route": "^(PATCH|POST) /crm", "kind": "delay", "seconds": 0.3})
    with ExitStack() as stack:
        daemon = stack.enter_context(
            running(["-m", "dagster._daemon", "run", "-w", workspace], tmp_path / "daemon.log")
        )
        workers = {
            name: stack.enter_context(running([*WORKER, f"{name}@here"], tmp_path / f"{name}.log"))
            for name in ("one", "two")
        }
        # The schedule starts all twenty within two minutes.
        lost = wait_for("both workers are at runs, and one run has written", lambda: _under_way(instance, systems))
        kill(workers["two"])
        for portal in systems.hubspot:
            fault(portal)

        def converged() -> bool:
            assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()[-3_000:]
            assert workers["one"].poll() is None, (tmp_path / "one.log").read_text()[-3_000:]
            done = {run.tags["dagster/partition"] for run in _runs(instance, Status.SUCCESS)}
            return done == set(NAMES)

        wait_for("a run of each tenant succeeds", converged)

    off = [
        name
        for name, school, portal in zip(NAMES, systems.school, systems.hubspot, strict=True)
        if not agrees(prove_globex(school, portal, created_by_us=True))
    ]
    assert off == []
    # None was made that another was made for already, also not for a moment.
    for portal in systems.hubspot:
        counted = statistics(portal)["records"]
        for kind in counted.keys() - {"associations"}:
            counts = counted[kind]
            held = [record for record in records(portal, kind) if not record["archived"]]
            assert counts.get("created", 0) == len(held), (portal, kind)
    failed = {run.run_id: run for run in _runs(instance, Status.FAILURE)}
    assert lost & failed.keys()
    # Nothing else failed but what the killed worker had, and each was begun again once.
    again = {run.parent_run_id: run for run in _runs(instance, Status.SUCCESS) if run.parent_run_id}
    assert failed.keys() == again.keys()
    assert len(failed) <= 2
    assert len(_runs(instance, Status.SUCCESS)) == NUMBER


def _runs(instance: dg.DagsterInstance, status: Status) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(statuses=[status], job_name="full_reconcile")))


def _under_way(instance: dg.DagsterInstance, systems: Systems) -> set[str]:
    """The runs that worker two is at, once one of them has written and worker one is at some too; else none."""
    launcher = instance.run_launcher
    assert isinstance(launcher, TaskRunLauncher)
    active = launcher.celery.control.inspect(timeout=2.0).active() or {}
    if not all(active.get(name) for name in ("one@here", "two@here")):
        return set()
    tasks = {task["id"] for task in active["two@here"]}
    runs = [run for run in _runs(instance, Status.STARTED) if run.tags.get(DAGSTER_CELERY_TASK_ID_TAG) in tasks]
    places = [NAMES.index(run.tags["dagster/partition"]) for run in runs]
    return {run.run_id for run in runs} if any(writes(systems.hubspot[n]) for n in places) else set()
