"""The memory of whole runs over 100,000, 1M and 10M learners: what grows with the rows is no stream.

Both sides are made row by row as they are asked for, past HTTP, which has 10M rows of neither side to serve in reasonable
time; all else is the product's own, in the order of the job: pulled, staged, captured, compared, planned, delivered, read
back. Each size is a process of its own with two runs, one that writes everything and one that finds nothing to do.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from benchmarks.results import Figure
from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.protocol import CrmAdapter, CrmRecord
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.delta.forecast import Pace, forecast
from lms_crm_assets.delta.plan import record_plan
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject, CrmWrite, LmsEntity, Outcome, OutcomeStatus, RawRecord
from lms_crm_assets.lms.ingest import pull_into
from lms_crm_assets.lms.landing import landing_folder
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.snapshot.capture import land_records, load_snapshot
from lms_crm_assets.staging.build import build_staging
from lms_crm_assets.sync.canary import deliver
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.runs import SyncRun, note_run
from lms_crm_assets.telemetry import logs
from lms_crm_assets.warehouse.connection import connect

ROOT = Path(__file__).parent.parent
SIZES = (100_000, 1_000_000, 10_000_000)
_PAGE = 1000
_ENTITY, _OBJECT = LmsEntity.LEARNERS, CrmObject.CONTACT
_MIB = 1024


@dataclass(frozen=True)
class Peaks:
    """The process's memory in MiB after each step of its first run and at the end of its second, which wrote `again`."""

    steps: Mapping[str, float]
    again: int

    @property
    def whole(self) -> float:
        """Of both runs."""
        return max(self.steps.values())


class Learners:
    """An LMS of so many learners, and none of it kept."""

    capabilities = Capabilities(entities=frozenset({_ENTITY}))

    def __init__(self, count: int) -> None:
        self._count = count

    def probe(self) -> list[str]:
        """There is nothing in the way."""
        return []

    def pull(self, _entities: Collection[LmsEntity], _since: datetime | None) -> Iterator[Page]:
        """All of them, a page at a time."""
        for start in range(0, self._count, _PAGE):
            rows = map(_learner, range(start, min(start + _PAGE, self._count)))
            yield Page(_ENTITY, [RawRecord(str(row["id"]), row) for row in rows], total=self._count)

    def fetch(self, _entity: LmsEntity, _keys: Collection[str]) -> Iterator[Page]:
        """None is ever missing."""
        yield from ()

    def close(self) -> None:
        """Nothing is open."""


class Contacts:
    """A CRM that takes everything, and afterwards holds just that."""

    batch_size, concurrency, calls_per_second = 200, 2, 100.0
    linker = bulk = None
    traffic: Mapping[str, int] = {}

    def __init__(self, count: int, fields: Mapping[str, str]) -> None:
        self._count = count
        self._fields = fields
        self.written = 0

    def snapshot(self, _spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """The records, a page at a time; none before the first run."""
        for start in range(0, self._count if self.written else 0, _PAGE):
            yield [self._record(n) for n in range(start, min(start + _PAGE, self._count))]

    def upsert(self, _spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Take a batch."""
        self.written += len(writes)
        return [Outcome(w.external_id, OutcomeStatus.SUCCEEDED, f"c{w.external_id}") for w in writes]

    def read(self, _spec: ObjectSpec, keys: Sequence[str]) -> list[CrmRecord]:
        """Some of them."""
        return [self._record(int(key.removeprefix("lrn-"))) for key in keys]

    def _record(self, n: int) -> CrmRecord:
        row = _learner(n)
        return CrmRecord(str(row["id"]), f"c{row['id']}", {name: row[column] for name, column in self._fields.items()})


def _learner(n: int) -> dict[str, Any]:
    return {
        "id": f"lrn-{n:08d}",
        "external_id": f"SIS-{n:08d}",
        "username": f"user.{n}",
        "email": f"learner.{n}@school.example",
        "given_name": f"Given {n % 7919}",
        "family_name": f"Family {n % 104_729}",
        "organization": f"Department {n % 50}",
        "country": "CH",
        "status": "active",
        "updated_at": f"2026-0{n % 9 + 1}-1{n % 10}T08:{n % 60:02}:00Z",
    }


def measure() -> list[Figure]:
    """Each size in a process of its own; the figures."""
    peaks = [_measured(size) for size in SIZES]
    small, large = peaks[-2].whole, peaks[-1].whole
    return [
        Figure("a whole run of 10M records: peak memory against 1M", large / small, 1.3, "×"),
        Figure("a whole run of 1M records: peak memory against 100k", small / peaks[0].whole, 1.3, "×"),
        Figure("a whole run of 10M records: peak memory", large, 1024, "MiB"),
        Figure("whole runs: records written again", sum(each.again for each in peaks), 0, "records"),
    ]


def _measured(size: int) -> Peaks:
    with tempfile.TemporaryDirectory() as folder:
        answer, started = Path(folder, "answer"), time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", str(size), folder, str(answer)],
            cwd=ROOT,
            check=True,
        )
        found = Peaks(**json.loads(answer.read_bytes()))
    steps = ", ".join(f"{step} {peak:,.0f}" for step, peak in found.steps.items())
    print(f"{size:,} records in {time.monotonic() - started:,.0f} s, MiB after each step: {steps}", flush=True)
    return found


def _two_runs(folder: Path, count: int) -> Peaks:
    logs.for_commands()
    nobody = Sandbox(**dict.fromkeys(Sandbox.__annotations__, "http://127.0.0.1:9"))
    contract = load_contract(ROOT / "tenants", "globex", nobody.environ())
    spec = object_spec(contract, _OBJECT)
    fields = {name: next(iter(field.columns)) for name, field in spec.fields.items()}
    crm = Contacts(count, fields)
    steps = dict(_run(folder, contract, Learners(count), crm, "run-1"))
    if crm.written != count:
        raise SystemExit(f"{crm.written} of {count} were written")
    for _, steps["the second run"] in _run(folder, contract, Learners(count), crm, "run-2"):
        pass
    return Peaks(steps, crm.written - count)


def _run(folder: Path, contract: Contract, lms: Learners, crm: Contacts, run_id: str) -> Iterator[tuple[str, float]]:
    """One run, step by step, with the process's peak memory after each."""
    spec, now = object_spec(contract, _OBJECT), datetime.now(UTC)
    warehouse, landed = partial(connect, folder / "w.duckdb"), folder / "crm.ndjson"
    with landing_folder(folder / "landing") as landing:
        pull_into(warehouse, lms, landing, entities=[_ENTITY], full=True, max_shrink_share=0.5)
    yield "pulled", _peak()
    land_records(crm.snapshot(spec), landed)
    with warehouse() as con:
        load_snapshot(con, spec, landed, now)
    landed.unlink()
    yield "captured", _peak()
    with warehouse() as con:
        rules = rules_for(contract.checks, _ENTITY)
        build_staging(con, rules, adapter="changes", timezone="UTC", now=now)
    yield "staged", _peak()
    with warehouse() as con:
        counts = build_delta(con, spec, checks=contract.checks)
    yield "compared", _peak()
    with warehouse() as con:
        pace = Pace(crm.batch_size, 0, crm.calls_per_second, None)
        expected = forecast({_OBJECT: counts}, {_OBJECT: 0}, pace, None)
        plan = record_plan(
            con, [spec], forecast=expected, breaches=[], auto_apply=True, sync_run_id=run_id, now=datetime.now(UTC)
        )
        note_run(con, SyncRun(run_id, plan.plan_id, "benchmark", [], links_apart=False, began_at=now))
    yield "planned", _peak()
    delivery = Delivery(
        crm=cast("CrmAdapter", crm),
        spec=spec,
        plan_id=plan.plan_id,
        open_warehouse=warehouse,
        folder=folder / "sync",
        sync_run_id=run_id,
    )
    _, found, _ = deliver(delivery, 0.0, Lane.FULL)
    if found.differing:
        raise SystemExit(f"what was read back differs: {found.differing[:2]}")
    yield "delivered", _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


if __name__ == "__main__":
    match sys.argv[1:]:
        case [size, folder, answer]:
            Path(answer).write_text(json.dumps(asdict(_two_runs(Path(folder), int(size)))), encoding="utf-8")
        case [size]:
            _measured(int(size))
        case _:
            for figure in measure():
                print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:,.2f} {figure.unit}")
