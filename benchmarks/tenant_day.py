"""One tenant of `benchmarks.tenants`: what it is like, and one run of it by the product's own parts.

A run is what the jobs `full_reconcile` and `incremental_pull` do from the CRM's snapshot on: capture, compare, forecast,
guardrails, plan, deliver, read back, through the gate with its pace and quota. Only the LMS is not asked: its rows are staged.
"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb
import httpx
import yaml

from benchmarks.capacity import Crm, Part, calls_of
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.delta.forecast import Pace, Quota, forecast
from lms_crm_assets.delta.guardrails import breaches
from lms_crm_assets.delta.plan import Plan, record_plan
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from lms_crm_assets.snapshot.capture import known_until, land_records, load_snapshot, merge_changes
from lms_crm_assets.sync.canary import deliver
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.journal import recover
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import scalar
from tests.chaos.school import stage

ROOT = Path(__file__).parents[1]
EXAMPLE = {"hubspot": "globex", "salesforce": "acme"}
LMS_ROWS = {
    "contact": LmsEntity.LEARNERS,
    "course": LmsEntity.COURSES,
    "enrollment": LmsEntity.ENROLLMENTS,
    "completion": LmsEntity.COMPLETIONS,
    "competency": LmsEntity.COMPETENCIES,
}


@dataclass(frozen=True)
class Member:
    """A tenant: its CRM account, what it maps, its size, and its part of the account's day.

    `changed`: the share of its rows that change between two runs. `others`: the share of the account's day that other
    programs have used before the first run; `burst`: that they use between the first plan and its delivery.
    """

    name: str
    crm: Crm
    address: str
    objects: tuple[str, ...]
    learners: int
    first: int
    changed: float
    quota_share: float
    others: float = 0.0
    burst: float = 0.0
    is_shared: bool = False

    @property
    def entities(self) -> list[LmsEntity]:
        """The LMS's entities that it maps."""
        return [LMS_ROWS[obj] for obj in self.objects]

    def warehouse(self, settings: Settings) -> Path:
        """Its file."""
        return settings.state_dir / "warehouse" / f"{self.name}.duckdb"

    def write_contract(self, folder: Path) -> None:
        """Write its contract: the example's of its CRM, with its own part of that."""
        contract = yaml.safe_load((ROOT / "tenants" / f"{EXAMPLE[self.crm]}.yaml").read_text(encoding="utf-8"))
        contract |= {"tenant": self.name, "mode": "pull"}
        contract.pop("webhooks")
        contract["destination"]["url"] = self.address
        contract["guardrails"] = {"quota_share": self.quota_share, "max_update_share": 1.0}
        contract["objects"] = {obj: contract["objects"][obj] for obj in self.objects}
        (folder / f"{self.name}.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")

    def move(self, warehouse: Path, edition: int) -> None:
        """Its LMS moves on: all rows are new in the first edition, in a later one some change."""
        every = max(1, round(1 / self.changed))
        entities = [*self.entities, LmsEntity.SCORES] if "completion" in self.objects else self.entities
        stage(warehouse, self.learners, edition, entities, only=f"n % {every} = {edition % every}", first=self.first)


@dataclass(frozen=True)
class Told:
    """What a run said: the records that it delivered, and why not all of them where that is so.

    `calls` are those that it made, `reckoned` what the capacity model says of such a run.
    """

    name: str
    delivered: int
    undelivered: int
    differing: int
    calls: int
    reckoned: float
    held: str = ""
    trouble: str = ""


class Run:
    """One run of one tenant; `ahead` is how far the simulated clock is ahead of the machine's."""

    def __init__(self, settings: Settings, store: OperationalStore, member: Member) -> None:
        self.member, self._settings, self._store = member, settings, store
        self._contract: Contract = load_contract(settings.tenants_dir, member.name)
        self._specs: list[ObjectSpec] = [object_spec(self._contract, obj) for obj in self._contract.in_order()]
        self._folder = settings.state_dir / "sync" / member.name
        self._id = f"{store.clock():.6f}-{random.randrange(10**6)}"
        warehouse = member.warehouse(settings)
        self._open: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]] = partial(connect, warehouse)

    def run(self, *, full: bool, burst: bool) -> Told:
        """Reconcile, and tell what came of it."""
        crm = crm_adapter(self._contract, self._store)
        delivered = undelivered = differing = 0
        held = trouble = ""
        parts: list[Part] = []
        try:
            read = {spec.object: self._capture(crm, spec, full=full) for spec in self._specs}
            plan = self._plan(crm)
            if plan.breaches:
                held = "; ".join(plan.breaches)
            else:
                if burst and self.member.burst:
                    pass_day(self.member.address, share=self.member.burst)
                for spec in self._specs:
                    delivery = Delivery(crm, spec, plan.plan_id, self._open, self._folder, self._id)
                    counts, found, _ = deliver(delivery, 0.0, Lane.FULL)
                    written = counts.created + counts.updated + counts.archived
                    delivered += written
                    parts.append(Part(read[spec.object], written, counts.created, len(spec.parents)))
                    undelivered += counts.rejected + counts.failed + counts.skipped
                    differing += len(found.differing) + found.standing
                    trouble = trouble or "; ".join(counts.reasons)
        except LmsCrmError as exc:
            trouble = f"{type(exc).__name__}: {exc}"
        finally:
            crm.close()
        reckoned = calls_of(self.member.crm, parts, incremental=not full)
        return Told(
            self.member.name, delivered, undelivered, differing, crm.traffic.get("calls", 0), reckoned, held, trouble
        )

    def _capture(self, crm: CrmAdapter, spec: ObjectSpec, *, full: bool) -> int:
        """Gives the number of records that were read."""
        file, read_at = self._folder / f"{spec.object}.landing", datetime.now(UTC)
        with self._open() as con:
            recover(con, spec, self._folder)
            since = None if full else known_until(con, spec)
        rows = land_records(crm.snapshot(spec) if since is None else crm.changed_since(spec, since), file)
        with self._open() as con:
            if since is None:
                load_snapshot(con, spec, file, read_at)
            else:
                merge_changes(con, spec, file, read_at)
        file.unlink()
        return rows

    def _plan(self, crm: CrmAdapter) -> Plan:
        quota = crm.quota()
        links = crm.linker.batch_size if crm.linker else 0
        bulk = (crm.bulk.least, crm.bulk.batch_size) if crm.bulk else None
        pace = Pace(crm.batch_size, links, crm.calls_per_second, bulk)
        with self._open() as con:
            counts = {spec.object: build_delta(con, spec) for spec in self._specs}
            sources = {o: scalar(con, f"SELECT count(*) FROM staging.{o.entity.staging_table}") for o in counts}
            parents = {spec.object: len(spec.parents) for spec in self._specs}
            expected = forecast(counts, parents, pace, Quota(*quota) if quota else None)
            guards = self._contract.guardrails
            return record_plan(
                con,
                self._specs,
                forecast=expected,
                breaches=breaches(counts, sources, expected, guards),
                auto_apply=guards.auto_apply,
                sync_run_id=self._id,
                now=datetime.now(UTC),
            )


def pass_day(address: str, *, seconds: float = 0.0, share: float = 0.0) -> dict[str, int]:
    """Move an account's day on, and let others use that share of it; gives the calls used and allowed."""
    url = f"{address}/_sandbox/day"
    told: dict[str, int] = httpx.post(url, json={"seconds": seconds}, timeout=60).raise_for_status().json()
    if share:
        calls = round(told["allowed"] * share)
        told = httpx.post(url, json={"calls": calls}, timeout=60).raise_for_status().json()
    return told
