"""Delivery under faults, with an adapter written by hand: every record ends with one right outcome."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import stamina
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lms_crm_assets.domain import Action, CrmWrite, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    OutageError,
    OutcomeUnknownError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    SchemaChangedError,
)
from lms_crm_assets.sync.journal import Journal, Sent
from lms_crm_assets.sync.phase import Phase
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

    def send(_: int, batch: Sequence[CrmWrite]) -> list[Outcome]:
        if batch[0].external_id == "1":
            assert other_is_under_way.wait(timeout=120)
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


class Held:
    """A CRM of one object, whose answers may get lost after the work was done."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, str | None]] = {}
        self.upserts: Counter[str] = Counter()
        self.reads = 0

    def upsert(self, batch: Sequence[CrmWrite]) -> list[Outcome]:
        for w in batch:
            self.records.setdefault(w.external_id, {}).update(w.values)
            self.upserts[w.external_id] += 1
        return succeeded(batch)

    def read_back(self, batch: Sequence[CrmWrite]) -> list[Outcome | None]:
        self.reads += 1
        return [
            Outcome(w.external_id, OutcomeStatus.SUCCEEDED, f"id-{w.external_id}")
            if self.records.get(w.external_id) == w.values
            else None
            for w in batch
        ]


def test_what_a_lost_answer_did_is_read_back_and_not_sent_again() -> None:
    crm, calls = Held(), []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        calls.append(len(batch))
        if len(calls) == 1:
            crm.upsert(batch[:2])  # the CRM got so far
            raise OutcomeUnknownError("broke off")
        return crm.upsert(batch)

    outcomes = send_batch(send, [write(key) for key in "abc"], crm.read_back)

    assert {o.status for o in outcomes} == {OutcomeStatus.SUCCEEDED}
    assert [o.crm_id for o in outcomes] == ["id-a", "id-b", "id-c"]
    assert calls == [3, 1]
    assert crm.upserts == Counter("abc")


def test_a_record_without_a_result_is_read_back() -> None:
    crm = Held()

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        done = crm.upsert(batch)
        return [done[0], Outcome("b", OutcomeStatus.FAILED, None, "NO_RESULT", None, Treatment.READ_BACK)]

    outcomes = send_batch(send, [write("a"), write("b")], crm.read_back)

    assert {o.status for o in outcomes} == {OutcomeStatus.SUCCEEDED}
    assert crm.upserts == Counter("ab")
    assert crm.reads == 1


def test_a_duplicate_is_sent_once_more_and_then_refused() -> None:
    sent: list[str] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.extend(w.external_id for w in batch)
        duplicate = Outcome("a", OutcomeStatus.FAILED, None, "DUPLICATE_VALUE", "taken", Treatment.ONCE_MORE)
        return [duplicate if w.external_id == "a" else succeeded([w])[0] for w in batch]

    outcomes = send_batch(send, [write("a"), write("b")])

    assert sent == ["a", "b", "a"]
    assert [o.status for o in outcomes] == [OutcomeStatus.REJECTED, OutcomeStatus.SUCCEEDED]


def test_what_waits_for_its_parent_is_left_for_the_next_run() -> None:
    sent: list[str] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.extend(w.external_id for w in batch)
        return [Outcome(w.external_id, OutcomeStatus.FAILED, None, "INVALID_FIELD", "", Treatment.HOLD) for w in batch]

    assert send_batch(send, [write("a")])[0].status is OutcomeStatus.FAILED
    assert sent == ["a"]


@pytest.mark.parametrize("wall", [OutageError("down"), QuotaReachedError("used up"), CredentialError("401")])
def test_at_a_wall_what_is_known_is_kept_and_nothing_more_is_tried(wall: Exception) -> None:
    calls: list[int] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        calls.append(len(batch))
        if len(calls) == 2:
            raise wall
        return succeeded(batch)

    batch = [write(str(i)) for i in range(4)]
    outcomes = send_batch(send, batch, size_of=lambda _: 2)

    assert [o.status for o in outcomes] == [OutcomeStatus.SUCCEEDED] * 2 + [OutcomeStatus.FAILED] * 2
    assert calls == [2, 2]
    with pytest.raises(type(wall)):
        send_batch(send_nothing(wall), batch)


def send_nothing(wall: Exception) -> Any:
    def send(_: Sequence[CrmWrite]) -> list[Outcome]:
        raise wall

    return send


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    trouble=st.lists(st.sampled_from(["ok", "lost", "half", "503", "lock", "refused", "no result"]), max_size=30),
    number=st.integers(1, 12),
    bad=st.frozensets(st.integers(0, 11), max_size=2),
)
def test_whatever_happens_each_record_has_one_outcome_that_is_true(
    trouble: list[str], number: int, bad: frozenset[int]
) -> None:
    """Succeeded means that the CRM holds it; of the others none is said to be done."""
    crm, coming = Held(), iter(trouble)

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        if any(int(w.external_id) in bad for w in batch):
            raise BatchRefusedError("no", code="INVALID", detail="d")
        match next(coming, "ok"):
            case "503":
                raise RetryableError("503")
            case "lost":
                crm.upsert(batch)
                raise OutcomeUnknownError("broke off")
            case "half":
                crm.upsert(batch[: len(batch) // 2])
                raise OutcomeUnknownError("broke off")
            case "lock":
                locked = Outcome(batch[0].external_id, OutcomeStatus.FAILED, None, "LOCK", None, Treatment.RESEND)
                return [locked, *crm.upsert(batch[1:])]
            case "refused":
                no = Outcome(batch[0].external_id, OutcomeStatus.REJECTED, None, "X", None, Treatment.REJECT)
                return [no, *crm.upsert(batch[1:])]
            case "no result":
                done = crm.upsert(batch)
                none = Outcome(
                    batch[-1].external_id, OutcomeStatus.FAILED, None, "NO_RESULT", None, Treatment.READ_BACK
                )
                return [*done[:-1], none]
            case _:
                return crm.upsert(batch)

    outcomes = send_batch(send, [write(str(i)) for i in range(number)], crm.read_back)

    assert [o.external_id for o in outcomes] == [str(i) for i in range(number)]
    for outcome in outcomes:
        if outcome.status is OutcomeStatus.SUCCEEDED:
            assert outcome.external_id in crm.records
        elif outcome.status is OutcomeStatus.REJECTED:
            assert int(outcome.external_id) in bad or "refused" in trouble


def test_what_somebody_filled_meanwhile_is_not_sent_again() -> None:
    sent: list[list[str]] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.append([w.external_id for w in batch])
        if len(sent) == 1:
            raise RetryableError("503")
        return succeeded(batch)

    def recheck(batch: Sequence[CrmWrite]) -> list[Outcome | None]:
        return [
            Outcome("b", OutcomeStatus.FAILED, None, "FILLED_MEANWHILE") if w.external_id == "b" else None
            for w in batch
        ]

    outcomes = send_batch(send, [write(key) for key in "abc"], recheck=recheck)

    assert sent == [["a", "b", "c"], ["a", "c"]]
    assert [o.status for o in outcomes] == [OutcomeStatus.SUCCEEDED, OutcomeStatus.FAILED, OutcomeStatus.SUCCEEDED]


def test_batches_under_way_are_handed_out_when_the_next_one_can_not_be_read() -> None:
    def batches() -> Iterator[list[CrmWrite]]:
        for number in range(3):
            yield [write(str(number))]
        raise OutageError("the CRM is down")

    done: list[str] = []

    def deliver() -> None:
        for _, batch, _ in side_by_side(batches(), lambda _, batch: succeeded(batch), workers=4):
            done.extend(w.external_id for w in batch)

    with pytest.raises(OutageError):
        deliver()
    assert sorted(done) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        ("INVALID_FIELD", "No such column 'Nick__c' on sobject of type Contact", "there is no Nick__c"),
        (
            "PROPERTY_DOESNT_EXIST",
            '[{\\"message\\":\\"Property \\\\\\"nick\\\\\\" does not exist\\"}]',
            "there is no nick",
        ),
        ("INVALID_TYPE", "ada@example.test", "there is no such object"),
    ],
)
def test_a_field_that_is_gone_stops_the_delivery_and_refuses_nobody(
    tmp_path: Path, code: str, message: str, told: str
) -> None:
    sent: list[str] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.extend(w.external_id for w in batch)
        gone = Outcome("b", OutcomeStatus.FAILED, None, code, message, Treatment.STOP)
        return [gone if w.external_id == "b" else succeeded([w])[0] for w in batch]

    phase = Phase(
        "upsert",
        iter([[write("a"), write("b")], [write("c")]]),
        lambda batch: send_batch(send, batch),
        lambda w: Sent("upsert", w.action, w.values, {}),
        1,
    )
    file = tmp_path / "journal.ndjson"
    with Journal(file, "run") as journal, pytest.raises(SchemaChangedError, match=told) as stopped:
        list(phase.run(journal))

    assert sent == ["a", "b"]
    assert "example.test" not in str(stopped.value)
    noted = [(line["external_id"], line["status"]) for line in map(orjson.loads, file.read_bytes().splitlines())]
    assert noted == [("a", "succeeded"), ("b", "failed")]


def test_what_is_looked_at_before_a_batch_is_sent_keeps_no_other_batch_waiting(tmp_path: Path) -> None:
    both_look = threading.Barrier(2)

    def before(batch: list[CrmWrite]) -> list[CrmWrite]:
        both_look.wait(timeout=120)
        return [w for w in batch if w.external_id != "filled"]

    sent: list[str] = []

    def send(batch: Sequence[CrmWrite]) -> list[Outcome]:
        sent.extend(w.external_id for w in batch)
        return succeeded(batch)

    batches = iter([[write("filled")], [write("a"), write("filled")]])
    phase = Phase("upsert", batches, send, lambda w: Sent("upsert", w.action, w.values, {}), 2, before=before)
    with Journal(tmp_path / "upsert.ndjson", "r1") as journal:
        assert sum(phase.run(journal)) == 1

    assert sent == ["a"]
