"""`python -m benchmarks.edge [TENANTS RUNS]`: what a thousand tenants cost the code location while none has anything to do.

Each tenant has a day's runs behind it (`fleet`), one every half hour. In a process of its own, as Dagster's code server is one:
how long the definitions load, one tick of each schedule and sensor that looks at tenants, and its memory. Dagster ends a tick
after 60 s; a schedule's begins every minute. The times are the process's CPU time, of the second tick, since the first reads
all contracts; of `due` every tenant is, and nobody has looked since.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.fleet import Fleet, calls_of_runs
from benchmarks.results import Figure, show
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.retention import purge_runs
from lms_crm_assets.demo.sandbox_process import running_sandbox
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.metrics import figures
from lms_crm_assets.settings import Settings

TENANTS, RUNS = 1_000, 49
_TICK_SECONDS = 60.0
_PURGED = 300
_BEGAN = time.process_time()


def main(tenants: int = TENANTS, runs: int = RUNS) -> None:
    """Measure, show, and say by the exit code whether the goals are met."""
    with tempfile.TemporaryDirectory(prefix="lms-crm-edge-") as folder, running_sandbox() as sandbox:
        os.environ.update(sandbox.environ())
        fleet = Fleet(Path(folder), tenants, runs)
        fleet.fill(sandbox)
        print(f"calls of a run: {calls_of_runs(fleet.folder)}", flush=True)
        command = [sys.executable, "-m", "benchmarks.edge", "--look", folder, str(tenants), str(runs)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        told: dict[str, float] = json.loads(said.splitlines()[-1])
        kept = fleet.settings.state_dir
        stores = {name: (kept / f"{name}.sqlite").stat().st_size / 2**20 for name in ("ops", "inbox")}
    what = f"{tenants:,} tenants"
    print({name: round(value, 2) for name, value in {**told, **stores}.items()})
    ticks = {name.removeprefix("tick "): value for name, value in told.items() if name.startswith("tick ")}
    found = [
        Figure(f"{what}: definitions load", told["load"], 30, "s"),
        *(Figure(f"{what}: one tick of {name}", value, _TICK_SECONDS / 2, "s") for name, value in ticks.items()),
        Figure(f"{what}: 1,000 old runs deleted", told["purge"], 220, "s"),
        Figure(f"{what}: memory of the code location", told["memory"], 1024, "MiB"),
        Figure(f"{what}: what waits in the inbox, and whose", told["inbox"], 1, "s"),
        Figure(f"{what}: all figures of the store", told["figures"], 5, "s"),
        Figure(f"{what}: the operational store", stores["ops"], 512, "MiB"),
    ]
    show(found)
    sys.exit(not all(figure.ok for figure in found))


def look(folder: Path, tenants: int, runs: int) -> dict[str, float]:
    """The seconds and MiB by name, as the code location finds them."""
    settings = Settings(folder / "tenants", folder / "state")
    repository = build_definitions(settings).get_repository_def()
    told = {"load": time.process_time() - _BEGAN}
    resources = {"tenants": TenantsResource(tenants_dir=str(settings.tenants_dir), state_dir=str(settings.state_dir))}
    fleet = Fleet(folder, tenants, runs)
    # As the code server does.
    with fleet.instance() as instance, dg.partition_loading_context(dynamic_partitions_store=instance):
        newest = instance.get_run_records(limit=1)[0].create_timestamp
        for _ in range(2):
            for schedule in repository.schedule_defs:
                if "tenants" in schedule.required_resource_keys:
                    for when, at in _moments(newest).items():
                        with dg.build_schedule_context(
                            instance, at, repository_def=repository, resources=resources
                        ) as scheduled:
                            told[f"tick {schedule.name}, {when}"] = _seconds(partial(schedule.evaluate_tick, scheduled))
            for sensor in repository.sensor_defs:
                with dg.build_sensor_context(instance, repository_def=repository, resources=resources) as sensed:
                    told[f"tick {sensor.name}"] = _seconds(partial(sensor.evaluate_tick, sensed))
        contracts = {name: resources["tenants"].contract(name) for name in fleet.names()}
        later = newest + timedelta(days=31)
        told["purge"] = _seconds(lambda: purge_runs(instance, contracts, later, most=_PURGED)) * 1_000 / _PURGED
    inbox = Inbox.at(settings.state_dir)
    told["inbox"] = _seconds(lambda: (inbox.depths(), inbox.tenants_waiting(inbox.store.clock())))
    told["figures"] = _seconds(lambda: list(figures(resources["tenants"].store())))
    return told | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _moments(newest: datetime) -> dict[str, datetime]:
    """A minute at which nobody is due, and one at which all have been for five minutes and nobody looked."""
    due = newest.replace(minute=newest.minute - newest.minute % 30, second=0, microsecond=0)
    return {"nobody is due": due + timedelta(minutes=7), "all were missed": due + timedelta(minutes=35)}


def _seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    if sys.argv[1:2] == ["--look"]:
        print(json.dumps(look(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(*map(int, sys.argv[1:]))
