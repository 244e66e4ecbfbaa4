"""Delivering one object's part of a plan: upserts, then links where they are calls of their own, then archives.

What the CRM refuses is an outcome; what stops everything (credential, quota, outage) is an exception, raised after the
outcomes so far are in the ledger. What was not delivered is in the next delta.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import duckdb
import structlog

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.protocol import BulkLoader, CrmAdapter
from lms_crm_assets.delta.plan import mark_sent, plans_for, superseded
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, Link, Outcome
from lms_crm_assets.ops.lanes import Alone, RightOfWay
from lms_crm_assets.sync.batches import Part, spool_archives, spool_writes, write_batches
from lms_crm_assets.sync.jobs import Jobs, settle_left
from lms_crm_assets.sync.journal import Journal, Sent, fold, recover
from lms_crm_assets.sync.links import Links
from lms_crm_assets.sync.outcomes import DeliveryCounts, outcome_counts
from lms_crm_assets.sync.ownership import StillEmpty
from lms_crm_assets.sync.phase import Phase
from lms_crm_assets.sync.read_back import filled_meanwhile, written_back
from lms_crm_assets.sync.rejections import Letters, dead_letters
from lms_crm_assets.sync.sending import send_batch

_log = structlog.get_logger(__name__)

Open = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
Progress = Callable[[str, int, int], None]
"""Called with the phase, the records done and the records in all."""


class Calls:
    """Counts calls made by several threads."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """One more."""
        with self._lock:
            self.value += 1


@dataclass(frozen=True)
class Delivery:
    """One object's part of a plan, delivered by one run.

    `open_warehouse` gives a connection for a short while; nothing is held while calls are under way. `folder` keeps
    spool files and journals. A record that was refused `max_attempts` times is not sent. Between two batches it gives way
    to runs of events, and what these have sent or changed is not sent as the plan says; and there `may_go_on` is asked, which
    raises what ends it. With a `part` only these of the plan's records are sent. `told_by` gives the ids of the
    deliveries that told of records with these keys, for the log.
    """

    crm: CrmAdapter
    spec: ObjectSpec
    plan_id: str
    open_warehouse: Open
    folder: Path
    sync_run_id: str
    max_attempts: int = 5
    progress: Progress = lambda _phase, _done, _total: None
    right_of_way: RightOfWay = field(default_factory=Alone)
    may_go_on: Callable[[], None] = lambda: None
    part: Part = Part.ALL
    told_by: Callable[[Sequence[str]], list[str]] = lambda _keys: []
    _calls: Calls = field(default_factory=Calls)
    _superseded: set[str] = field(default_factory=set)

    def run(self) -> DeliveryCounts:
        """Send the object's part of the plan; gives the counts."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        settle_left(self.crm.bulk, self.spec.object, self.folder)
        with self.open_warehouse() as con:
            recover(con, self.spec, self.folder)
            if not plans_for(con, self.plan_id, self.spec.object):
                return self._ended(con, 0)
            self._look_what_others_did(con)
        left_out = self._upserts()
        if self.crm.linker is not None:
            for parent in self.spec.parents:
                self._link_to(
                    Links(
                        self.crm.linker, self.spec, parent, self.crm.concurrency, self._stem, self._calls.add, self.part
                    )
                )
        left_out += self._archives()
        with self.open_warehouse() as con:
            return self._ended(con, left_out)

    def _ended(self, con: duckdb.DuckDBPyConnection, left_out: int) -> DeliveryCounts:
        if self.part is not Part.CANARIES:
            mark_sent(con, self.plan_id, self.spec.object)
        counts = outcome_counts(con, self.spec.object, self.sync_run_id)
        counts = replace(counts, write_calls=self._calls.value, superseded=left_out)
        _log.info("delivered", **{name: number for name, number in asdict(counts).items() if name != "reasons"})
        return counts

    def _upserts(self) -> int:
        spool = self._file("spool")
        with self.open_warehouse() as con:
            inline = self.crm.linker is None
            total = spool_writes(con, self.spec, self.plan_id, spool, with_links=inline, part=self.part)
            letters = self._letters(con, "upsert")
        bulk = self.crm.bulk if self.crm.bulk is not None and total >= self.crm.bulk.least else None
        batches = write_batches(spool, bulk.batch_size if bulk else self.crm.batch_size)
        still_empty = StillEmpty(self.crm, self.spec, self._file("seen"), self.open_warehouse)
        with self._sender(bulk) as send:
            workers = bulk.concurrency if bulk else self.crm.concurrency
            phase = Phase("upsert", batches, send, self._sent, workers, letters, told_by=self.told_by)
            phase.before = still_empty.left_of
            self._send_all(phase, total)
        spool.unlink()
        return phase.left_out

    @contextmanager
    def _sender(self, bulk: BulkLoader | None) -> Iterator[Callable[[Sequence[CrmWrite]], list[Outcome]]]:
        """How a batch of upserts is sent: as a job where it is large enough, in calls otherwise."""
        if bulk is None:
            yield lambda batch: send_batch(self._upsert, batch, self._written_back, recheck=self._filled_meanwhile)
            return
        with Jobs(bulk, self._file("jobs")) as jobs:

            def send(part: Sequence[CrmWrite]) -> list[Outcome]:
                if len(part) <= self.crm.batch_size:
                    return self._upsert(part)
                self._calls.add()
                return bulk.upsert(self.spec, part, jobs.opened)

            def size_of(number: int) -> int:
                return number if number >= bulk.least else self.crm.batch_size

            yield lambda batch: send_batch(send, batch, self._written_back, size_of, self._filled_meanwhile)

    def _archives(self) -> int:
        spool = self._file("spool")
        with self.open_warehouse() as con:
            total = spool_archives(con, self.spec, self.plan_id, spool, part=self.part)
            letters = self._letters(con, "archive")

        def archive(part: Sequence[CrmWrite]) -> list[Outcome]:
            self._calls.add()
            return self.crm.archive(self.spec, part)

        def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
            return send_batch(archive, batch, self._written_back)

        batches = write_batches(spool, self.crm.batch_size)
        phase = Phase("archive", batches, send, self._sent, self.crm.concurrency, letters, told_by=self.told_by)
        self._send_all(phase, total)
        spool.unlink()
        return phase.left_out

    def _link_to(self, links: Links) -> None:
        with self.open_warehouse() as con:
            links.spool(con, self.plan_id)
            letters = self._letters(con, f"link {links.parent}")
        for phase in (links.unlinking(), links.linking(letters)):
            phase.told_by = self.told_by
            self._send_all(phase, links.total)
        links.close()

    def _upsert(self, part: Sequence[CrmWrite]) -> list[Outcome]:
        self._calls.add()
        return self.crm.upsert(self.spec, part)

    def _sent(self, write: CrmWrite) -> Sent:
        parents = write.parents if self.crm.linker is None else {}
        operation = "archive" if write.action is Action.ARCHIVE else "upsert"
        return Sent(operation, write.action, write.values, parents, str(write.crm_id))

    def _written_back(self, writes: Sequence[CrmWrite]) -> list[Outcome | None]:
        return written_back(self.crm, self.spec, writes, self._parent_ids)

    def _filled_meanwhile(self, writes: Sequence[CrmWrite]) -> list[Outcome | None]:
        return filled_meanwhile(self.crm, self.spec, writes)

    def _parent_ids(self, parent: CrmObject, keys: Sequence[str]) -> Mapping[str, str]:
        with self.open_warehouse() as con:
            rows = con.execute(
                f"SELECT external_id, crm_id FROM crm_snapshot.{parent} WHERE external_id IN"
                " (SELECT unnest($1::VARCHAR[]))",
                [list(keys)],
            ).fetchall()
        return dict(rows)

    def _letters(self, con: duckdb.DuckDBPyConnection, operation: str) -> Letters:
        return dead_letters(con, self.spec.object, operation, self.max_attempts)

    def _file(self, name: str) -> Path:
        """A file of this delivery alone."""
        return Path(f"{self._stem}.{name}")

    @property
    def _stem(self) -> str:
        return str(self.folder / f"{self.spec.object}.{self.sync_run_id}")

    def _send_all(self, phase: Phase[CrmWrite] | Phase[Link], total: int) -> None:
        """Run a phase leg by leg, each with its journal; at a leg's end, or when it is broken off, fold that."""
        file = self._file(f"{phase.name.replace(' ', '-')}.ndjson")
        phase.label = "canary-" if self.part is Part.CANARIES else ""
        done = 0
        while total and not phase.over:
            try:
                with Journal(file, self.sync_run_id) as journal:
                    for number in phase.run(journal, self._superseded, self._between_batches):
                        done += number
                        self.progress(phase.name, done, total)
            finally:
                with self.open_warehouse() as con:
                    fold(con, self.spec, file)
            if self.right_of_way.give_way():
                with self.open_warehouse() as con:
                    # Of a run of events that was killed.
                    recover(con, self.spec, self.folder)
                    self._look_what_others_did(con)

    def _between_batches(self) -> bool:
        self.may_go_on()
        return self.right_of_way.wanted()

    def _look_what_others_did(self, con: duckdb.DuckDBPyConnection) -> None:
        self._superseded.update(superseded(con, self.plan_id, self.spec.object, self.sync_run_id))
