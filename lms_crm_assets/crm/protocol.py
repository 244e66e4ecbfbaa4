"""What every CRM adapter offers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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


class CrmAdapter(Protocol):
    """One CRM. Calls may be made from several threads, and raise the errors of `errors`.

    A refused record is an `Outcome`; `BatchRefusedError` means that nothing of the batch was written and one record
    of it is to blame.
    """

    batch_size: int
    link_batch_size: int
    concurrency: int
    calls_per_second: float
    """The rate that the adapter keeps to, or may be expected to reach where nothing limits it."""
    links_with_upsert: bool
    """Whether `upsert` makes the links to parents too; otherwise they need `link` afterwards."""

    def probe(self) -> None:
        """Check address and credential with one cheap call."""

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """What the CRM tells of an object, and how it can be linked to `parents`; None when it has no such object."""

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """Every record that has the match key, page by page, with the fields of the spec."""

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Apply one batch by match key; one outcome a record, in the batch's order."""

    def link(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Associate records with their parents; one outcome a link, in order."""

    def unlink(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Take associations away; one outcome a link, in order."""

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Take records away the way the CRM lets people restore them; one outcome a record, in order."""

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """The records of these match keys as the CRM holds them now, in any order; missing ones are left out."""

    def quota(self) -> tuple[int, int] | None:
        """Calls used today and allowed a day, where the CRM tells."""

    def close(self) -> None:
        """Give the connections back."""
