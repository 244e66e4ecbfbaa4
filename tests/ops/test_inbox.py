"""The inbox: what is in it is on the disk, sealed, leased to one at a time, and never lost."""

import base64
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.inbox import DERIVED, Added, Delivery, Inbox, Side, State
from lms_crm_assets.ops.inbox_schema import INBOX
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from tests.ops.clock import Clock
from tests.postgres import Place

KEY = KeyRing.of(SecretStr(base64.b64encode(b"k" * 32).decode()))


def inbox_with_clock(folder: Path) -> tuple[Inbox, Clock]:
    clock = Clock()
    return Inbox(OperationalStore(folder, clock, schema=INBOX), KEY), clock


def inbox_at(place: Place, *, capacity: int = 1_000_000) -> Inbox:
    return Inbox(place.store(Clock(), INBOX), KEY, capacity=capacity)


@pytest.fixture
def inbox(place: Place) -> Inbox:
    return inbox_at(place)


def clock_of(inbox: Inbox) -> Clock:
    assert isinstance(inbox.store.clock, Clock)
    return inbox.store.clock


def delivery(delivery_id: str = "a", tenant: str = "acme", body: bytes = b"{}", **more: Any) -> Delivery:
    return Delivery(tenant, more.pop("side", Side.LMS), delivery_id, "application/json", body, **more)


def test_what_was_added_comes_back_in_the_order_of_arrival(inbox: Inbox) -> None:
    assert inbox.add([delivery("a", body=b"1"), delivery("b", side=Side.CRM, body=b"2")]) == [Added.NEW, Added.NEW]
    assert inbox.add([delivery("c", body=b"3")]) == [Added.NEW]

    events = list(inbox.find("acme"))
    assert [event.body for event in events] == [b"1", b"2", b"3"]
    assert [event.side for event in events] == [Side.LMS, Side.CRM, Side.LMS]
    assert {event.state for event in events} == {State.PENDING}
    assert [event.number for event in events] == sorted(event.number for event in events)


def test_a_repeat_is_told_by_its_id_also_in_one_batch_and_after_it_is_done(inbox: Inbox) -> None:
    assert inbox.add([delivery("a"), delivery("a")]) == [Added.NEW, Added.REPEATED]
    inbox.done([event.number for event in inbox.lease("acme", 10, 60)])

    assert inbox.add([delivery("a")]) == [Added.REPEATED]
    # The same id of another tenant or of the other side is another event.
    assert inbox.add([delivery("a", "globex"), delivery("a", side=Side.CRM)]) == [Added.NEW, Added.NEW]


def test_the_same_id_with_another_body_is_a_conflict_and_the_first_stays(inbox: Inbox) -> None:
    inbox.add([delivery("a", body=b"first")])

    assert inbox.add([delivery("a", body=b"second")]) == [Added.CONFLICT]
    assert [event.body for event in inbox.find()] == [b"first"]
    assert inbox.depth("acme").conflicts == 1


def test_what_has_to_be_equal_in_a_repeat_may_be_less_than_the_body(inbox: Inbox) -> None:
    inbox.add([delivery("a", body=b'{"attempt": 0}', essence=b"e")])

    assert inbox.add([delivery("a", body=b'{"attempt": 1}', essence=b"e")]) == [Added.REPEATED]


def test_a_repeat_without_an_id_of_the_sender_is_the_same_event_while_that_is_pending(inbox: Inbox) -> None:
    same = delivery(f"{DERIVED}00")
    assert inbox.add([same, same]) == [Added.NEW, Added.REPEATED]
    [leased] = inbox.lease("acme", 10, 60)

    # Whoever holds the first may have looked before the second: it has to be looked again.
    assert inbox.add([same, same]) == [Added.NEW, Added.REPEATED]
    inbox.done([leased.number])
    assert [event.state for event in inbox.find(ids=[same.delivery_id])] == [State.DONE, State.PENDING]


def test_a_full_inbox_takes_repeats_and_other_tenants_but_nothing_new(place: Place) -> None:
    inbox = inbox_at(place, capacity=2)
    assert inbox.add([delivery(name) for name in "abcd"]) == [Added.NEW, Added.NEW, Added.FULL, Added.FULL]

    assert inbox.add([delivery("a"), delivery("c"), delivery("a", "globex")]) == [Added.REPEATED, Added.FULL, Added.NEW]
    inbox.done([event.number for event in inbox.lease("acme", 1, 60)])
    assert inbox.add([delivery("c")]) == [Added.NEW]


def test_bodies_lie_sealed_on_the_disk(tmp_path: Path) -> None:
    inbox, _ = inbox_with_clock(tmp_path)
    inbox.add([delivery("a", body=b"canary of a learner")])
    inbox.store.close()

    for file in tmp_path.iterdir():
        assert b"canary" not in file.read_bytes(), file
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["tenant = 'globex'", "side = 'crm'", "delivery_id = 'b'"])
def test_a_row_that_is_moved_opens_for_nobody(inbox: Inbox, change: str) -> None:
    inbox.add([delivery("a")])
    with inbox.store.transaction() as run:
        run(f"UPDATE inbox_events SET {change}")

    with pytest.raises(CredentialError, match="it opens for nobody"):
        list(inbox.find())


def test_another_key_is_told(inbox: Inbox, place: Place) -> None:
    inbox.add([delivery("a")])
    other = Inbox(place.store(schema=INBOX), KeyRing.of(SecretStr(base64.b64encode(os.urandom(32)).decode())))

    with pytest.raises(CredentialError, match="put the former key as a second line"):
        list(other.find())


def test_a_lease_ends_and_can_be_extended(inbox: Inbox) -> None:
    inbox.add([delivery("a"), delivery("b")])
    [first] = inbox.lease("acme", 1, 60)
    assert [event.delivery_id for event in inbox.lease("acme", 10, 60)] == ["b"]
    assert inbox.lease("acme", 10, 60) == []

    clock_of(inbox).now += 50
    assert inbox.extend([first.number], 60) == 1
    clock_of(inbox).now += 20
    assert inbox.tenants_waiting(clock_of(inbox).now) == ["acme"]
    [again] = inbox.lease("acme", 10, 60)
    assert (again.delivery_id, again.attempts) == ("b", 2)


def test_what_is_given_back_waits_for_its_moment_and_says_why(inbox: Inbox) -> None:
    inbox.add([delivery("a")])
    now = clock_of(inbox).now
    [event] = inbox.lease("acme", 1, 60)
    inbox.retry(event.number, "not yet visible in the LMS", now + 30)

    assert inbox.lease("acme", 1, 60) == []
    assert inbox.tenants_waiting(now) == []
    clock_of(inbox).now += 30
    [again] = inbox.lease("acme", 1, 60)
    assert (again.note, again.attempts) == ("not yet visible in the LMS", 2)
    inbox.park(again.number, "never seen in the LMS")
    clock_of(inbox).now += 1000
    assert inbox.lease("acme", 1, 60) == []
    assert inbox.depth("acme").parked == 1
    assert inbox.replay([again.number]) == 1
    assert [event.attempts for event in inbox.lease("acme", 1, 60)] == [1]


def test_depth_counts_by_state_and_tells_the_oldest(inbox: Inbox) -> None:
    began = clock_of(inbox).now
    inbox.add([delivery("a"), delivery("b")])
    clock_of(inbox).now += 5
    inbox.add([delivery("c"), delivery("a", "globex")])
    first, second = inbox.lease("acme", 2, 60)
    inbox.park(first.number, "x")

    acme = inbox.depth("acme")
    assert (acme.pending, acme.leased, acme.parked, acme.oldest_at) == (1, 1, 1, began)
    inbox.done([second.number])
    assert inbox.depth("acme").oldest_at == began + 5
    assert inbox.depth().pending == 2

    [third] = inbox.lease("acme", 2, 60)
    inbox.retry(third.number, "not yet visible in the LMS", began + 100)
    acme = inbox.depth("acme")
    assert (acme.oldest_at, acme.due_at) == (began + 5, began + 100)
    assert inbox.depth().due_at == began + 5
    assert inbox.depth("nobody").oldest_at is None


def test_find_narrows_and_pages(inbox: Inbox) -> None:
    began = clock_of(inbox).now
    inbox.add([delivery(str(n)) for n in range(1200)])
    clock_of(inbox).now += 10
    inbox.add([delivery("late"), delivery("late", "globex")])

    assert len(list(inbox.find("acme"))) == 1201
    assert len(list(inbox.find(limit=700))) == 700
    assert [event.tenant for event in inbox.find(since=began + 1)] == ["acme", "globex"]
    assert len(list(inbox.find(until=began + 10))) == 1200
    [some] = inbox.find("acme", ids=["17"])
    assert list(inbox.find("acme", ids=[some.number])) == [some]
    assert list(inbox.find("globex", ids=[some.number])) == []
    assert list(inbox.find(state=State.DONE)) == []


def test_purged_events_are_gone_and_others_stay(inbox: Inbox) -> None:
    inbox.add([delivery("a"), delivery("b"), delivery("c")])
    first, second = inbox.lease("acme", 2, 60)
    inbox.done([first.number])
    inbox.park(second.number, "x")
    clock_of(inbox).now += 10

    assert inbox.purge(clock_of(inbox).now) == 1
    assert [event.delivery_id for event in inbox.find()] == ["b", "c"]
    # What is forgotten is new again.
    assert inbox.add([delivery("a")]) == [Added.NEW]
    assert len({event.number for event in inbox.find()} | {first.number}) == 4


def test_threads_that_lease_at_once_get_different_events(place: Place) -> None:
    inboxes = [inbox_at(place) for _ in range(4)]
    inboxes[0].add([delivery(str(n)) for n in range(200)])
    got: list[list[int]] = [[] for _ in inboxes]

    def take(place: int) -> None:
        while events := inboxes[place].lease("acme", 7, 60):
            got[place].extend(event.number for event in events)

    threads = [threading.Thread(target=take, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    everything = [number for numbers in got for number in numbers]
    assert len(everything) == len(set(everything)) == 200


@dataclass
class Expected:
    """What the model knows of one event."""

    delivery_id: str
    state: State
    until: float = 0.0
    """When the lease ends, or before when it isn't given."""


class LeaseMachine(RuleBasedStateMachine):
    """Any order of what receiver, sensor, runs and people do with one tenant's events."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.inbox, self.clock = inbox_with_clock(Path(self.folder.name))
        self.events: dict[int, Expected] = {}

    def teardown(self) -> None:
        self.inbox.store.close()
        self.folder.cleanup()

    @rule(ids=st.lists(st.sampled_from(["a", "b", "c", "d", f"{DERIVED}e"]), max_size=4))
    def add(self, ids: list[str]) -> None:
        known = set(self.events)
        added = self.inbox.add([delivery(each) for each in ids])
        new = [event for event in self.inbox.find() if event.number not in known]
        assert [event.delivery_id for event in new] == [
            each for each, result in zip(ids, added, strict=True) if result is Added.NEW
        ]
        for event in new:
            # Only where the sender gives no id may an event with the same one be there, and it is not pending then.
            same = [each for each in self.events.values() if each.delivery_id == event.delivery_id]
            assert not same or event.delivery_id.startswith(DERIVED)
            assert not same or same[-1].state is not State.PENDING
            assert not self.events or event.number > max(self.events)
            self.events[event.number] = Expected(event.delivery_id, State.PENDING)

    @rule(most=st.integers(1, 3), seconds=st.integers(1, 20))
    def lease(self, most: int, seconds: int) -> None:
        now = self.clock.now
        due = [
            number
            for number, each in sorted(self.events.items())
            if each.state in {State.PENDING, State.LEASED} and each.until <= now
        ]
        assert [event.number for event in self.inbox.lease("acme", most, seconds)] == due[:most]
        for number in due[:most]:
            self.events[number].state, self.events[number].until = State.LEASED, now + seconds

    @rule(seconds=st.integers(1, 15))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    def _pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.events)))

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        number = self._pick(data)
        self.inbox.done([number])
        self.events[number].state = State.DONE

    @precondition(lambda self: self.events)
    @rule(data=st.data(), seconds=st.integers(0, 10))
    def extend_or_give_back(self, data: st.DataObject, seconds: int) -> None:
        number = self._pick(data)
        expected, until = self.events[number], self.clock.now + seconds
        was_leased = expected.state is State.LEASED
        if data.draw(st.booleans()):
            assert self.inbox.extend([number], seconds) == was_leased
        else:
            assert self.inbox.retry(number, "later", until) == was_leased
            expected.state = State.PENDING if was_leased else expected.state
        expected.until = until if was_leased else expected.until

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        number = self._pick(data)
        open_ = self.events[number].state in {State.LEASED, State.PENDING}
        assert self.inbox.park(number, "why") == open_
        if open_:
            self.events[number].state = State.PARKED

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        number = self._pick(data)
        closed = self.events[number].state in {State.DONE, State.PARKED}
        assert self.inbox.replay([number]) == closed
        if closed:
            self.events[number].state, self.events[number].until = State.PENDING, 0.0

    @rule()
    def restart(self) -> None:
        self.inbox.store.close()
        store = OperationalStore(Path(self.folder.name), self.clock, schema=INBOX)
        self.inbox = Inbox(store, KEY)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert {event.number: event.state for event in self.inbox.find()} == {
            number: each.state for number, each in self.events.items()
        }
        depth = self.inbox.depth("acme")
        states = [each.state for each in self.events.values()]
        assert (depth.pending, depth.leased, depth.parked) == tuple(
            states.count(state) for state in (State.PENDING, State.LEASED, State.PARKED)
        )


LeaseMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TestLeases = LeaseMachine.TestCase
