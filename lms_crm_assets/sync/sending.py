"""One batch, sent to its end: every record of it has one outcome that somebody is sure of.

What is done about a record or a call that was not taken is decided by `ops.treatment`; here it is carried out. Upserts,
links and archives are idempotent, so that one whose answer was lost may be repeated; what can be read back is read
first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from lms_crm_assets.domain import CrmWrite, Link, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import (
    BatchRefusedError,
    LmsCrmError,
    OutcomeUnknownError,
    PausedError,
    RetryableError,
)
from lms_crm_assets.ops.patience import patiently

Item = TypeVar("Item", CrmWrite, Link)
Send = Callable[[Sequence[Item]], list[Outcome]]
ReadBack = Callable[[Sequence[Item]], Sequence[Outcome | None]]
"""What became of records whose call's outcome is not known, in order; None where the CRM does not hold what was sent."""

_FINAL = frozenset({Treatment.REJECT, Treatment.HOLD, Treatment.STOP})


def send_batch(
    send: Send[Item],
    batch: Sequence[Item],
    read_back: ReadBack[Item] | None = None,
    size_of: Callable[[int], int] = int,
    recheck: ReadBack[Item] | None = None,
) -> list[Outcome]:
    """Send one batch; one outcome an item, in order.

    Items that failed for the moment are sent again alone, in ever smaller batches; a batch that is refused as a whole
    is halved until the record to blame stands alone. When the tries are used up the rest has failed, and the next run
    sends it. `size_of` says how many of so many items one call takes; `recheck` is asked before items are sent again, and
    its outcomes stand for those that must not be. An error after which nothing more is to be tried
    comes through when nothing of the batch is known; otherwise the rest has failed, and the next batch meets the error.
    """
    return _Batch(send, batch, read_back, size_of, recheck).sent()


class _Batch(Generic[Item]):
    """A batch on its way: `pending` are the places of the items without a final outcome."""

    def __init__(
        self,
        send: Send[Item],
        batch: Sequence[Item],
        read_back: ReadBack[Item] | None,
        size_of: Callable[[int], int],
        recheck: ReadBack[Item] | None,
    ) -> None:
        self._send: Send[Item] = send
        self._items: Sequence[Item] = batch
        self._read_back: ReadBack[Item] | None = read_back
        self._size_of = size_of
        self._recheck: ReadBack[Item] | None = recheck
        self._most = len(batch)
        self._outcomes: list[Outcome | None] = [None] * len(batch)
        self._pending = list(range(len(batch)))
        self._once_more: set[int] = set()

    def sent(self) -> list[Outcome]:
        try:
            for attempt in patiently():
                with attempt:
                    self._attempt(again=attempt.num > 1)
        except LmsCrmError as exc:
            passing = isinstance(exc, RetryableError) and not isinstance(exc, PausedError)
            if not passing and not any(self._outcomes):
                raise
            return [o or _failed(item, exc) for item, o in zip(self._items, self._outcomes, strict=True)]
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _attempt(self, *, again: bool) -> None:
        """Send what is pending; `RetryableError` when some of it is pending still."""
        trouble: RetryableError | None = None
        if again and self._recheck is not None:
            self._drop(self._recheck)
        pending, self._pending = self._pending, []
        for part in _parts(pending, max(1, min(self._size_of(len(pending)), self._most))):
            try:
                self._take(part, self._send([self._items[place] for place in part]))
            except BatchRefusedError as exc:
                self._halve(part, exc)
            except PausedError:
                raise
            except OutcomeUnknownError as exc:
                trouble = exc
                self._look(part)
            except RetryableError as exc:
                trouble = exc
                self._pending.extend(part)
        if self._pending:
            raise trouble or RetryableError(f"{len(self._pending)} records failed for the moment")

    def _take(self, part: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        doubtful = []
        for place, outcome in zip(part, outcomes, strict=True):
            self._outcomes[place] = outcome
            if outcome.status is not OutcomeStatus.FAILED or outcome.treatment in _FINAL:
                continue
            if outcome.treatment is Treatment.READ_BACK:
                doubtful.append(place)
            elif outcome.treatment is not Treatment.ONCE_MORE:
                self._pending.append(place)
                # Locks come from neighbours in the same batch as well.
                self._most = max(1, len(part) // 2)
            elif place in self._once_more:
                self._outcomes[place] = replace(outcome, status=OutcomeStatus.REJECTED)
            else:
                self._once_more.add(place)
                self._pending.append(place)
        if doubtful:
            self._look(doubtful)

    def _look(self, part: Sequence[int]) -> None:
        """Read back what is not known; what the CRM does not hold is pending."""
        if self._read_back is None:
            self._pending.extend(part)
            return
        try:
            found = self._read_back([self._items[place] for place in part])
        except PausedError:
            raise
        except RetryableError:
            found = [None] * len(part)
        for place, outcome in zip(part, found, strict=True):
            if outcome is None:
                self._pending.append(place)
            else:
                self._outcomes[place] = outcome

    def _drop(self, recheck: ReadBack[Item]) -> None:
        """Take those that must not be sent again out of what is pending."""
        found = recheck([self._items[place] for place in self._pending])
        for place, outcome in zip(self._pending, found, strict=True):
            self._outcomes[place] = outcome or self._outcomes[place]
        self._pending = [place for place, outcome in zip(self._pending, found, strict=True) if outcome is None]

    def _halve(self, part: Sequence[int], refusal: BatchRefusedError) -> None:
        if len(part) == 1:
            item = self._items[part[0]]
            self._outcomes[part[0]] = Outcome(
                item.external_id, OutcomeStatus.REJECTED, None, refusal.code, refusal.detail, Treatment.REJECT
            )
            return
        middle = len(part) // 2
        for half in (part[:middle], part[middle:]):
            items = [self._items[place] for place in half]
            for place, outcome in zip(
                half, send_batch(self._send, items, self._read_back, self._size_of, self._recheck), strict=True
            ):
                self._outcomes[place] = outcome


def _failed(item: CrmWrite | Link, exc: LmsCrmError) -> Outcome:
    code = type(exc).__name__.removesuffix("Error").upper()
    return Outcome(item.external_id, OutcomeStatus.FAILED, None, code, str(exc), Treatment.RETRY)


def _parts(places: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
