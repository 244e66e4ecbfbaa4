"""Pulling 500,000 records over HTTP into raw_lms, against httpx + orjson alone and against dlt, on the same pages.

The server answers from memory and is a process of its own; so is each thing measured. The limit reads and parses every
page and keeps nothing.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import orjson
import pandas as pd  # noqa: F401 - DuckDB imports it with the first text that it is given; a run's process has it from its start

from benchmarks.pages import SEGMENTS
from benchmarks.peers import python
from benchmarks.results import Figure
from lms_crm_assets.contract.models import ChangesSource, LmsThrottle
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.ingest import pull_into
from lms_crm_assets.lms.landing import land
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.telemetry.logs import for_services
from lms_crm_assets.warehouse.connection import connect

ROOT = Path(__file__).parent.parent
ROWS, FEWER_ROWS = 500_000, 100_000
ROUNDS = 3
LATENCY_SECONDS = 0.05
_ENTITY = LmsEntity.ENROLLMENTS


@dataclass(frozen=True)
class Pulled:
    """What one process took: seconds, its peak memory in MiB, and the rows that it has afterwards."""

    seconds: float
    peak: float
    rows: int


def measure() -> list[Figure]:
    """All of it; the figures."""
    with _server(ROWS, 0) as address:
        limits, ours = [], []
        for _ in range(ROUNDS):
            limits.append(_measured("limit", address))
            ours.append(_measured("ours", address, "1"))
        limit, own = median(p.seconds for p in limits), median(p.seconds for p in ours)
        missing = max(abs(ROWS - p.rows) for p in ours)
        peak = max(p.peak for p in ours)
        memory = f"{peak:.0f} MiB"
        print(f"ingest of {ROWS:,}: limit {limit:.2f} s, ours {own:.2f} s ({own / limit:.2f} ×), {memory}")
    with _server(FEWER_ROWS, 0) as address:
        peer = _measured("dlt", address)
        beside = median(_measured("ours", address, "1").seconds for _ in range(ROUNDS))
        print(f"ingest of {FEWER_ROWS:,}: dlt {peer.seconds:.1f} s ({peer.peak:.0f} MiB), ours {beside:.2f} s")
    with _server(FEWER_ROWS, LATENCY_SECONDS) as address:
        alone, many = [], []
        for _ in range(ROUNDS):
            alone.append(_measured("pull", address, "1").seconds)
            many.append(_measured("pull", address, str(SEGMENTS)).seconds)
        one, several = median(alone), median(many)
        print(f"pull of {FEWER_ROWS:,} at 50 ms a page: one connection {one:.2f} s, {SEGMENTS}: {several:.2f} s")
    return [
        Figure("ingest of 500k records: time against httpx + orjson", own / limit, 2.0, "×"),
        Figure("ingest of 500k records: peak memory", peak, 350, "MiB"),
        Figure("ingest of 500k records: missing", missing, 0, "records"),
        Figure("ingest of 100k records: time against dlt", beside / peer.seconds, 1 / 10, "×"),
        Figure("pull at 50 ms a page: time of 16 connections against one", several / one, 1 / 6, "×"),
    ]


@contextmanager
def _server(count: int, latency: float) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "address")
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pages", str(ready), str(count), str(latency)], cwd=ROOT
        )
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise RuntimeError("the server of pages did not start")
                time.sleep(0.05)
            yield ready.read_text(encoding="utf-8")
        finally:
            process.terminate()
            process.wait()


def _measured(what: str, *arguments: str) -> Pulled:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        ours = [sys.executable, "-m", "benchmarks.ingest", what, str(answer), folder, *arguments]
        command = (
            ours if what != "dlt" else [str(python()), "benchmarks/ingest_dlt.py", str(answer), folder, *arguments]
        )
        subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "INGEST_TOKEN": "token"})
        return Pulled(**json.loads(answer.read_bytes()))


def _limit(_: Path, address: str) -> int:
    seen, cursor = 0, None
    with httpx.Client(base_url=address) as http:
        while True:
            answer = orjson.loads(http.get("/api/v1/enrollments", params={"cursor": cursor} if cursor else {}).content)
            seen += len(answer["items"])
            if (cursor := answer["next"]) is None:
                return seen


def _pull(folder: Path, address: str, connections: str) -> int:
    """Only what the number of connections matters to: reading the pages and landing them."""
    with closing(_lms(folder, address, connections)) as lms:
        return land(lms.pull([_ENTITY], None), [_ENTITY], folder / "landing").rows[_ENTITY]


def _ours(folder: Path, address: str, connections: str) -> int:
    with closing(_lms(folder, address, connections)) as lms:
        done = pull_into(
            partial(connect, folder / "w.duckdb"),
            lms,
            folder / "landing",
            entities=[_ENTITY],
            full=True,
            max_shrink_share=0.5,
        )
    return done.living[_ENTITY]


def _lms(folder: Path, address: str, connections: str) -> ChangesAdapter:
    source = ChangesSource.model_validate(
        {"adapter": "changes", "url": address, "token": "env:INGEST_TOKEN", "concurrency": int(connections)}
    )
    return ChangesAdapter(source, LmsThrottle(), OperationalStore(folder / "ops"))


def main() -> None:
    """One pull in this process."""
    what, answer, folder, *arguments = sys.argv[1:]
    # As a run logs.
    for_services()
    pull = {"limit": _limit, "ours": _ours, "pull": _pull}[what]
    started = time.monotonic()
    rows = pull(Path(folder), *arguments)  # type: ignore[operator]  # their arguments differ
    found = Pulled(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rows)
    Path(answer).write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
