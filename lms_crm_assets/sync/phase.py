"""One phase of a delivery (upserts, links to one parent, archives …): sent side by side, journaled as it comes back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from lms_crm_assets.domain import CrmWrite, Link, Outcome, OutcomeStatus
from lms_crm_assets.sync.journal import Entry, Journal, Sent
from lms_crm_assets.sync.rejections import DEAD_LETTER, Letters
from lms_crm_assets.sync.side_by_side import side_by_side

Item = TypeVar("Item", CrmWrite, Link)


@dataclass(frozen=True)
class Phase(Generic[Item]):
    """What is sent and how.

    `send` sends a batch to its end, with one outcome an item; `sent` says what is kept of an item. `letters` are the
    dead letters, which are not sent; `unsent` is journaled beside, of records that can't be sent at all.
    """

    name: str
    batches: Iterator[list[Item]]
    send: Callable[[Sequence[Item]], list[Outcome]]
    sent: Callable[[Item], Sent]
    workers: int
    letters: Letters = field(default_factory=dict)
    unsent: Sequence[Entry] = ()

    def run(self, journal: Journal) -> Iterator[int]:
        """Send everything; gives the number of records with each batch whose outcomes are on the disk."""
        skipped: list[Entry] = []
        alive = _without_dead(self.batches, self.letters, self.sent, skipped)
        yield self._note("unsent", list(self.unsent), journal)
        for number, batch, outcomes in side_by_side(alive, self.send, self.workers):
            entries = [Entry(outcome, self.sent(item)) for item, outcome in zip(batch, outcomes, strict=True)]
            yield self._note(f"{number}", entries, journal) + self._note("skipped", skipped, journal)
        yield self._note("skipped", skipped, journal)

    def _note(self, batch: str, entries: list[Entry], journal: Journal) -> int:
        number = len(entries)
        if number:
            journal.note(f"{self.name}-{batch}", entries, datetime.now(UTC))
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
