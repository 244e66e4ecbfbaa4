"""What is found in a delivery: keys to ask for, people who are named otherwise than by key, and what can't be told."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, Literal

from lms_crm_assets.domain import CrmObject, LmsEntity

BATCH = "application/vnd.lms-crm.batch+json"
"""The content type of rows that came by our own connector API: `{"entity", "items": [{"id", …}, …]}`."""

MOST_KEYS = 10_000
MOST_UNKNOWN = 100
_LONGEST_KEY = 255
_LONGEST_ID = 19
_DECIMAL = re.compile(rf"[0-9]{{1,{_LONGEST_ID}}}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Names of types are words; a longer number in one would be somebody's or something's id.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:\\-]{0,79}")
_NUMBER = re.compile(r"[0-9]{4}")
_UNNAMED = "unnamed"

UNKNOWN, UNREADABLE, UNKEYED, TOO_MANY = "LMS-501", "LMS-502", "LMS-503", "LMS-504"
"""Codes of `checks.codes`, which stands above this package."""

By = Literal["username", "email"]


@dataclass(frozen=True, slots=True)
class Key:
    """A row to ask the LMS for, by its key in raw_lms."""

    entity: LmsEntity
    source_id: str


@dataclass(frozen=True, slots=True)
class CrmKey:
    """A CRM record to look at again, by the CRM's id."""

    obj: CrmObject
    record_id: str


@dataclass(frozen=True, slots=True, order=True)
class Lead:
    """A learner's row of whom only the username or the e-mail address is told.

    `event` is the event's name, `rest` what stands in the row's key behind the learner's id.
    """

    entity: LmsEntity
    by: By
    value: str = field(repr=False)
    rest: str
    event: str

    def key(self, learner_id: str) -> str:
        """The row's key, when it is known which learner that is."""
        return learner_id + self.rest

    @property
    def lacking(self) -> "Lacking":
        """What has to be known."""
        return lacking(UNKEYED, self.event, f" by {self.by}")


@dataclass(frozen=True, slots=True)
class Lacking:
    """What can't be told: a code and the type's name, never a person's data."""

    text: str


Finding = Key | CrmKey | Lead | Lacking


@dataclass(frozen=True, slots=True)
class Hints:
    """What a delivery touches.

    `leads` are rows whose keys follow when their learner's id is looked up, see `resolved`; as long as it isn't, `unknown`
    names them too. Each set holds 10,000 entries at most, the smallest ones, and `unknown` says if there were more.
    """

    lms: frozenset[tuple[LmsEntity, str]] = frozenset()
    crm: frozenset[tuple[CrmObject, str]] = frozenset()
    unknown: tuple[str, ...] = ()
    leads: frozenset[Lead] = frozenset()

    def __or__(self, other: "Hints") -> "Hints":
        """What both touch; the order doesn't matter."""
        return _bounded(
            self.lms | other.lms, self.crm | other.crm, {*self.unknown, *other.unknown}, self.leads | other.leads
        )

    def resolved(self, ids: Mapping[tuple[By, str], str]) -> "Hints":
        """With the leads as keys whose learner's id is known."""
        found = {lead: lead.key(ids[lead.by, lead.value]) for lead in self.leads if (lead.by, lead.value) in ids}
        left = self.leads - found.keys()
        settled = {lead.lacking.text for lead in found} - {lead.lacking.text for lead in left}
        return _bounded(
            self.lms | {(lead.entity, key) for lead, key in found.items()}, self.crm, {*self.unknown} - settled, left
        )


def gathered(findings: Iterable[Finding]) -> Hints:
    """All that was found, in whichever order."""
    lms: set[tuple[LmsEntity, str]] = set()
    crm: set[tuple[CrmObject, str]] = set()
    unknown: set[str] = set()
    leads: set[Lead] = set()
    for each in findings:
        match each:
            case Key(entity, source_id):
                lms.add((entity, source_id))
            case CrmKey(obj, record_id):
                crm.add((obj, record_id))
            case Lead():
                leads.add(each)
                unknown.add(each.lacking.text)
            case Lacking(text):
                unknown.add(text)
    return _bounded(lms, crm, unknown, leads)


def lacking(code: str, name: object, detail: str = "") -> Lacking:
    """`name` is what the sender calls the type; it is told only where it looks like one."""
    plain = isinstance(name, str) and _NAME.fullmatch(name) is not None and _NUMBER.search(name) is None
    return Lacking(f"{code} {name if plain else _UNNAMED}{detail}")


def row(entity: LmsEntity, value: Any, name: object) -> Finding:
    """The row with this id as an LMS gives it, in an event of that name."""
    key = text_key(value)
    return lacking(UNREADABLE, name, " without a usable id") if key is None else Key(entity, key)


def text_key(value: Any) -> str | None:
    """An id as text; None for what can't be one."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_LONGEST_ID:
        return str(value)
    usable = isinstance(value, str) and 0 < len(value) <= _LONGEST_KEY and not _CONTROL.search(value)
    return value if usable else None


def decimal_id(value: Any) -> str | None:
    """A positive whole number, given as such or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value) if isinstance(value, str) or 0 < value < 10**_LONGEST_ID else ""
    return (text.lstrip("0") or None) if _DECIMAL.fullmatch(text) else None


def member(value: Any, *names: str) -> Any:
    """The member of a JSON object, of its member and so on; None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def elements(value: Any) -> list[Any]:
    """The elements of a list, or the value as the only one."""
    return value if isinstance(value, list) else [value]


def _bounded(
    lms: Iterable[tuple[LmsEntity, str]],
    crm: Iterable[tuple[CrmObject, str]],
    unknown: set[str],
    leads: Iterable[Lead],
) -> Hints:
    """The smallest ones of too many, so that it is the same ones whatever the order."""
    cut_lms, cut_crm, cut_leads = frozenset(lms), frozenset(crm), frozenset(leads)
    if max(len(cut_lms), len(cut_crm), len(cut_leads)) > MOST_KEYS:
        unknown = unknown | {f"{TOO_MANY} more than {MOST_KEYS} keys"}
        cut_lms = frozenset(nsmallest(MOST_KEYS, cut_lms))
        cut_crm = frozenset(nsmallest(MOST_KEYS, cut_crm))
        cut_leads = frozenset(nsmallest(MOST_KEYS, cut_leads))
    # From the end: that there were too many keys is not to be left out.
    return Hints(cut_lms, cut_crm, tuple(sorted(sorted(unknown, reverse=True)[:MOST_UNKNOWN])), cut_leads)
