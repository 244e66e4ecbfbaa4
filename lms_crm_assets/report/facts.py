"""What a report says of one run, as plain values. None of them is learner data: they are kept, and shown, as they are."""

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter

CHECKS, SCHEMA, CRM = "checks", "schema", "crm"
"""Who refuses: our checks of the LMS's rows, the CRM's schema before anything is sent, the CRM."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object's records in one run.

    `invalid`: rows that our checks refuse. `agreed`: records that agreed before anything was sent. `create`, `update` and
    `archive` are what the plan wanted, `created`, `updated` and `archived` what the CRM took. `overwritten`: planned updates
    of what others had changed in the CRM, since the LMS has the say; `kept`: records whose observed fields differ, since the
    CRM has it. `withheld` are not sent since the CRM would refuse them; `rejected` it refused; `failed` it did not
    answer for, or they hang on others; `dead` were refused too often to be sent. `by_mode`: differ, but the object's mode leaves them. `replaced`: planned
    updates that replace something, of `live` records in the CRM. `unsent`: why nothing was sent, where nothing was.
    """

    name: str
    invalid: int = 0
    agreed: int = 0
    create: int = 0
    update: int = 0
    archive: int = 0
    created: int = 0
    updated: int = 0
    archived: int = 0
    overwritten: int = 0
    kept: int = 0
    withheld: int = 0
    rejected: int = 0
    failed: int = 0
    dead: int = 0
    by_mode: int = 0
    replaced: int = 0
    live: int = 0
    unsent: str = ""

    @property
    def total(self) -> int:
        """All that the LMS has of it."""
        return self.invalid + self.agreed + self.create + self.update + self.by_mode + self.withheld

    @property
    def agreeing(self) -> int:
        """Records that agree at the run's end."""
        return self.agreed + min(self.created + self.updated, self.create + self.update)

    @property
    def changed(self) -> int:
        """Records that the run wrote."""
        return self.created + self.updated + self.archived

    @property
    def refused(self) -> int:
        """Records that somebody has to mend: refused by our checks, for the CRM's schema, or by the CRM."""
        return self.invalid + self.withheld + self.rejected + self.dead

    @property
    def waiting(self) -> int:
        """Records that differ and are refused by nobody: a later run sends them, or a person lets it."""
        return max(0, self.total - self.agreeing - self.refused - self.by_mode)


@dataclass(frozen=True, slots=True)
class RefusedFacts:
    """How many rows or records of a kind were refused for one reason, and by whom: `checks`, `schema` or `crm`.

    `crm_code` is the CRM's own word. A record can be refused for several reasons.
    """

    code: str
    rule: str
    by: str
    kind: str
    number: int
    crm_code: str = ""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The run's plan: `status` as in `delta.plans`; `breaches` what stopped it, `withheld` why it was kept, in plain words."""

    plan_id: str
    status: str
    calls: int = 0
    minutes: float = 0.0
    breach: str = ""
    withheld: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the contract's guardrails let a plan do; None where there is no such limit."""

    max_update_share: float
    max_updates: int | None
    max_archive_share: float
    max_archives: int | None
    floor: int
    quota_share: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run: which, of whom, when; what it found and did; how fresh the CRM is, and what is left of its day's calls.

    `agrees`: everything was sent and taken. `agreed_before`: when a run last ended so, before this one. `promised_minutes` is the
    contract's `sla`. `quota`: calls used and allowed, where the CRM tells. `differing`: what is said when the CRM does not
    hold what was written. `loose_invalid`: refused rows of the LMS that are no object's, scores that is.
    """

    tenant: str
    run_id: str
    job: str
    started_by: str
    began_at: datetime
    ended_at: datetime
    lms: str
    crm: str
    objects: tuple[ObjectFacts, ...]
    refused: tuple[RefusedFacts, ...]
    limits: Limits
    promised_minutes: int
    problems: tuple[str, ...] = ()
    plan: PlanFacts | None = None
    agrees: bool = False
    agreed_before: datetime | None = None
    quota: tuple[int, int] | None = None
    differing: str = ""
    loose_invalid: int = 0

    @property
    def is_pull(self) -> bool:
        """Whether it read what had changed alone."""
        return self.job == "incremental_pull"

    def sum_of(self, name: str) -> int:
        """One figure over all objects."""
        return sum(int(getattr(each, name)) for each in self.objects)

    @property
    def refused_in_all(self) -> int:
        """Rows and records that somebody has to mend."""
        return self.sum_of("refused") + self.loose_invalid

    @property
    def disagreeing(self) -> int:
        """Records that don't agree at the run's end."""
        return self.sum_of("total") - self.sum_of("agreeing")


@cache
def _reader() -> TypeAdapter[RunFacts]:
    return TypeAdapter(RunFacts)


def as_text(facts: RunFacts) -> str:
    """The facts as JSON."""
    return orjson.dumps(as_document(facts)).decode()


def as_document(facts: RunFacts) -> dict[str, Any]:
    """The facts as a document."""
    return asdict(facts)


def from_text(text: str) -> RunFacts:
    """The facts of a JSON that this version or an older one wrote."""
    return _reader().validate_json(text)
