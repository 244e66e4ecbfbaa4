"""The inbox: what was delivered and is not yet in the CRM, kept so that nothing of it is lost.

Owns `inbox_events`, `inbox_numbers`, `inbox_conflicts`, `inbox_keys` and `inbox_probe`, in the file `inbox.sqlite` of the state folder. Bodies hold
learner data and are kept sealed; tenant, side and delivery id are associated with the seal, so that a row that is moved
to another tenant opens for nobody.

    pending ──lease──▶ leased ──done──▶ done ──purge──▶ (gone)
       ▲  ▲              │ │             │
       │  └── retry, or the lease runs out ──park──▶ parked
       └───────────────── replay ───────────────────┘
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops import inbox_schema as sql
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.seal import HEAD_BYTES, Resealed, Seal
from lms_crm_assets.ops.store import OperationalStore, Run

DERIVED = "sha256:"
"""How a delivery id begins that we made from the body, because the sender gives none."""

_PAGE = 500
_PURGE_PAGE = 5_000
_RESEAL_PAGE = 100
_DIGEST_KEY = b"inbox\0digest key"
# The waiting events are counted anew after so many that were added; a count of a million takes 10 ms.
_COUNT_EVERY = 5_000
_PROBE_BYTES = 64 * 1024


class Side(StrEnum):
    """Which of the two systems delivered."""

    LMS = "lms"
    CRM = "crm"


class State(StrEnum):
    """Where an event stands."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    PARKED = "parked"


class Added(StrEnum):
    """What became of a delivery. `conflict`: the id is known with other content, and the first one stays."""

    NEW = "new"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the receiver hands over; `delivery_id` is unique in (tenant, side).

    `essence` is what has to be equal in a repeat, where that is not the body: a sender may count its attempts in there.
    """

    tenant: str
    side: Side
    delivery_id: str
    content_type: str
    body: bytes
    essence: bytes | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What is read back. `number` grows in the order of arrival; `note` is the last reason, never learner data."""

    number: int
    tenant: str
    side: Side
    delivery_id: str
    received_at: float
    state: State
    attempts: int
    not_before: float
    note: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits. `oldest_at`: when the oldest pending or leased event arrived, None when there is none.

    `due_at`: since when the longest of them has waited for a run; one that is tried again later waits for its time first.
    """

    pending: int = 0
    leased: int = 0
    parked: int = 0
    oldest_at: float | None = None
    due_at: float | None = None
    conflicts: int = 0


class Inbox:
    """The events of a state folder; several processes may use it at once.

    `capacity`: so many events of one tenant may wait (pending, leased or parked), further ones are `FULL`.
    """

    def __init__(self, store: OperationalStore, ring: KeyRing, *, capacity: int = 1_000_000) -> None:
        self.store = store
        self._seal = Seal(ring)
        self._capacity = capacity
        self._room: dict[str, int] = {}

    @property
    def ring(self) -> KeyRing:
        """The keys that it is sealed with."""
        return self._seal.ring

    @classmethod
    def at(cls, state_dir: Path) -> "Inbox":
        """The inbox of a state folder, with the environment's keys."""
        ring = KeyRing.of_environment("what the `webhooks` and `clients` of contracts deliver has")
        return cls(OperationalStore.at(state_dir, sql.INBOX), ring)

    def add(self, deliveries: Sequence[Delivery]) -> list[Added]:
        """Keep deliveries, in one transaction that is on the disk when this returns; what became of each.

        A repeat is told by its id. An id that we derived from the body is told apart only while the first event is
        pending: the sender may well mean another change with the same words, and whoever works on the first may have
        looked before it.
        """
        added: list[Added] = []
        if not deliveries:
            return added
        digest_key = self._digest_key
        with self.store.transaction(durable=True) as run:
            [[last]] = run(sql.NUMBERS, (len(deliveries),))
            number = last - len(deliveries) + 1
            # A statement for many: between statements the writer's thread has to wait for its turn in the process.
            for start in range(0, len(deliveries), _PAGE):
                page = deliveries[start : start + _PAGE]
                added.extend(self._add(run, number + start, page, digest_key))
        return added

    @cached_property
    def _digest_key(self) -> bytes:
        """What bodies are told apart with: it stays the same when the key that seals changes, and is sealed itself.

        In an inbox of before it was made of that key, the oldest that there is.
        """
        made = hmac.digest(self.ring.keys[-1].content, b"lms-crm inbox digest", hashlib.sha256)
        with self.store.transaction(durable=True) as run:
            run(sql.NUMBERS, (0,))  # whoever else asks for the first time waits
            with suppress(CredentialError):  # its key is gone; a repeat of what came before counts as a conflict then
                for (sealed,) in run(sql.DIGEST_KEY):
                    return self._seal.open(bytes(sealed), _DIGEST_KEY, "the inbox's digest key")
            run(sql.KEEP_DIGEST_KEY, (self._seal.close(made, _DIGEST_KEY),))
        return made

    def _add(self, run: Run, number: int, page: Sequence[Delivery], digest_key: bytes) -> list[Added]:
        names = [(each.tenant, each.side.value, each.delivery_id) for each in page]
        query = f"{sql.HELD} ({', '.join(['(?, ?, ?)'] * len(page))})"
        held = {
            (tenant, side, dedupe): (held_number, state, bytes(digest))
            for tenant, side, dedupe, held_number, state, digest in run(
                query, [part for name in names for part in name]
            )
        }
        self._count_room(run, Counter(each.tenant for each in page))
        results: list[Added] = []
        rows: list[Any] = []
        for own, (name, delivery) in enumerate(zip(names, page, strict=True), number):
            essence = delivery.body if delivery.essence is None else delivery.essence
            digest = hmac.digest(digest_key, essence, hashlib.sha256)
            result = self._judge(run, name, held.get(name), digest)
            results.append(result)
            if result is Added.NEW:
                held[name] = own, State.PENDING.value, digest
                sealed = self._seal.close(delivery.body, _associated(*name))
                rows += [own, *name, delivery.delivery_id, self.store.clock(), delivery.content_type, digest, sealed]
        if rows:
            run(sql.inserting(results.count(Added.NEW)), rows)
        return results

    def _judge(self, run: Run, name: tuple[str, str, str], held: tuple[int, str, bytes] | None, digest: bytes) -> Added:
        tenant, _, delivery_id = name
        if held is not None:
            held_number, state, held_digest = held
            if not hmac.compare_digest(held_digest, digest):
                run(sql.CONFLICT, (tenant,))
                return Added.CONFLICT
            if not delivery_id.startswith(DERIVED) or state == State.PENDING:
                return Added.REPEATED
            run(sql.SUPERSEDE, (held_number,))
        if self._room[tenant] <= 0:
            return Added.FULL
        self._room[tenant] -= 1
        return Added.NEW

    def _count_room(self, run: Run, coming: Counter[str]) -> None:
        for tenant, number in coming.items():
            if self._room.get(tenant, 0) < number:
                [[waiting]] = run(sql.WAITING, (tenant,))
                self._room[tenant] = min(self._capacity - waiting, _COUNT_EVERY)

    def lease(self, tenant: str, most: int, seconds: float) -> list[Event]:
        """Take the tenant's oldest events that are due, of both sides; nobody else gets them for so long."""
        now = self.store.clock()
        with self.store.transaction(durable=True) as run:
            rows = run(sql.LEASE, (now + seconds, tenant, now, now, most, now, now))
        return sorted((self._event(row) for row in rows), key=lambda event: event.number)

    def extend(self, numbers: Sequence[int], seconds: float) -> int:
        """Keep leases for so long from now; gives how many still were leases."""
        return self._move(numbers, "leased_until = ?", (self.store.clock() + seconds,), State.LEASED)

    def done(self, numbers: Sequence[int], note: str = "") -> int:
        """The events' outcomes are in the ledger, also where a lease ran out on the way."""
        values = (self.store.clock(), note)
        return self._move(
            numbers, "state = 'done', settled_at = ?, note = ?", values, State.LEASED, State.PENDING, State.PARKED
        )

    def retry(self, number: int, reason: str, not_before: float) -> int:
        """Give a leased event back, to be taken not before that moment."""
        return self._move([number], "state = 'pending', note = ?, not_before = ?", (reason, not_before), State.LEASED)

    def give_back(self, numbers: Sequence[int], reason: str, not_before: float) -> int:
        """Give back leased events of which nothing became known."""
        change = "state = 'pending', note = ?, not_before = ?"
        return self._move(numbers, change, (reason, not_before), State.LEASED)

    def park(self, number: int, reason: str) -> int:
        """Try an event no more, until a person replays it."""
        values = (reason, self.store.clock())
        return self._move([number], "state = 'parked', note = ?, settled_at = ?", values, State.LEASED, State.PENDING)

    def replay(self, numbers: Sequence[int]) -> int:
        """Let done and parked events be taken once more; gives how many were."""
        change = "state = 'pending', attempts = 0, not_before = 0, settled_at = 0, note = ''"
        return self._move(numbers, change, (), State.DONE, State.PARKED)

    def purge(self, done_before: float) -> int:
        """Forget events that were done before that moment, and that their ids were ever seen; gives how many."""
        gone = 0
        while True:
            with self.store.transaction() as run:
                found = len(run(sql.PURGE, (done_before, _PURGE_PAGE)))
            gone += found
            if found < _PURGE_PAGE:
                return gone

    def reseal(self, most: int | None = None) -> Resealed:
        """Seal with the present key what is not, up to so many events; see `Resealed`. It may be stopped and repeated."""
        result, after, head = Resealed(), 0, self._seal.head
        while most is None or result.done < most:
            rows = self.store.read(sql.STALE, (after, HEAD_BYTES, head, _RESEAL_PAGE))
            if not rows:
                break
            anew = []
            for number, *name, sealed in rows:
                with result.counting(bytes(sealed)):
                    body = self._seal.open(bytes(sealed), _associated(*name), f"event {number} of {name[0]}")
                    anew.append((self._seal.close(body, _associated(*name)), number, sealed))
            with self.store.transaction(durable=True) as run:
                for values in anew:
                    run("UPDATE inbox_events SET sealed = ? WHERE number = ? AND sealed = ?", values)
            after = rows[-1][0]
        self._reseal_digest_key(head, result)
        return result

    def _reseal_digest_key(self, head: bytes, result: Resealed) -> None:
        for (sealed,) in self.store.read(sql.DIGEST_KEY):
            if not bytes(sealed).startswith(head):
                with result.counting(bytes(sealed)):
                    found = self._seal.open(bytes(sealed), _DIGEST_KEY, "the inbox's digest key")
                    with self.store.transaction(durable=True) as run:
                        run(
                            "UPDATE inbox_keys SET sealed = ? WHERE name = 'digest'",
                            (self._seal.close(found, _DIGEST_KEY),),
                        )

    def purge_of(self, tenant: str, settled_before: float, *, dry_run: bool = False) -> int:
        """Forget a tenant's done and parked events that were settled before that moment; gives how many."""
        values = (tenant, settled_before)
        if dry_run:
            return int(self.store.read(f"SELECT COUNT(*) {sql.SETTLED}", values)[0][0])
        with self.store.transaction(durable=True) as run:
            return len(run(f"DELETE {sql.SETTLED} RETURNING number", values))

    def erase(self, event: Event, left: bytes | None = None) -> None:
        """Take an event away whatever its state, or keep of its body only what is `left`."""
        with self.store.transaction(durable=True) as run:
            if left is None:
                run("DELETE FROM inbox_events WHERE number = ?", (event.number,))
                return
            sealed = self._seal.close(left, _associated(event.tenant, event.side.value, event.delivery_id))
            run("UPDATE inbox_events SET sealed = ? WHERE number = ?", (sealed, event.number))

    def depth(self, tenant: str | None = None) -> Depth:
        """How much of a tenant waits, or of all."""
        depths = self.depths()
        if tenant is not None:
            return depths.get(tenant, Depth())
        oldest = [depth.oldest_at for depth in depths.values() if depth.oldest_at is not None]
        return Depth(
            sum(depth.pending for depth in depths.values()),
            sum(depth.leased for depth in depths.values()),
            sum(depth.parked for depth in depths.values()),
            min(oldest, default=None),
            min((depth.due_at for depth in depths.values() if depth.due_at is not None), default=None),
            sum(depth.conflicts for depth in depths.values()),
        )

    def depths(self) -> dict[str, Depth]:
        """How much of each tenant waits; a tenant of which nothing waits and nothing conflicted is not in it."""
        counts: dict[str, dict[str, Any]] = {}
        for tenant, state, count, oldest_at, due_at in self.store.read(sql.DEPTHS):
            found = counts.setdefault(tenant, {})
            found[state] = count
            if state != State.PARKED:
                found["oldest_at"] = min(oldest_at, found.get("oldest_at", oldest_at))
                found["due_at"] = min(due_at, found.get("due_at", due_at))
        for tenant, seen in self.store.read("SELECT tenant, seen FROM inbox_conflicts"):
            counts.setdefault(tenant, {})["conflicts"] = seen
        return {tenant: Depth(**found) for tenant, found in counts.items()}

    def tenants_waiting(self, now: float) -> list[str]:
        """The tenants of which `lease` would give something at that moment."""
        return [tenant for (tenant,) in self.store.read(sql.TENANTS_DUE, (now, now))]

    def find(
        self,
        tenant: str | None = None,
        ids: Sequence[int | str] = (),
        since: float | None = None,
        until: float | None = None,
        state: State | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Events in the order of arrival; `ids` are numbers or delivery ids, `until` is excluded."""
        conditions, values = ["number > ?"], list[Any]()
        for condition, value in (
            ("tenant = ?", tenant),
            ("received_at >= ?", since),
            ("received_at < ?", until),
            ("state = ?", None if state is None else state.value),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if ids:
            numbers = [each for each in ids if isinstance(each, int)]
            texts = [each for each in ids if isinstance(each, str)]
            conditions.append(
                f"(number IN ({_places(numbers) or 'NULL'}) OR delivery_id IN ({_places(texts) or 'NULL'}))"
            )
            values.extend([*numbers, *texts])
        query = f"SELECT {sql.COLUMNS} FROM inbox_events WHERE {' AND '.join(conditions)} ORDER BY number LIMIT ?"
        after, left = 0, limit
        while left is None or left > 0:
            page = _PAGE if left is None else min(left, _PAGE)
            rows = self.store.read(query, (after, *values, page))
            yield from (self._event(row) for row in rows)
            if len(rows) < page:
                return
            after = rows[-1][0]
            left = None if left is None else left - len(rows)

    def check_writable(self) -> None:
        """Write as much as a large delivery has, and take it back; raises what the store raises when that can't be done."""
        # Two transactions: what is taken back before the commit never reaches the disk.
        with self.store.transaction(durable=True) as run:
            run(sql.PROBE, (bytes(_PROBE_BYTES),))
        with self.store.transaction(durable=True) as run:
            run("DELETE FROM inbox_probe")

    def _move(self, numbers: Sequence[int], change: str, values: Sequence[Any], *from_states: State) -> int:
        moved = 0
        states = ", ".join(f"'{state.value}'" for state in from_states)
        with self.store.transaction(durable=True) as run:
            for start in range(0, len(numbers), _PAGE):
                page = numbers[start : start + _PAGE]
                update = (
                    f"UPDATE inbox_events SET {change} WHERE number IN ({_places(page)}) AND state IN ({states})"
                    " RETURNING number"
                )
                moved += len(run(update, (*values, *page)))
        return moved

    def _event(self, row: tuple[Any, ...]) -> Event:
        number, tenant, side, delivery_id, received_at, state, attempts, not_before, note, content_type, sealed = row
        body = self._seal.open(bytes(sealed), _associated(tenant, side, delivery_id), f"event {number} of {tenant}")
        return Event(
            number,
            tenant,
            Side(side),
            delivery_id,
            received_at,
            State(state),
            attempts,
            not_before,
            note,
            content_type,
            body,
        )


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _associated(tenant: str, side: str, delivery_id: str) -> bytes:
    return f"inbox\0{tenant}\0{side}\0{delivery_id}".encode()
