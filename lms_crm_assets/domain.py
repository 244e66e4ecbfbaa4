"""The words of the project as types: entities, objects, actions, records to send and their outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class LmsEntity(StrEnum):
    """What an LMS holds; the names of the raw_lms tables."""

    LEARNERS = "learners"
    COURSES = "courses"
    ENROLLMENTS = "enrollments"
    COMPLETIONS = "completions"
    SCORES = "scores"
    COMPETENCIES = "competencies"

    @property
    def staging_table(self) -> str:
        """The canonical table that this entity becomes, in the schema `staging`."""
        return _STAGING_TABLES[self]


_STAGING_TABLES = {
    LmsEntity.LEARNERS: "learner",
    LmsEntity.COURSES: "course",
    LmsEntity.ENROLLMENTS: "enrollment",
    LmsEntity.COMPLETIONS: "completion",
    LmsEntity.SCORES: "score",
    LmsEntity.COMPETENCIES: "learner_competency",
}


class RuleSeverity(StrEnum):
    """What becomes of a row that breaks a rule: `error` refuses it, `warn` lets it pass and counts, `off` is not looked at."""

    ERROR = "error"
    WARN = "warn"
    OFF = "off"


class CrmObject(StrEnum):
    """What is kept in the CRM, in the order of delivery: parents first."""

    CONTACT = "contact"
    COURSE = "course"
    ENROLLMENT = "enrollment"
    COMPLETION = "completion"
    COMPETENCY = "competency"

    @property
    def entity(self) -> LmsEntity:
        """The entity whose rows become this object's records."""
        return _ENTITIES[self]


_ENTITIES = {
    CrmObject.CONTACT: LmsEntity.LEARNERS,
    CrmObject.COURSE: LmsEntity.COURSES,
    CrmObject.ENROLLMENT: LmsEntity.ENROLLMENTS,
    CrmObject.COMPLETION: LmsEntity.COMPLETIONS,
    CrmObject.COMPETENCY: LmsEntity.COMPETENCIES,
}


class FieldType(StrEnum):
    """How a field's values are compared and written."""

    TEXT = "text"
    EMAIL = "email"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"


class Owner(StrEnum):
    """Whose word counts for one CRM field.

    `enforce`: the LMS's, also when it is empty. `never_null`: the LMS's, unless it is empty. `fill_if_empty`: the LMS
    fills an empty field and never touches another. `observe`: nobody writes, differences are reported.
    """

    ENFORCE = "enforce"
    NEVER_NULL = "never_null"
    FILL_IF_EMPTY = "fill_if_empty"
    OBSERVE = "observe"


class SyncMode(StrEnum):
    """What a plan may do with an object's records.

    `upsert`: create and update. `update`: only existing ones. `insert`: only new ones. `mirror`: upsert, and archive
    what is gone from the LMS. `archive`: only that.
    """

    UPSERT = "upsert"
    UPDATE = "update"
    INSERT = "insert"
    MIRROR = "mirror"
    ARCHIVE = "archive"


class Action(StrEnum):
    """What the plan does with one CRM record."""

    CREATE = "create"
    UPDATE = "update"
    ARCHIVE = "archive"
    UNCHANGED = "unchanged"


class OutcomeStatus(StrEnum):
    """What became of one record of a plan.

    `rejected`: the CRM refused the data. `failed`: the tries were used up, the next run sends it again. `skipped`: it
    was refused so often that it waits for a person, or for other data (a dead letter).
    """

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    SKIPPED = "skipped"


class Treatment(StrEnum):
    """What is done about a call or a record that was not taken; `ops.treatment` decides it."""

    RETRY = "retry"
    """Try again a few times with growing, jittered waits; then it is left for the next run."""
    SLOW_DOWN = "slow_down"
    """Wait as long as the other side says and ask less often; uses up no try."""
    NARROW = "narrow"
    """Have fewer calls under way at once; uses up no try."""
    PAUSE = "pause"
    """The day's calls are used up: what is pending is kept for the next run."""
    REFRESH = "refresh"
    """Get a fresh token and send once more; then a person has to look."""
    PARK = "park"
    """A person has to act: the same call is refused again."""
    BISECT = "bisect"
    """One record of the batch is to blame: halve it until that one stands alone."""
    REJECT = "reject"
    """The record's own data is refused."""
    RESEND = "resend"
    """The record is fine, its moment was not: send it again in a smaller batch."""
    ONCE_MORE = "once_more"
    """Another writer was first: send it once more, then it is refused."""
    HOLD = "hold"
    """What it refers to is not there yet: the next run sends it again."""
    STOP = "stop"
    """The CRM lacks a field or an object that the contract names: nothing more of the object is sent."""
    READ_BACK = "read_back"
    """What the call did is not known: read it back."""


@dataclass(frozen=True, slots=True)
class CrmWrite:
    """One record to upsert.

    `values` holds CRM field → value in normal form (text, see `crm.normal_form`; None clears the field), only the
    fields that are to change. `parents` holds the parent's object → its external id.
    """

    external_id: str
    crm_id: str | None
    action: Action
    values: Mapping[str, str | None]
    parents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """One association between two CRM records: a child's and a parent's, by their keys and by their CRM ids."""

    external_id: str
    parent_id: str
    from_crm_id: str
    to_crm_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record or link; `code` and `message` are the CRM's own words when it refused.

    `treatment` says what may still be done about a record that was not taken.
    """

    external_id: str
    status: OutcomeStatus
    crm_id: str | None = None
    code: str | None = None
    message: str | None = None
    treatment: Treatment | None = None


class RawRecord(NamedTuple):
    """One record as the LMS gave it, with the key that the adapter found in it."""

    source_id: str
    payload: Any
    is_deleted: bool = False
