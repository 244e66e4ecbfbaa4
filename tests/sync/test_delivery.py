"""Delivery under faults, with an adapter written by hand: every record ends with one right outcome."""

import threading
from collections import Counter
from collections.abc import Sequence

import pytest
import stamina
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lms_crm_assets.domain import Action, CrmWrite, Outcome, OutcomeStatus
from lms_crm_assets.errors import BatchRefusedError, CredentialError, RateLimitedError, RetryableError
from lms_crm_assets.sync.sending import send_batch
from lms_crm_assets.sync.side_by_side import side_by_side


def write(key: str) -> CrmWrite:
    return CrmWrite(key, None, Action.CREATE, {"Name": key})


def succeeded(writes: Sequence[CrmWrite]) -> list[Outcome]:
    return [Outcome(w.external_id, OutcomeStatus.SUCCEEDED, f"id-{w.external_id}") for w in writes]


@pytest.fixture(autouse=True)
def _no_waits() -> object:
    with stamina.set_testing(True, attempts=5):
        yield


@hypothesis_settings(max_examples=100)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_batch_that_is_refused_costs_only_the_bad_records(bad: list[bool]) -> None:
    held: Counter[str] = Counter()

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        if any(bad[int(w.external_id)] for w in batch):
            raise BatchRefusedError("no", code="INVALID", detail="d")
        held.update(w.external_id for w in batch)
        return succeeded(batch)

    outcomes = send_batch(send, [write(str(i)) for i in range(len(bad))])

    assert [o.status is OutcomeStatus.REJECTED for o in outcomes] == bad
    assert [o.external_id for o in outcomes] == [str(i) for i in range(len(bad))]
    assert held == Counter(str(i) for i, is_bad in enumerate(bad) if not is_bad)


def test_records_that_failed_for_the_moment_are_sent_again_alone() -> None:
    sent: list[list[str]] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.append([w.external_id for w in batch])
        if len(sent) == 1:
            locked = Outcome("b", OutcomeStatus.FAILED, None, "UNABLE_TO_LOCK_ROW")
            return [locked if w.external_id == "b" else o for w, o in zip(batch, succeeded(batch), strict=True)]
        return succeeded(batch)

    outcomes = send_batch(send, [write("a"), write("b"), write("c")])

    assert sent == [["a", "b", "c"], ["b"]]
    assert {o.status for o in outcomes} == {OutcomeStatus.SUCCEEDED}


@pytest.mark.parametrize("error", [RetryableError("503"), RateLimitedError("429", retry_after_seconds=0)])
def test_trouble_that_passes_is_tried_again(error: Exception) -> None:
    tries = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        tries.append(1)
        if len(tries) < 4:
            raise error
        return succeeded(batch)

    assert send_batch(send, [write("a")])[0].status is OutcomeStatus.SUCCEEDED
    assert len(tries) == 4


def test_tries_are_bounded() -> None:
    tries = []

    def send(_: Sequence[CrmWrite]) -> list[Outcome]:
        tries.append(1)
        raise RetryableError("503")

    assert [o.status for o in send_batch(send, [write("a"), write("b")])] == [OutcomeStatus.FAILED] * 2
    assert len(tries) == 5


def test_a_lasting_lock_ends_as_failed_after_bounded_tries() -> None:
    sent: list[list[str]] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.append([w.external_id for w in batch])
        return [Outcome(w.external_id, OutcomeStatus.FAILED, None, "UNABLE_TO_LOCK_ROW") for w in batch]

    assert [o.status for o in send_batch(send, [write("a"), write("b")])] == [OutcomeStatus.FAILED] * 2
    # Neighbours may be what locks them: they go alone.
    assert sent == [["a", "b"], *[["a"], ["b"]] * 4]


def test_a_refused_credential_stops_at_once_and_keeps_what_is_done() -> None:
    other_is_under_way = threading.Event()

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        if batch[0].external_id == "1":
            assert other_is_under_way.wait(timeout=10)
            raise CredentialError("401")
        other_is_under_way.set()
        return succeeded(batch)

    done: list[str] = []

    def deliver() -> None:
        for _, batch, _ in side_by_side(iter([[write(str(i))] for i in range(50)]), send, workers=2):
            done.extend(w.external_id for w in batch)

    with pytest.raises(CredentialError):
        deliver()

    assert "0" in done
    assert len(done) < 50
