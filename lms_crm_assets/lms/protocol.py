"""What every LMS adapter offers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lms_crm_assets.domain import LmsEntity, RawRecord


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an incremental pull of this LMS can and can't see.

    `supports_since`: it can give what changed since a moment. `has_tombstones`: deletes are among the changes.
    Without both, only a full pull tells the whole truth.
    """

    supports_since: bool
    has_tombstones: bool

    @property
    def needs_full_sweep(self) -> bool:
        """Whether a nightly full pull is needed to see deletes."""
        return not (self.supports_since and self.has_tombstones)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of one entity.

    `latest` is the newest of the source's own timestamps on the page, None where it has none. `total` is the number of
    records that the source says it has in all, None where it doesn't say.
    """

    entity: LmsEntity
    records: list[RawRecord]
    latest: datetime | None = None
    total: int | None = None


class LmsAdapter(Protocol):
    """One LMS. Each call may raise the errors of `errors`; a pull that ends without one was complete."""

    capabilities: Capabilities

    def probe(self) -> None:
        """Check address and credential with one cheap call."""

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """All records of the entities, or those changed at or after `since`, page by page."""

    def close(self) -> None:
        """Give the connections back."""
