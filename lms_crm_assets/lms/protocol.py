"""What every LMS adapter offers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lms_crm_assets.domain import LmsEntity, RawRecord


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this LMS has, and what an incremental pull of it can and can't see.

    `entities`: what it has at all. `supports_since`: entities of which it can tell what changed since a moment.
    `has_tombstones`: entities whose deletes are among the changes.
    """

    entities: frozenset[LmsEntity]
    supports_since: frozenset[LmsEntity] = frozenset()
    has_tombstones: frozenset[LmsEntity] = frozenset()

    @property
    def needs_full_sweep(self) -> frozenset[LmsEntity]:
        """Entities whose deletes only a full pull sees."""
        return self.entities - (self.supports_since & self.has_tombstones)


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
    """One LMS. Each call may raise the errors of `errors`; what ends without one was complete."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can give, as it is configured."""

    def probe(self) -> list[str]:
        """Check address and credential; what the credential may not see, in plain words, a sentence each.

        `WrongAddressError`, `CredentialError` or `PermissionMissingError` where nothing can be read at all.
        """

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """All records of the entities, or those changed at or after `since`, page by page.

        With `since` an entity outside of `capabilities.supports_since` is given whole, and one row may come more than
        once: the last one counts. `PermissionMissingError` where a token plainly sees nobody but itself.
        """

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """The records with these keys as they are now, and as deleted those that the LMS no longer has.

        A key is a record's `source_id` in raw_lms. More records may come than were asked for.
        """

    def close(self) -> None:
        """Give the connections back."""
