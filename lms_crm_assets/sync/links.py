"""The links of records to one parent, as planned operations of their own, where the CRM's upsert doesn't make them.

Wrong associations are taken away before the right ones are made: a record never has two parents for long, and one whose
wrong parent stays gets no second one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.protocol import Linker
from lms_crm_assets.domain import Action, CrmObject, Link, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.sync.batches import Part, link_batches, spool_links
from lms_crm_assets.sync.journal import Entry, Sent
from lms_crm_assets.sync.phase import Phase
from lms_crm_assets.sync.rejections import Letters
from lms_crm_assets.sync.sending import send_batch


@dataclass
class Links:
    """The links of one object's records to `parent`; `stem` is the path that its spool files begin with, `called` hears of each call."""

    linker: Linker
    spec: ObjectSpec
    parent: CrmObject
    workers: int
    stem: str
    called: Callable[[], None]
    part: Part = Part.ALL
    total: int = 0
    _orphans: list[str] = field(default_factory=list)
    _kept: set[str] = field(default_factory=set)

    def spool(self, con: duckdb.DuckDBPyConnection, plan_id: str) -> None:
        """Read from the plan what is to be linked and unlinked."""
        files = self._links, self._unlinks
        self.total, self._orphans = spool_links(con, self.spec, plan_id, self.parent, files, part=self.part)

    def unlinking(self) -> Phase[Link]:
        """Take wrong associations away; these are tried in every run, for a second parent is made only beside none."""

        def unlink(part: Sequence[Link]) -> list[Outcome]:
            self.called()
            return self.linker.unlink(self.spec, self.parent, part)

        def send(batch: Sequence[Link]) -> list[Outcome]:
            outcomes = send_batch(unlink, batch)
            self._kept.update(o.external_id for o in outcomes if o.status is not OutcomeStatus.SUCCEEDED)
            return outcomes

        name = f"unlink {self.parent}"
        batches = link_batches(self._unlinks, self.linker.batch_size)
        return Phase(name, batches, send, lambda _: Sent(name, Action.UPDATE, {}, {}), self.workers)

    def linking(self, letters: Letters) -> Phase[Link]:
        """Make the right associations; what links to a parent that is not there is left for the next run."""
        name = f"link {self.parent}"

        def sent(link: Link) -> Sent:
            return Sent(name, Action.UPDATE, {}, {self.parent.value: link.parent_id})

        def link(part: Sequence[Link]) -> list[Outcome]:
            self.called()
            return self.linker.link(self.spec, self.parent, part)

        def send(batch: Sequence[Link]) -> list[Outcome]:
            return send_batch(link, batch)

        why = f"its {self.parent} is not in the CRM"
        orphans = [
            Entry(
                Outcome(key, OutcomeStatus.FAILED, None, "PARENT_MISSING", why, Treatment.HOLD),
                Sent(name, Action.UPDATE, {}, {}),
            )
            for key in self._orphans
        ]
        return Phase(name, self._right_ones(), send, sent, self.workers, letters, orphans)

    def close(self) -> None:
        """Remove the spool files."""
        self._links.unlink(missing_ok=True)
        self._unlinks.unlink(missing_ok=True)

    def _right_ones(self) -> Iterator[list[Link]]:
        for batch in link_batches(self._links, self.linker.batch_size):
            if right := [link for link in batch if link.external_id not in self._kept]:
                yield right

    @property
    def _links(self) -> Path:
        return Path(f"{self.stem}.{self.parent}.links")

    @property
    def _unlinks(self) -> Path:
        return Path(f"{self.stem}.{self.parent}.unlinks")
