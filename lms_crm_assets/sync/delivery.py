"""Delivering one object's part of a plan: batches side by side, each tried again where that may help, every outcome kept.

What the CRM refuses is an outcome; what stops everything (credential, quota, address) is an exception, raised after
the outcomes so far are in the ledger. What was not delivered is in the next delta.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import duckdb

from lms_crm_assets import interrupt
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.delta.plan import mark_sent
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, Link, Outcome, OutcomeStatus
from lms_crm_assets.errors import BatchRefusedError, RetryableError
from lms_crm_assets.ops.patience import TRIES, patiently
from lms_crm_assets.sync.batches import link_batches, spool_archives, spool_links, spool_writes, write_batches
from lms_crm_assets.sync.journal import Entry, Journal, fold, recover
from lms_crm_assets.sync.outcomes import DeliveryCounts, outcome_counts
from lms_crm_assets.sync.ownership import still_empty

Item = TypeVar("Item", CrmWrite, Link)
Send = Callable[[Sequence[Item]], list[Outcome]]
Open = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Delivery:
    """One object's part of a plan, delivered by one run.

    `open_warehouse` gives a connection for a short while; nothing is held while calls are under way. `folder` keeps
    spool files and journals.
    """

    crm: CrmAdapter
    spec: ObjectSpec
    plan_id: str
    open_warehouse: Open
    folder: Path
    sync_run_id: str
    progress: Progress = lambda _done, _total: None

    def run(self) -> DeliveryCounts:
        """Send the object's part of the plan; gives the counts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        calls = _Counter()
        spool = self._file("spool")
        with self.open_warehouse() as con:
            recover(con, self.spec, self.folder)
            total = spool_writes(con, self.spec, self.plan_id, spool, with_links=self.crm.linker is None)
        batches = write_batches(spool, self.crm.batch_size)
        with still_empty(self.crm, self.spec, batches, self._file("seen"), self.open_warehouse) as safe:
            self._send_all("upsert", safe, self._upsert(calls), self._entry, total)
        if self.crm.linker is not None:
            for parent in self.spec.parents:
                self._link_to(parent, calls)
        with self.open_warehouse() as con:
            total = spool_archives(con, self.spec, self.plan_id, spool)
        self._send_all("archive", write_batches(spool, self.crm.batch_size), self._archive(calls), self._entry, total)
        spool.unlink()
        with self.open_warehouse() as con:
            mark_sent(con, self.plan_id, self.spec.object)
            return replace(outcome_counts(con, self.spec.object, self.sync_run_id), write_calls=calls.value)

    def _archive(self, calls: "_Counter") -> Send[CrmWrite]:
        return lambda batch: send_batch(calls.counting(lambda b: self.crm.archive(self.spec, b)), batch)

    def _upsert(self, calls: "_Counter") -> Send[CrmWrite]:
        return lambda batch: send_batch(calls.counting(lambda b: self.crm.upsert(self.spec, b)), batch)

    def _entry(self, write: CrmWrite, outcome: Outcome) -> Entry:
        parents = write.parents if self.crm.linker is None else {}
        operation = "archive" if write.action is Action.ARCHIVE else "upsert"
        return Entry(outcome, operation, write.action, write.values, parents)

    def _link_to(self, parent: CrmObject, calls: "_Counter") -> None:
        """Take wrong associations away, then make the right ones."""
        links, unlinks = self._file(f"{parent}.links"), self._file(f"{parent}.unlinks")
        with self.open_warehouse() as con:
            total, orphans = spool_links(con, self.spec, self.plan_id, parent, links, unlinks)
        size = self.crm.linker.batch_size
        kept: set[str] = set()

        def unlinked(link: Link, outcome: Outcome) -> Entry:
            if outcome.status is not OutcomeStatus.SUCCEEDED:
                kept.add(link.external_id)
            return Entry(outcome, f"unlink {parent}", Action.UPDATE, {}, {})

        def unlink(batch: Sequence[Link]) -> list[Outcome]:
            return send_batch(calls.counting(lambda b: self.crm.linker.unlink(self.spec, parent, b)), batch)

        self._send_all(f"unlink {parent}", link_batches(unlinks, size), unlink, unlinked, total)

        def entry(link: Link, outcome: Outcome) -> Entry:
            return Entry(outcome, f"link {parent}", Action.UPDATE, {}, {parent.value: link.parent_id})

        def send(batch: Sequence[Link]) -> list[Outcome]:
            return send_batch(calls.counting(lambda b: self.crm.linker.link(self.spec, parent, b)), batch)

        missing = [
            Outcome(key, OutcomeStatus.FAILED, None, "PARENT_MISSING", f"its {parent} is not in the CRM")
            for key in orphans
        ]
        # A record that kept a wrong parent gets no second one beside it.
        right = ([link for link in batch if link.external_id not in kept] for batch in link_batches(links, size))
        self._send_all(f"link {parent}", filter(None, right), send, entry, total, missing)
        links.unlink()
        unlinks.unlink()

    def _file(self, name: str) -> Path:
        """A file of this delivery alone."""
        return self.folder / f"{self.spec.object}.{self.sync_run_id}.{name}"

    def _send_all(
        self,
        phase: str,
        batches: Iterator[list[Item]],
        send: Send[Item],
        entry: Callable[[Item, Outcome], Entry],
        total: int,
        missing: Iterable[Outcome] = (),
    ) -> None:
        """Send the batches side by side and journal them as they come back; at the end fold the journal."""
        if not total:
            return
        file = self._file(f"{phase.replace(' ', '-')}.ndjson")
        done = 0
        try:
            with Journal(file, self.sync_run_id) as journal:
                lost = [Entry(outcome, phase, Action.UPDATE, {}, {}) for outcome in missing]
                if lost:
                    journal.note(f"{phase}-unsent", lost, datetime.now(UTC))
                for number, batch, outcomes in side_by_side(batches, send, self.crm.concurrency):
                    entries = [entry(item, outcome) for item, outcome in zip(batch, outcomes, strict=True)]
                    journal.note(f"{phase}-{number}", entries, datetime.now(UTC))
                    done += len(batch)
                    self.progress(done, total)
        finally:
            with self.open_warehouse() as con:
                fold(con, self.spec, file)


def send_batch(send: Send[Item], batch: Sequence[Item]) -> list[Outcome]:
    """Send one batch, in the end with one outcome an item.

    A call that may succeed later is made again with growing, jittered waits (or after what the CRM asked for); items
    that failed for the moment alone are sent again; a batch that is refused as a whole is halved until the record to
    blame stands alone. Upserts and links by key are idempotent, so a call whose answer was lost may be repeated.
    """
    try:
        outcomes = _sent(send, batch)
    except BatchRefusedError as exc:
        if len(batch) == 1:
            return [Outcome(batch[0].external_id, OutcomeStatus.REJECTED, None, exc.code, exc.detail)]
        middle = len(batch) // 2
        return send_batch(send, batch[:middle]) + send_batch(send, batch[middle:])
    failed = [i for i, outcome in enumerate(outcomes) if outcome.status is OutcomeStatus.FAILED]
    if failed and len(failed) < len(batch):
        for i, outcome in zip(failed, send_batch(send, [batch[i] for i in failed]), strict=True):
            outcomes[i] = outcome
    return outcomes


def _sent(send: Send[Item], batch: Sequence[Item]) -> list[Outcome]:
    for attempt in patiently():
        with attempt:
            outcomes = send(batch)
            if attempt.num < TRIES and all(outcome.status is OutcomeStatus.FAILED for outcome in outcomes):
                raise RetryableError(f"all {len(batch)} records failed for the moment ({outcomes[0].code})")
            return outcomes
    raise AssertionError("patience either returns or raises")  # pragma: no cover


def side_by_side(
    batches: Iterator[list[Item]], send: Send[Item], workers: int
) -> Iterator[tuple[int, list[Item], list[Outcome]]]:
    """Batches with their outcomes as they come; at most `workers` under way, nothing more is read ahead.

    When one raises, those under way are waited for and handed out before the exception is.
    """
    numbered = enumerate(batches)
    running: dict[Future[list[Outcome]], tuple[int, list[Item]]] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="sync") as pool:
        while True:
            if failure is None and interrupt.requested.is_set():
                failure = interrupt.StoppedError()
            while failure is None and len(running) < workers and (following := next(numbered, None)) is not None:
                running[pool.submit(send, following[1])] = following
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, batch = running.pop(future)
                if (exc := future.exception()) is not None:
                    failure = failure or exc
                else:
                    yield number, batch, future.result()
    if failure is not None:
        raise failure


class _Counter:
    """Counts calls made by several threads."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def counting(self, send: Send[Item]) -> Send[Item]:
        def counted(batch: Sequence[Item]) -> list[Outcome]:
            with self._lock:
                self.value += 1
            return send(batch)

        return counted
