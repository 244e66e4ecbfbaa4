"""What every CRM adapter offers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.domain import CrmObject, CrmWrite, Link, Outcome


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """One record as the CRM holds it.

    `values` has the CRM's own spelling, JSON scalars. `parents` maps the parent's object to the CRM ids it is linked
    to: none or one, more only where the CRM allows it and somebody did it.
    """

    external_id: str
    crm_id: str
    values: dict[str, Any]
    parents: dict[CrmObject, list[str]] = field(default_factory=dict)


class Linker(Protocol):
    """Associations as calls of their own, where `upsert` doesn't make them."""

    batch_size: int

    def link(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Associate records with their parents; one outcome a link, in order."""

    def unlink(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Take associations away; one outcome a link, in order."""


class BulkLoader(Protocol):
    """Loading many records as a job that the CRM works off by itself."""

    least: int
    """Fewer records are quicker in batches."""
    batch_size: int
    """Records a job."""
    concurrency: int
    """Jobs under way at once."""

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite], opened: Callable[[str], None], /) -> list[Outcome]:
        """Apply one job's records by match key and wait for it; one outcome a record, in order.

        `opened` is told the job's id before anything is sent, so that `settle` can end it when we are killed.
        """

    def settle(self, job_id: str) -> None:
        """End a job that a killed run left behind, so that it writes nothing after later runs; an unknown one is fine."""


class CrmAdapter(Protocol):
    """One CRM. Calls may be made from several threads, and raise the errors of `errors`.

    A refused record is an `Outcome`; `BatchRefusedError` means that nothing of the batch was written and one record
    of it is to blame; `OutcomeUnknownError` that nobody knows what was written. Reads are tried again where that may
    help, writes are not: `sync` does that.
    """

    batch_size: int
    concurrency: int
    calls_per_second: float
    """The rate that the adapter keeps to, or may be expected to reach where nothing limits it."""
    linker: Linker | None
    """None where `upsert` makes the links to parents too."""
    bulk: BulkLoader | None
    """None where there is no such way."""

    @property
    def traffic(self) -> Mapping[str, int]:
        """Calls made so far: `calls`, of them `rate_limited` and `failed`."""

    def probe(self) -> None:
        """Check address and credential with one cheap call."""

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """What the CRM tells of an object, and how it can be linked to `parents`; None when it has no such object."""

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """Every record that has the match key, page by page, with the fields of the spec."""

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:
        """The records that were created or changed since then, page by page; some may come twice, or be older.

        Deleted records and changed links to parents may be missing: only `snapshot` tells everything.
        """

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Apply one batch by match key; one outcome a record, in the batch's order."""

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Take records away the way the CRM lets people restore them; one outcome a record, in order."""

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """The records of these match keys as the CRM holds them now, in any order; missing ones are left out."""

    def quota(self) -> tuple[int, int] | None:
        """Calls used today and allowed a day, where the CRM tells."""

    def close(self) -> None:
        """Give the connections back."""
