"""The specification's rules on rows in the shape of the changes contract: which are valid, and what each comes to.

A row is valid or not as a whole; what is null here is never written. The school gives such rows itself, `proof_moodle`
brings Moodle's into their shape.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import httpx

Row: TypeAlias = dict[str, Any]
Value: TypeAlias = str | bool | Decimal | datetime | None
Pair: TypeAlias = tuple[str, str]
"""Learner and course."""

ENTITIES = ("learners", "courses", "enrollments", "completions", "scores", "competencies")
OBJECT_OF = {
    "learners": "contact",
    "courses": "course",
    "enrollments": "enrollment",
    "completions": "completion",
    "competencies": "competency",
}

_LEARNER_STATUSES = {"active", "suspended"}
_ENROLLMENT_STATUSES = {"active", "invited", "suspended", "expired", "completed", "withdrawn"}
_STATES = {"not_started", "in_progress", "completed"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
# What Moodle's `delete_user` makes of a user name: the address and the moment of the deletion.
_DELETED_USERNAME = re.compile(r".+@.+\.\d{9,11}", re.DOTALL)
# A spreadsheet's formula: after an equals sign anything, after another sign a call or a reference to another sheet or program.
_FORMULA = re.compile(r"\s*(=|[-+@][^\s(|!]*[(|!])")
_NAMES = ("given_name", "family_name", "organization", "title", "name")
_PATIENCE_SECONDS = 120.0  # a school of a million rows answers in one piece


@dataclass(frozen=True)
class ValidRow:
    """A valid row: its id, its attributes by their canonical names, and the learner and course it belongs to."""

    key: str
    values: Mapping[str, Value]
    learner_id: str | None = None
    course_id: str | None = None

    def text(self, name: str) -> str | None:
        """An attribute that is text."""
        value = self.values[name]
        return value if isinstance(value, str) else None

    def moment(self, name: str) -> datetime | None:
        """An attribute that is a date."""
        value = self.values[name]
        return value if isinstance(value, datetime) else None

    def number(self, name: str) -> Decimal | None:
        """An attribute that is a number."""
        value = self.values[name]
        return value if isinstance(value, Decimal) else None


def records(url: str, kind: str) -> list[Row]:
    """Every record that a sandbox holds of one object."""
    # Loopback must not go through a proxy of the environment.
    with httpx.Client(trust_env=False, timeout=_PATIENCE_SECONDS) as client:
        answer = client.get(f"{url.rstrip('/')}/_sandbox/records/{kind}").raise_for_status()
    found: list[Row] = answer.json()["records"]
    return found


def school_rows(url: str) -> dict[str, list[Row]]:
    """All rows of the school by entity, with the competency's own attributes beside the rating's."""
    rows = {entity: records(url, entity) for entity in ENTITIES}
    rows["competencies"] = [{**row, **(row.get("competency") or {})} for row in rows["competencies"]]
    return rows


def valid_rows(rows: Mapping[str, Sequence[Row]]) -> dict[str, list[ValidRow]]:
    """The valid rows by CRM object; a completion's values have its `score`."""
    read = {entity: list(_readable(entity, rows[entity])) for entity in ENTITIES}
    learners = _valid_learners(read["learners"])
    courses = [row for row in read["courses"] if row.values["title"]]
    learner_ids, course_ids = {row.key for row in learners}, {row.key for row in courses}

    def belonging(entity: str) -> list[ValidRow]:
        return [row for row in read[entity] if row.learner_id in learner_ids and row.course_id in course_ids]

    enrollments = [row for row in belonging("enrollments") if row.text("status") in _ENROLLMENT_STATUSES]
    begun = _begun(enrollments)
    scores = _course_scores(row for row in belonging("scores") if _in_range(row))
    completions = [
        ValidRow(row.key, {**row.values, "score": scores.get(_pair(row))}, row.learner_id, row.course_id)
        for row in belonging("completions")
        if row.text("state") in _STATES and not _before(row.moment("completed_at"), begun.get(_pair(row)))
    ]
    competencies = [
        row
        for row in read["competencies"]
        if row.learner_id in learner_ids and row.course_id in {None, *course_ids}
        if row.values["code"] and row.values["name"]
    ]
    found = (learners, courses, enrollments, completions, competencies)
    return dict(zip(OBJECT_OF.values(), found, strict=True))


def text(given: Any) -> str | None:
    """Trimmed text; blank is null."""
    return None if given is None else str(given).strip() or None


def _lower(given: Any) -> str | None:
    found = text(given)
    return found and found.lower()


def _number(given: Any) -> Decimal | None:
    """`ValueError` for anything else, HTML or a truth value too."""
    found = text(given)
    if found is None:
        return None
    try:
        number = Decimal(found)
    except InvalidOperation as exc:
        raise ValueError(f"{given!r} is no number") from exc
    if isinstance(given, bool) or "_" in found or not number.is_finite():
        raise ValueError(f"{given!r} is no number")
    return number


def _moment(given: Any) -> datetime | None:
    """`ValueError` for anything but a moment with its offset."""
    if isinstance(given, datetime):
        return given
    found = text(given)
    if found is None:
        return None
    moment = datetime.fromisoformat(found)
    if moment.tzinfo is None:
        raise ValueError(f"{given!r} has no offset")
    return moment


def _yes_no(given: Any) -> bool | None:
    if given is None or isinstance(given, bool):
        return given
    raise ValueError(f"{given!r} is neither yes nor no")


_READERS: Mapping[str, Mapping[str, Callable[[Any], Value]]] = {
    "learners": {
        **dict.fromkeys(("username", "given_name", "family_name", "organization", "country", "status"), text),
        "email": _lower,
    },
    "courses": {"title": text, "code": text, "visible": _yes_no, "starts_at": _moment, "ends_at": _moment},
    "enrollments": {
        "role": text,
        "status": text,
        "enrolled_at": _moment,
        "starts_at": _moment,
        "ends_at": _moment,
    },
    "completions": {"state": text, "progress_pct": _number, "completed_at": _moment},
    "scores": {"item_type": text, "raw": _number, "min": _number, "max": _number, "graded_at": _moment},
    "competencies": {
        **dict.fromkeys(("code", "name", "framework", "rating"), text),
        "proficient": _yes_no,
        "rated_at": _moment,
    },
}


def _readable(entity: str, rows: Sequence[Row]) -> Iterable[ValidRow]:
    """The rows with an id of their own whose values can all be read."""
    copies = Counter(text(row.get("id")) for row in rows)
    for row in rows:
        key = text(row.get("id"))
        if key is None or copies[key] > 1:
            continue
        try:
            values = {name: read(row.get(name)) for name, read in _READERS[entity].items()}
        except ValueError:
            continue
        if any(_FORMULA.match(str(values.get(name) or "")) for name in _NAMES):
            continue
        yield ValidRow(key, values, text(row.get("learner_id")), text(row.get("course_id")))


def _valid_learners(rows: Sequence[ValidRow]) -> list[ValidRow]:
    sound = [
        row
        for row in rows
        if row.values["family_name"] and row.values["status"] in _LEARNER_STATUSES
        if _EMAIL.fullmatch(row.text("email") or "") and not _DELETED_USERNAME.fullmatch(row.text("username") or "")
    ]
    holders = Counter(row.values["email"] for row in sound)
    return [row for row in sound if holders[row.values["email"]] == 1]


def _pair(row: ValidRow) -> Pair:
    return str(row.learner_id), str(row.course_id)


def _begun(enrollments: Iterable[ValidRow]) -> dict[Pair, datetime]:
    """When a learner's part in a course began: the earliest of the enrollment's dates, none where it has none."""
    dates: dict[Pair, list[datetime]] = defaultdict(list)
    for row in enrollments:
        dates[_pair(row)] += [moment for name in ("enrolled_at", "starts_at") if (moment := row.moment(name))]
    return {pair: min(moments) for pair, moments in dates.items() if moments}


def _before(moment: datetime | None, start: datetime | None) -> bool:
    return moment is not None and start is not None and moment < start


def _in_range(score: ValidRow) -> bool:
    raw, low, high = (score.number(name) for name in ("raw", "min", "max"))
    return raw is None or ((low is None or raw >= low) and (high is None or raw <= high))


def _course_scores(scores: Iterable[ValidRow]) -> dict[Pair, Decimal | None]:
    """The raw value of the newest course score of each learner and course."""
    found: dict[Pair, ValidRow] = {}
    for row in scores:
        if row.values["item_type"] == "course":
            found[_pair(row)] = min(found.get(_pair(row), row), row, key=_newest_first)
    return {pair: row.number("raw") for pair, row in found.items()}


def _newest_first(score: ValidRow) -> tuple[bool, float, str]:
    graded = score.moment("graded_at")
    return graded is None, -graded.timestamp() if graded else 0.0, score.key
