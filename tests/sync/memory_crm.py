"""A CRM in memory, written by hand, with what goes wrong in one: refusals, lost answers, kills, and people.

It keeps a log of every write that took effect, with what stood there before.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.crm.protocol import BulkLoader, CrmRecord, Linker
from lms_crm_assets.domain import CrmObject, CrmWrite, FieldType, Link, Outcome, OutcomeStatus
from lms_crm_assets.errors import BatchRefusedError, OutcomeUnknownError, RetryableError

_BLANKS = " \t\r\n"


class Killed(BaseException):
    """The process ended in the middle of a call."""


class Fault(StrEnum):
    """What becomes of one write call. `moment`: the first record of the batch fails for the moment."""

    NONE = "none"
    BEFORE = "before"
    LOST = "lost"
    MOMENT = "moment"
    KILL_BEFORE = "kill_before"
    KILL_AFTER = "kill_after"


@dataclass
class Held:
    """One record: values in the CRM's own spelling, links by parent."""

    obj: CrmObject
    crm_id: str
    key: str | None
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[CrmObject, set[str]] = field(default_factory=dict)

    def state(self) -> tuple[object, ...]:
        """All of it, to be compared with itself at another time."""
        links = tuple(sorted((parent, tuple(sorted(ids))) for parent, ids in self.links.items()))
        return (self.crm_id, tuple(sorted((k, repr(v)) for k, v in self.values.items())), links)


@dataclass(frozen=True)
class Logged:
    """One write that took effect: `before` holds what stood in the written fields, `changed` whether it mattered."""

    operation: str
    obj: CrmObject
    key: str
    crm_id: str
    values: dict[str, str | None]
    before: dict[str, str | None]
    changed: bool
    before_links: frozenset[str] = frozenset()


class MemoryCrm:
    """One CRM; `tidy` means that it brings values to a spelling of its own, `by_upsert` that lookups are fields."""

    batch_size = 2
    bulk: BulkLoader | None = None
    concurrency = 1  # faults are counted by call: two threads would make the order a matter of chance
    calls_per_second = 1000.0

    def __init__(self, *, by_upsert: bool, tidy: bool) -> None:
        self.linker: Linker | None = None if by_upsert else self
        self.traffic: dict[str, int] = {}
        self.tidy = tidy
        self.records: dict[str, Held] = {}
        self.log: list[Logged] = []
        self.write_calls = 0
        self.faults: list[Fault] = []
        self.refused: frozenset[str] = frozenset()
        self.refuses_batches = False
        self.dead = False
        self._ids = 0

    # What a person does there.

    def find(self, obj: CrmObject, key: str) -> Held | None:
        """The record with this match key, which is unique."""
        found = [held for held in self.records.values() if held.obj is obj and held.key == key]
        assert len(found) <= 1, f"{obj} {key} stands on {len(found)} records"
        return found[0] if found else None

    def make(self, obj: CrmObject, key: str | None) -> Held:
        """A new, empty record."""
        self._ids += 1
        held = Held(obj, str(self._ids), key)
        self.records[held.crm_id] = held
        return held

    def delete(self, held: Held) -> None:
        """Take a record away, and the links to it."""
        del self.records[held.crm_id]
        for other in self.records.values():
            for ids in other.links.values():
                ids.discard(held.crm_id)

    def merge(self, winner: Held, loser: Held) -> None:
        """The winner keeps its key and values, takes what it lacks, and all children."""
        for name, value in loser.values.items():
            if winner.values.get(name) in (None, ""):
                winner.values[name] = value
        for parent, ids in loser.links.items():
            if self.linker is not None or not winner.links.get(parent):
                winner.links.setdefault(parent, set()).update(ids)
        for child in self.records.values():
            for ids in child.links.values():
                if loser.crm_id in ids:
                    ids.discard(loser.crm_id)
                    ids.add(winner.crm_id)
        self.delete(loser)

    # What the product calls.

    def probe(self) -> None:
        """Nothing to check."""

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """Never asked for by a delivery."""
        raise NotImplementedError

    def quota(self) -> tuple[int, int] | None:
        """None is told."""
        return None

    def close(self) -> None:
        """Nothing to give back."""

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """Pages of two."""
        found = [self._record(spec, h) for h in self.records.values() if h.obj is spec.object and h.key is not None]
        for start in range(0, len(found), 2):
            yield found[start : start + 2]

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:  # noqa: ARG002
        """Everything: it may be older."""
        yield from self.snapshot(spec)

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """Those that are there."""
        found = [self.find(spec.object, key) for key in external_ids]
        return [self._record(spec, held) for held in found if held is not None]

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Create or change by match key; a lookup by an unknown key is refused, as Salesforce does."""
        return self._call(writes, lambda write: self._upsert(spec, write))

    def link(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Add associations."""
        return self._call(links, lambda link: self._associate(spec, parent, link, make=True))

    def unlink(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Take associations away; one that is not there counts as done."""
        return self._call(links, lambda link: self._associate(spec, parent, link, make=False))

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Delete by CRM id; a record that is not there counts as done."""
        return self._call(writes, lambda write: self._archive(spec, write))

    def _call(self, batch: Sequence[Any], act: Any) -> list[Outcome]:
        self.write_calls += 1
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault is Fault.KILL_BEFORE:
            self.dead = True
            raise Killed
        if fault is Fault.BEFORE:
            raise RetryableError("503")
        if self.refuses_batches and any(item.external_id in self.refused for item in batch):
            raise BatchRefusedError("no", code="INVALID", detail="d")
        outcomes: list[Outcome] = []
        for n, item in enumerate(batch):
            if item.external_id in self.refused:
                outcomes.append(Outcome(item.external_id, OutcomeStatus.REJECTED, None, "INVALID", "no"))
            elif fault is Fault.MOMENT and n == 0:
                outcomes.append(Outcome(item.external_id, OutcomeStatus.FAILED, None, "UNABLE_TO_LOCK_ROW"))
            else:
                outcomes.append(act(item))
        if fault is Fault.KILL_AFTER:
            self.dead = True
            raise Killed
        if fault is Fault.LOST:
            raise OutcomeUnknownError("the connection broke off")
        return outcomes

    def _upsert(self, spec: ObjectSpec, write: CrmWrite) -> Outcome:
        links: dict[CrmObject, set[str]] = {}
        for name, key in write.parents.items() if self.linker is None else ():
            to = self.find(CrmObject(name), key)
            if to is None:
                return Outcome(write.external_id, OutcomeStatus.REJECTED, None, "INVALID_FIELD", "no such parent")
            links[CrmObject(name)] = {to.crm_id}
        held = self.find(spec.object, write.external_id)
        new = held is None
        held = held or self.make(spec.object, write.external_id)
        before = {name: normal(held.values.get(name), spec.fields[name]) for name in write.values}
        written = {name: normal(value, spec.fields[name]) for name, value in write.values.items()}
        moved = any(held.links.get(parent, set()) != ids for parent, ids in links.items())
        held.values.update({name: self.spelled(value, spec.fields[name]) for name, value in write.values.items()})
        held.links.update(links)
        self.log.append(
            Logged(
                "upsert",
                spec.object,
                write.external_id,
                held.crm_id,
                written,
                before,
                new or moved or before != written,
            )
        )
        return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, held.crm_id)

    def _associate(self, spec: ObjectSpec, parent: CrmObject, link: Link, *, make: bool) -> Outcome:
        child, to = self.records.get(link.from_crm_id), self.records.get(link.to_crm_id)
        if make and (child is None or to is None):
            return Outcome(link.external_id, OutcomeStatus.REJECTED, None, "OBJECT_NOT_FOUND", "no such record")
        ids = child.links.setdefault(parent, set()) if child else set()
        before = frozenset(ids)
        (ids.add if make else ids.discard)(link.to_crm_id)
        name = f"{'link' if make else 'unlink'} {parent}"
        self.log.append(
            Logged(name, spec.object, link.external_id, link.from_crm_id, {}, {}, before != ids, before_links=before)
        )
        return Outcome(link.external_id, OutcomeStatus.SUCCEEDED, link.from_crm_id)

    def _archive(self, spec: ObjectSpec, write: CrmWrite) -> Outcome:
        held = self.records.get(str(write.crm_id))
        if held is not None:
            self.delete(held)
        self.log.append(
            Logged("archive", spec.object, write.external_id, str(write.crm_id), {}, {}, changed=held is not None)
        )
        return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, write.crm_id)

    def _record(self, spec: ObjectSpec, held: Held) -> CrmRecord:
        parents = {parent: sorted(held.links.get(parent, ()), key=int) for parent in spec.parents}
        return CrmRecord(str(held.key), held.crm_id, {name: held.values.get(name) for name in spec.fields}, parents)

    def spelled(self, value: str | None, spec: FieldSpec) -> Any:
        """A value the way this CRM keeps it."""
        if not self.tidy:
            return value
        text = normal(value, spec)
        if text is None:
            return "" if spec.type is FieldType.TEXT else None
        match spec.type:
            case FieldType.NUMBER:
                return float(text)
            case FieldType.BOOLEAN:
                return text == "true"
            case FieldType.DATETIME if "date" not in spec.normalisers:
                return text.replace("Z", ".000+0000")
            case _:
                return text


def normal(value: Any, spec: FieldSpec) -> str | None:
    """The normal form, worked out without the product; nothing is the empty text."""
    text = "" if value is None else str(value).strip(_BLANKS)
    if spec.type is FieldType.BOOLEAN:
        known = {"true": "true", "false": "false"}.get(text.lower())
        return known or ("false" if spec.owner == "enforce" else None)
    if not text:
        return None
    match spec.type:
        case FieldType.EMAIL:
            return text.lower()
        case FieldType.NUMBER:
            return str(Decimal(text).quantize(Decimal(1).scaleb(-spec.scale), ROUND_HALF_UP))
        case FieldType.DATETIME:
            moment = datetime.fromisoformat(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text))
            # A date has no offset.
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            return f"{moment:%Y-%m-%d}" if "date" in spec.normalisers else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        case _:
            return text.upper() if "upper" in spec.normalisers else text
