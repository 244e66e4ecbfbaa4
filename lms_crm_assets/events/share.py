"""A run's share of the inbox: the events that it takes, the keys that they touch, and how they are settled in the end.

Steps of one run hand it on as a file, and a killed run's events come back when their lease ends.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import orjson
import structlog

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.hints import Hints, touched
from lms_crm_assets.hints.found import By
from lms_crm_assets.ops.inbox import Event, Inbox

_log = structlog.get_logger(__name__)

LEASE_SECONDS = 900.0
"""A run of so many events is over in that time; of one that was killed they come back after it."""

MOST_EVENTS = 100_000
"""Taken by one run: many small events become few calls, and the CRM's changes, our own writes among them, are read once."""

MOST_ATTEMPTS = 10
_PAGE = 500
# Ids of deliveries in one line of a batch.
_SHOWN = 20
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 600.0
_AFTER_FAILURE_SECONDS = 30.0

_OF_ENROLLMENTS = frozenset({LmsEntity.COMPLETIONS, LmsEntity.SCORES})

LearnerIds = Callable[[Collection[tuple[By, str]]], Mapping[tuple[By, str], str]]
"""Looks up the ids of learners who are told by username or e-mail address alone."""


@dataclass
class Taken:
    """One event: its number, how often it was taken, the LMS keys that it touches, and the CRM's records by their id.

    `delivery_id` is the sender's name of it, for the audit trail and the log.
    """

    number: int
    attempts: int
    keys: list[tuple[LmsEntity, str]]
    crm: list[tuple[CrmObject, str]] = field(default_factory=list)
    delivery_id: str = ""


@dataclass
class Settled:
    """How many events were done, will be tried again, and are tried no more."""

    done: int = 0
    retried: int = 0
    parked: int = 0


@dataclass
class Share:
    """What one run took.

    `unseen` are keys that the LMS doesn't show and that we never had: they may come yet. `everything`: what hangs on the
    touched rows may be anywhere, since rows went or learners or courses came.
    """

    events: list[Taken] = field(default_factory=list)
    unseen: set[tuple[LmsEntity, str]] = field(default_factory=set)
    everything: bool = False

    @property
    def keys(self) -> dict[LmsEntity, list[str]]:
        """The touched keys by entity, each once."""
        return _by_kind(LmsEntity, (touched for event in self.events for touched in event.keys))

    @property
    def crm_ids(self) -> dict[CrmObject, list[str]]:
        """The ids of the CRM's records that it told of, by object, each once."""
        return _by_kind(CrmObject, (told for event in self.events for told in event.crm))

    @property
    def entities(self) -> set[LmsEntity]:
        """The entities of which rows may have changed."""
        if self.everything:
            return set(LmsEntity)
        return {entity for event in self.events for entity, _ in event.keys}

    @property
    def objects(self) -> set[CrmObject]:
        """The objects of which records may have to change."""
        entities = self.entities
        found = {obj for obj in CrmObject if obj.entity in entities}
        told = {obj for event in self.events for obj, _ in event.crm}
        # One that was deleted there is made anew, and what hangs on it is linked to it.
        found |= set(CrmObject) if told & {CrmObject.CONTACT, CrmObject.COURSE} else told
        if LmsEntity.COURSES in entities:
            found.add(CrmObject.CONTACT)  # whose roll-ups name courses
        if LmsEntity.SCORES in entities:
            found.add(CrmObject.COMPLETION)
        if entities - {LmsEntity.LEARNERS, LmsEntity.COURSES}:
            # Roll-ups, and parents that the CRM lacks.
            found |= {CrmObject.CONTACT, CrmObject.COURSE}
        return found

    def told_by(self) -> Callable[[Sequence[str]], list[str]]:
        """Gives the ids of the deliveries that told of records with these keys; where few events were taken, all of them."""
        if len(self.events) <= _SHOWN:
            few = [event.delivery_id for event in self.events]
            return lambda _keys: few
        by_key: defaultdict[str, list[str]] = defaultdict(list)
        for event in self.events:
            for _, key in event.keys:
                by_key[key].append(event.delivery_id)
        return lambda keys: list(islice((told for key in keys for told in by_key.get(key, ())), _SHOWN))

    def save(self, file: Path) -> None:
        """Keep it for the steps to come; it holds ids of the LMS and of the CRM and nothing else of anybody."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        events = [[e.number, e.attempts, e.keys, e.crm, e.delivery_id] for e in self.events]
        kept = {"events": events, "unseen": sorted(self.unseen), "everything": self.everything}
        part = file.with_suffix(".part")
        part.write_bytes(orjson.dumps(kept))
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Share":
        """What `save` kept; nothing where no step took anything."""
        if not file.exists():
            return cls()
        kept = orjson.loads(file.read_bytes())
        return cls(
            [
                Taken(number, attempts, [_key(*key) for key in keys], [(CrmObject(o), i) for o, i in crm], name)
                for number, attempts, keys, crm, name in kept["events"]
            ],
            {_key(*key) for key in kept["unseen"]},
            kept["everything"],
        )


Kind = TypeVar("Kind", LmsEntity, CrmObject)


def _by_kind(kinds: Iterable[Kind], named: Iterable[tuple[Kind, str]]) -> dict[Kind, list[str]]:
    """Keys or ids by what they are of, in that order, each once."""
    found: defaultdict[Kind, set[str]] = defaultdict(set)
    for kind, each in named:
        found[kind].add(each)
    return {kind: sorted(found[kind]) for kind in kinds if kind in found}


def take(inbox: Inbox, contract: Contract, learner_ids: LearnerIds) -> Share:
    """Lease the tenant's events; those that tell nothing which could be asked for are parked with the reason."""
    share, taken = Share(), 0
    # By pages: bodies are held only until it is known what they touch.
    while taken < MOST_EVENTS and (events := inbox.lease(contract.tenant, _PAGE, LEASE_SECONDS)):
        taken += len(events)
        _log.info("events_taken", events=len(events), delivery_ids=[event.delivery_id for event in events])
        _sort_out(inbox, share, events, _hints(contract, events, learner_ids))
    return share


def _hints(contract: Contract, events: Sequence[Event], learner_ids: LearnerIds) -> list[Hints]:
    found = [touched(contract, event.side.value, event.content_type, event.body) for event in events]
    named = {(lead.by, lead.value) for hints in found for lead in hints.leads}
    ids = learner_ids(named) if named else {}
    return [hints.resolved(ids) for hints in found]


def _sort_out(inbox: Inbox, share: Share, events: Sequence[Event], found: Sequence[Hints]) -> None:
    for event, hints in zip(events, found, strict=True):
        if event.attempts > MOST_ATTEMPTS:
            inbox.park(event.number, f"tried {MOST_ATTEMPTS} times")
        elif hints.lms or hints.crm or not hints.unknown:
            keys, crm = sorted(hints.lms), sorted(hints.crm)
            share.events.append(Taken(event.number, event.attempts, keys, crm, event.delivery_id))
        else:
            _cannot_tell(inbox, event, hints)


def _cannot_tell(inbox: Inbox, event: Event, hints: Hints) -> None:
    """A learner who is told by address alone may become known; of anything else nothing more will be."""
    if hints.leads and event.attempts < MOST_ATTEMPTS:
        inbox.retry(event.number, hints.unknown[0], inbox.store.clock() + pause_seconds(event.attempts))
    else:
        inbox.park(event.number, hints.unknown[0])


def settle(inbox: Inbox, share: Share, failed: AbstractSet[str] = frozenset()) -> Settled:
    """After the run's sync: an event whose rows were all seen is done; another is retried, and in the end parked.

    So is one of whose rows the records `failed`: no later run of events would send them.
    """
    done: list[int] = []
    settled = Settled()
    for event in share.events:
        if not failed.isdisjoint(key for _, key in event.keys):
            why = "the CRM did not take it"
        elif _awaited(event.keys, share.unseen):
            why = "LMS-505 the LMS does not show it"
        else:
            done.append(event.number)
            continue
        if event.attempts >= MOST_ATTEMPTS:
            settled.parked += inbox.park(event.number, why)
        else:
            not_before = inbox.store.clock() + pause_seconds(event.attempts)
            settled.retried += inbox.retry(event.number, f"{why} yet", not_before)
    settled.done = inbox.done(done)
    _log.info("events_settled", done=settled.done, retried=settled.retried, parked=settled.parked)
    return settled


def give_back(inbox: Inbox, share: Share) -> int:
    """After a run that failed: its events are taken again in a while; gives how many."""
    tried = max((event.attempts for event in share.events), default=0)
    # An event that makes every run fail is parked in the end by the count of its attempts.
    pause = max(_AFTER_FAILURE_SECONDS, pause_seconds(tried))
    numbers = [event.number for event in share.events]
    return inbox.give_back(numbers, "the run that took it failed", inbox.store.clock() + pause)


def _awaited(keys: Collection[tuple[LmsEntity, str]], unseen: Collection[tuple[LmsEntity, str]]) -> bool:
    """Whether a row may be yet to come.

    Of who has just been enrolled there is neither completion nor score: in an event of the enrollment they aren't missed.
    """
    seen = [f"{key}:" for entity, key in keys if entity is LmsEntity.ENROLLMENTS and (entity, key) not in unseen]
    return any(
        (entity, key) in unseen
        and not (entity in _OF_ENROLLMENTS and any(f"{key}:".startswith(enrollment) for enrollment in seen))
        for entity, key in keys
    )


def pause_seconds(attempts: int) -> float:
    """How long an event waits after it was taken so often."""
    return float(min(_FIRST_PAUSE_SECONDS * 2 ** max(0, attempts - 1), _LONGEST_PAUSE_SECONDS))


def _key(entity: str, source_id: str) -> tuple[LmsEntity, str]:
    return LmsEntity(entity), source_id
