"""Forgetting one learner of a tenant: everywhere, with a receipt, and so that no later pull brings them back."""

import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.answers import API, erase_answers
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.lanes import both_lanes
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.suppression import NAME, Suppression
from lms_crm_assets.privacy.archiving import archive_records, to_archive
from lms_crm_assets.privacy.deliveries import erase_deliveries
from lms_crm_assets.privacy.erasure import erase_rows
from lms_crm_assets.privacy.files import erase_files
from lms_crm_assets.privacy.person import Person, find_person
from lms_crm_assets.privacy.receipt import Receipt
from lms_crm_assets.settings import Settings
from lms_crm_assets.sync.journal import recover
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import Location, locate
from lms_crm_assets.warehouse.publishing import publish
from lms_crm_assets.warehouse.rewriting import rewrite


@dataclass(frozen=True)
class Forgetting:
    """Forgetting in one state folder; `by` is who asked, `now` when."""

    settings: Settings
    contract: Contract
    by: str
    now: datetime

    def look(self, text: str) -> Receipt:
        """What there is of the learner whom the text names; nothing is changed."""
        with self._alone():
            person = self._found(text)
            archived: Mapping[CrmObject, int] = {}
            with connect(self._warehouse) as con:
                if self._archives:
                    archived = to_archive(con, self.contract, person)
                rows = _counted(con, person)
            return self._receipt(person, archived, rows, self._delivered(person, dry_run=True), dry_run=True)

    def forget(self, text: str) -> tuple[Receipt, Path]:
        """Forget them; gives the receipt and where it is kept.

        In an order in which a second attempt finds the rest: the CRM first, then they are marked so that they don't come
        back, then everything of them goes, last the warehouse's rows, which alone tell what they are called, and the copy of
        these, which is made anew. `FatalError` where nobody fits or a guardrail refuses the archiving,
        `RetryableError` while a run of the tenant is at work or the CRM did not take it.
        """
        state_dir, tenant = self.settings.state_dir, self.contract.tenant
        with self._alone():
            person = self._found(text)
            archived: Mapping[CrmObject, int] = {}
            if self._archives:
                run_id = f"forget-{secrets.token_hex(4)}"
                archived = archive_records(
                    self._warehouse, state_dir, self.contract, person, run_id=run_id, now=self.now
                )
            Suppression.at(state_dir).add(tenant, person.marks())
            delivered = self._delivered(person, dry_run=False)
            with connect(self._warehouse) as con:
                con.execute("BEGIN")
                rows = erase_rows(con, person)
                con.execute("COMMIT")
            rewrite(self._warehouse)
            receipt = self._receipt(person, archived, rows, delivered, dry_run=False)
            kept = receipt.keep(state_dir)
            publish(self.settings, tenant, at_once=True)
            return receipt, kept

    def allow_again(self, text: str) -> int:
        """Let learners who were forgotten under that id or name come again; gives how many were."""
        named = [(LmsEntity.LEARNERS.value, text), (NAME, text)]
        return Suppression.at(self.settings.state_dir).lift(self.contract.tenant, named)

    def _alone(self) -> AbstractContextManager[None]:
        return both_lanes(self.settings.state_dir / "locks" / self.contract.tenant, self.contract.tenant)

    @property
    def _warehouse(self) -> Location:
        return locate(self.settings, self.contract.tenant)

    @property
    def _archives(self) -> bool:
        return self.contract.privacy.forget == "archive"

    def _found(self, text: str) -> Person:
        if not self._warehouse.exists():
            raise FatalError(f"{self.contract.tenant} was never reconciled: there is no {self._warehouse}")
        marks = Suppression.at(self.settings.state_dir).marks(self.contract.tenant)
        with connect(self._warehouse) as con:
            for obj in self.contract.in_order():
                # What a killed run wrote about them is only in its journal.
                recover(con, object_spec(self.contract, obj), self.settings.state_dir / "sync" / self.contract.tenant)
            return find_person(con, self.contract, text, marks)

    def _delivered(self, person: Person, *, dry_run: bool) -> tuple[int, int]:
        """Take away deliveries and kept answers, or count them."""
        inbox, answers = Inbox.at(self.settings.state_dir), OperationalStore.at(self.settings.state_dir, API)
        counts = (
            erase_deliveries(inbox, self.contract, person, dry_run=dry_run),
            erase_answers(answers, self.contract.tenant, person.words(), dry_run=dry_run),
        )
        if not dry_run:
            inbox.store.scrub()
            answers.scrub()
        return counts

    def _receipt(
        self,
        person: Person,
        archived: Mapping[CrmObject, int],
        rows: Mapping[str, int],
        delivered: tuple[int, int],
        *,
        dry_run: bool,
    ) -> Receipt:
        """Take away the files that lie beside the warehouse, or count them, and put all of it down."""
        state_dir, tenant = self.settings.state_dir, self.contract.tenant
        deliveries, answers = delivered
        return Receipt(
            tenant=tenant,
            learner=Suppression.at(state_dir).empty(tenant).of(LmsEntity.LEARNERS, person.learner),
            at=self.now.isoformat(timespec="seconds"),
            by=self.by,
            crm="archived" if self._archives else "left",
            archived={str(obj): number for obj, number in archived.items()},
            rows=dict(rows),
            files=erase_files(state_dir, tenant, dry_run=dry_run),
            deliveries=deliveries,
            answers=answers,
        )


def _counted(con: duckdb.DuckDBPyConnection, person: Person) -> dict[str, int]:
    con.execute("BEGIN")
    try:
        return erase_rows(con, person)
    finally:
        con.execute("ROLLBACK")
