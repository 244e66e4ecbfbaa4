"""Rows of forgotten learners are left out before they land: they are nowhere on the disk.

`people_of` knows how each LMS's rows say whose they are.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.protocol import Capabilities, LmsAdapter, Page
from lms_crm_assets.ops.suppression import NAME, Marks

# A learner's id, wherever an adapter's payloads have it: changes, Canvas, Thinkific, Moodle; OneRoster and Canvas deeper.
_IDS = ("learner_id", "user_id", "userid", "userId")
_IDS_INSIDE = (("user", "sourcedId"), ("student", "sourcedId"), ("links", "user"), ("user", "id"))
# Username and e-mail address in the rows of Moodle's reports, by position from 0 (staging/moodle).
_OF_PARTICIPANTS, _OF_COMPETENCIES = (1, 2), (3,)


def people_of(entity: LmsEntity, record: RawRecord) -> Iterator[tuple[str, str]]:
    """Whose row it is, as kind and value: ids as (`learners`, id), names as (`NAME`, text), and the row by its own key."""
    yield entity.value, record.source_id
    payload = record.payload
    if entity is LmsEntity.LEARNERS or not isinstance(payload, dict):
        return
    for value in _ids(payload):
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield LmsEntity.LEARNERS.value, str(value)
    columns = payload.get("columns")
    if isinstance(columns, list):
        places = _OF_COMPETENCIES if entity is LmsEntity.COMPETENCIES else _OF_PARTICIPANTS
        # An address may be several people's, a username is one's.
        named = (columns[n] for n in places if n < len(columns) and isinstance(columns[n], str) and columns[n].strip())
        if (name := next(named, None)) is not None:
            yield NAME, name


def _ids(payload: dict[str, Any]) -> Iterator[Any]:
    yield from (payload.get(name) for name in _IDS)
    for outer, inner in _IDS_INSIDE:
        found = payload.get(outer)
        yield found.get(inner) if isinstance(found, dict) else None


def left_out(entity: LmsEntity, record: RawRecord, marks: Marks) -> bool:
    """Whether the row is a forgotten learner's."""
    return any(marks.hold(kind, value) for kind, value in people_of(entity, record))


@dataclass(frozen=True)
class WithoutForgotten:
    """An LMS as it would be without those learners."""

    lms: LmsAdapter
    marks: Marks

    @property
    def capabilities(self) -> Capabilities:
        """As the LMS has them."""
        return self.lms.capabilities

    def probe(self) -> list[str]:
        """As the LMS answers."""
        return self.lms.probe()

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """The LMS's pages without their rows."""
        return self._without(self.lms.pull(entities, since))

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """The LMS's rows without theirs."""
        return self._without(self.lms.fetch(entity, keys))

    def close(self) -> None:
        """Give the connections back."""
        self.lms.close()

    def _without(self, pages: Iterator[Page]) -> Iterator[Page]:
        gone: dict[LmsEntity, set[str]] = {}
        for page in pages:
            kept: list[RawRecord] = []
            dropped = gone.setdefault(page.entity, set())
            for record in page.records:
                if left_out(page.entity, record, self.marks):
                    dropped.add(record.source_id)
                else:
                    kept.append(record)
            # What the LMS says it has in all counts them too.
            total = None if page.total is None else max(0, page.total - len(dropped))
            yield replace(page, records=kept, total=total)


def without_forgotten(lms: LmsAdapter, marks: Marks) -> LmsAdapter:
    """The LMS, without the rows of forgotten learners where there are some."""
    return WithoutForgotten(lms, marks) if marks else lms
