"""One phase of a delivery (upserts, links to one parent, archives …): sent side by side, journaled as it comes back."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar

import structlog

from lms_crm_assets.crm.absent import absent_in
from lms_crm_assets.domain import CrmWrite, Link, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import SchemaChangedError
from lms_crm_assets.ops.metrics import Tally, counting
from lms_crm_assets.sync.journal import Entry, Journal, Sent
from lms_crm_assets.sync.rejections import DEAD_LETTER, Letters
from lms_crm_assets.sync.side_by_side import side_by_side
from lms_crm_assets.telemetry.logs import bound
from lms_crm_assets.telemetry.traces import span

_log = structlog.get_logger(__name__)

Item = TypeVar("Item", CrmWrite, Link)


@dataclass
class Phase(Generic[Item]):
    """What is sent and how.

    `send` sends a batch to its end, with one outcome an item; just before it, `before` says what of the batch is still to be
    sent: both are called by the threads that send. `sent` says what is kept of an item. `letters` are the
    dead letters, which are not sent; `unsent` is journaled beside, of records that can't be sent at all. It goes in legs:
    `over` says that the last one was, `left_out` how many records were not sent since others had to do with them. Once the
    CRM lacks what the contract names, no further batch is sent. `label` begins the batches' ids. `told_by` gives the ids of
    the deliveries that told of records with these keys, for the log.
    """

    name: str
    batches: Iterator[list[Item]]
    send: Callable[[Sequence[Item]], list[Outcome]]
    sent: Callable[[Item], Sent]
    workers: int
    letters: Letters = field(default_factory=dict)
    unsent: Sequence[Entry] = ()
    label: str = ""
    told_by: Callable[[Sequence[str]], list[str]] = lambda _keys: []
    before: Callable[[list[Item]], list[Item]] = lambda batch: batch
    over: bool = False
    left_out: int = 0
    _batches_sent: int = 0
    _stopped_by: Outcome | None = None

    def run(
        self, journal: Journal, left_out: Collection[str] = (), pause: Callable[[], bool] = lambda: False
    ) -> Iterator[int]:
        """Send what is still to be sent, or until `pause` says so between two batches; `left_out` are keys not to send.

        Gives the number of records with each batch whose outcomes are on the disk. `SchemaChangedError` after them when the
        CRM lacks a field or an object.
        """
        skipped: list[Entry] = []
        alive = _without_dead(self._leg(left_out, pause), self.letters, self.sent, skipped)
        yield self._note("unsent", list(self.unsent), journal)
        self.unsent = ()
        first = self._batches_sent
        for number, _, (items, outcomes) in side_by_side(alive, partial(self._send_one, first), self.workers):
            entries = [Entry(outcome, self.sent(item)) for item, outcome in zip(items, outcomes, strict=True)]
            yield self._note(f"{first + number}", entries, journal) + self._note("skipped", skipped, journal)
            self._batches_sent = max(self._batches_sent, first + number + 1)
            self._stopped_by = self._stopped_by or next((o for o in outcomes if o.treatment is Treatment.STOP), None)
        yield self._note("skipped", skipped, journal)
        if self._stopped_by is not None:
            said = absent_in(self._stopped_by.message) or "there is no such object"
            raise SchemaChangedError(f"the CRM answers {self._stopped_by.code} to records, {said}")

    def _send_one(self, first: int, number: int, batch: list[Item]) -> tuple[list[Item], list[Outcome]]:
        """Send what is left of a batch, with a line that says what came of it; every line below carries its ids."""
        batch_id, began = f"{self.label}{self.name}-{first + number}", time.monotonic()
        keys = [item.external_id for item in batch]
        with (
            bound(batch_id=batch_id, delivery_ids=self.told_by(keys)),
            span("batch", batch=batch_id, records=len(batch)),
            counting(Tally()) as tally,
        ):
            left = self.before(batch)
            if not left:
                return [], []
            outcomes = self.send(left)
            counts = Counter(outcome.status.value for outcome in outcomes)
            seconds = round(time.monotonic() - began, 3)
            _log.info("batch_sent", records=len(left), calls=tally.calls, seconds=seconds, **counts)
        return left, outcomes

    def _leg(self, left_out: Collection[str], pause: Callable[[], bool]) -> Iterator[list[Item]]:
        for batch in self.batches:
            if self._stopped_by is not None:
                return
            kept = [item for item in batch if item.external_id not in left_out]
            self.left_out += len(batch) - len(kept)
            if kept:
                yield kept
            if pause():
                return
        self.over = True

    def _note(self, batch: str, entries: list[Entry], journal: Journal) -> int:
        number = len(entries)
        if number:
            journal.note(f"{self.label}{self.name}-{batch}", entries, datetime.now(UTC))
            entries.clear()
        return number


def _without_dead(
    batches: Iterator[list[Item]], letters: Letters, sent: Callable[[Item], Sent], skipped: list[Entry]
) -> Iterator[list[Item]]:
    """The batches without the dead letters, which go to `skipped`."""
    for batch in batches:
        kept = []
        for item in batch:
            letter = letters.get(item.external_id)
            if letter is not None and letter[0] == sent(item).payload:
                message = f"refused with {letter[1]} too often"
                outcome = Outcome(item.external_id, OutcomeStatus.SKIPPED, None, DEAD_LETTER, message)
                skipped.append(Entry(outcome, sent(item)))
            else:
                kept.append(item)
        if kept:
            yield kept
