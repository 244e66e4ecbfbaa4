"""Moodle's records in the shape of the changes contract, as its web services and reports give them.

What an ordinary account is not shown counts as not given: a deleted user, the front page, a course's visibility.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from lms_crm_assets.demo.proof_school import Row, records, text

_ZONE = ZoneInfo("Europe/London")
_REPORT_TIME = "%A, %d %B %Y, %I:%M %p"
_MOST_ACTIVE = ["Active", "Not current", "Suspended"]
_STATES = {"Yes": "completed", "No": "in_progress", None: "not_started"}
_YES_NO = {"Yes": True, "No": False, None: None}


def moodle_rows(url: str, *, now: datetime) -> dict[str, list[Row]]:
    """All rows of the site by entity; a person who is in a course by several methods is in it once."""
    return rows_of(*(records(url, kind) for kind in ("users", "courses", "enrolments", "competencies")), now=now)


def rows_of(
    users: Iterable[Row], courses: Iterable[Row], participants: Iterable[Row], ratings: Iterable[Row], *, now: datetime
) -> dict[str, list[Row]]:
    """The same, of the records."""
    counting = _counting(participants)
    return {
        "learners": [_learner(row) for row in users if not row["deleted"]],
        "courses": [_course(row) for row in courses if row["format"] != "site"],
        "enrollments": [_enrollment(row, now=now) for row in counting],
        "completions": [_completion(row) for row in counting],
        "scores": [_score(row) for row in counting if text(row["Grade"])],
        "competencies": [_rating(row) for row in ratings],
    }


def _counting(participants: Iterable[Row]) -> list[Row]:
    """The most active row of each person in each course."""
    found: dict[str, Row] = {}
    for row in participants:
        key = f"{row['userid']}:{row['courseid']}"
        found[key] = min(found.get(key, row), row, key=_activity)
    return list(found.values())


def _activity(row: Row) -> int:
    status = text(row["Status"])
    return _MOST_ACTIVE.index(status) if status in _MOST_ACTIVE else len(_MOST_ACTIVE)


def _learner(row: Row) -> Row:
    return {
        "id": row["id"],
        "username": row.get("username"),
        "email": row.get("email"),
        "given_name": row.get("firstname"),
        "family_name": row.get("lastname"),
        "organization": row.get("institution"),
        "country": row.get("country"),
        "status": "suspended" if row["suspended"] else "active",
    }


def _course(row: Row) -> Row:
    # The records hold the names unescaped already.
    dates = {"starts_at": _epoch(row["startdate"]), "ends_at": _epoch(row["enddate"])}
    return {"id": row["id"], "title": row["fullname"], "code": row["shortname"], **dates}


def _belonging(row: Row) -> Row:
    key = f"{row['userid']}:{row['courseid']}"
    return {"id": key, "learner_id": row["userid"], "course_id": row["courseid"]}


def _enrollment(row: Row, *, now: datetime) -> Row:
    starts = _moment(row["Time started"])
    not_current = "invited" if isinstance(starts, datetime) and starts > now else "expired"
    statuses = {"Active": "active", "Suspended": "suspended", "Not current": not_current}
    role = text(row["Role"])
    return {
        **_belonging(row),
        "role": role and role.lower(),
        "status": statuses.get(text(row["Status"]) or ""),
        "enrolled_at": _moment(row["Time created"]),
        "starts_at": starts,
        "ends_at": _moment(row["Time ended"]),
    }


def _completion(row: Row) -> Row:
    progress = text(row["Student progress"])
    return {
        **_belonging(row),
        "state": _STATES.get(text(row["Completed"])),
        "progress_pct": progress and progress.removesuffix("%"),
        "completed_at": _moment(row["Time completed"]),
    }


def _score(row: Row) -> Row:
    return {**_belonging(row), "item_type": "course", "raw": row["Grade"]}


def _rating(row: Row) -> Row:
    code, proficient = text(row["competency_idnumber"]), text(row["proficient"])
    return {
        "id": f"{row['userid']}:{code}",
        "learner_id": row["userid"],
        "code": code,
        "name": row["name"],
        "framework": row["framework_idnumber"],
        "rating": row["rating"],
        # An unknown word stays what it is, and makes the row invalid.
        "proficient": _YES_NO.get(proficient, proficient),
    }


def _epoch(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _moment(shown: Any) -> datetime | Any:
    """The moment that a report's cell shows; what can't be read stays as it is, and makes the row invalid."""
    if text(shown) is None:
        return None
    try:
        return datetime.strptime(str(shown).strip(), _REPORT_TIME).replace(tzinfo=_ZONE)
    except ValueError:
        return shown
