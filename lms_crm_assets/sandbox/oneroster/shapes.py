"""A school's rows as objects of OneRoster 1.2 (REST/JSON binding, 7), in the recorded shapes.

- A course is a course and its one class, `cls-<course>`; what a person takes part in is the class.
- `status` is `tobedeleted` for a row that is deleted, for a learner whom the source has deleted, and for a withdrawn
  enrollment. OneRoster has no invited, suspended, expired or completed enrollment: the dates are all it tells.
- A learner's employer is an org, and the learner's `primaryOrg`. `metadata` holds what OneRoster has no field for: the
  country, and whatever attribute nobody told of.
- A score is a result on the line item `li-<course>-<item>`, a rating one on `li-<course>-competencies` with the
  competency's code as the learning objective. A score that is no number comes as `textScore`. A rating outside a course
  stands in the gradebook of the course that teaches the competency, and its result names no class.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from lms_crm_assets.sandbox.school.layout import Row, time_text
from lms_crm_assets.sandbox.school.store import Known

SCHOOL_ORG, YEAR, TERM = "org-school", "ses-year", "ses-term"
CATEGORIES = {"cat-activity": "Activities", "cat-competency": "Competencies", "cat-total": "Course totals"}
COURSE_TOTAL, COMPETENCIES = "course-total", "competencies"
_PATHS = {
    "org": "rostering/v1p2/orgs",
    "user": "rostering/v1p2/users",
    "course": "rostering/v1p2/courses",
    "class": "rostering/v1p2/classes",
    "academicSession": "rostering/v1p2/academicSessions",
    "category": "gradebook/v1p2/categories",
    "lineItem": "gradebook/v1p2/lineItems",
}
_COMPETENCY_OF_COURSE = re.compile(r"CMP-(\d{4,7})")
_LEARNER = {"id", "username", "email", "given_name", "family_name", "organization", "status", "updated_at"}
_ENROLLMENT = {"id", "learner_id", "course_id", "role", "status", "enrolled_at", "starts_at", "ends_at", "updated_at"}


def class_id(course_id: str) -> str:
    """The sourcedId of a course's class."""
    return f"cls-{course_id}"


def org_id(organization: str) -> str:
    """The sourcedId of an employer."""
    return f"org-{hashlib.blake2b(organization.encode(), digest_size=6).hexdigest()}"


def line_item_id(course_id: str, item_id: str) -> str:
    """The sourcedId of the line item of a course that an item's results stand on."""
    return f"li-{course_id}-{item_id}"


def rated_in(rating: Row) -> str:
    """The course whose gradebook holds a rating: its own, or the one that teaches the competency."""
    if rating["course_id"] is not None:
        return str(rating["course_id"])
    found = _COMPETENCY_OF_COURSE.fullmatch((rating["competency"] or {}).get("code", ""))
    return f"crs-{int(found[1]) if found else 1:07d}"


@dataclass(frozen=True, slots=True)
class Shapes:
    """Makes the objects; `base` is the address that the references begin with, `start` and `end` bound the year."""

    base: str
    start: int
    end: int

    def org(self, sourced_id: str, name: str) -> Row:
        """The school, or an employer."""
        if sourced_id == SCHOOL_ORG:
            return self._head(sourced_id, self.start) | {"name": name, "type": "school"}
        return self._head(sourced_id, self.start) | {
            "name": name,
            "type": "department",
            "parent": self._ref("org", SCHOOL_ORG),
        }

    def session(self, sourced_id: str) -> Row:
        """The school year, or its one term."""
        first, last = time_text(self.start)[:10], time_text(self.end)[:10]
        whole_year = sourced_id == YEAR
        session: Row = self._head(sourced_id, self.start) | {
            "title": "School year" if whole_year else "Term",
            "startDate": first,
            "endDate": last,
            "type": "schoolYear" if whole_year else "term",
            "schoolYear": last[:4],
        }
        return session if whole_year else session | {"parent": self._ref("academicSession", YEAR)}

    def category(self, sourced_id: str) -> Row:
        """What a line item is for."""
        return self._head(sourced_id, self.start) | {"title": CATEGORIES[sourced_id]}

    def user(self, sourced_id: str, known: Known) -> Row:
        """A learner."""
        row = _present(known)
        gone = known.data is None or row["status"] == "deleted"
        school = self._ref("org", SCHOOL_ORG)
        employer = row["organization"]
        user: Row = self._head(sourced_id, known.updated, gone=gone) | {
            "enabledUser": _flag(not gone and row["status"] == "active"),
            "givenName": row["given_name"] or "",
            "familyName": row["family_name"] or "",
            "email": row["email"],
            "username": row["username"],
            "roles": [{"roleType": "primary", "role": "student", "org": school}],
            "primaryOrg": self._ref("org", org_id(employer)) if employer else school,
        }
        return _without_nulls(user) | _metadata(row, _LEARNER)

    def course(self, sourced_id: str, known: Known) -> Row:
        """A course."""
        row = _present(known)
        return self._head(sourced_id, known.updated, gone=known.data is None) | {
            "title": row["title"] or "",
            "courseCode": row["code"] or "",
            "org": self._ref("org", SCHOOL_ORG),
        }

    def class_(self, sourced_id: str, course_id: str, known: Known) -> Row:
        """A course's one class."""
        row = _present(known)
        return self._head(sourced_id, known.updated, gone=known.data is None) | {
            "title": row["title"] or "",
            "classCode": row["code"] or "",
            "classType": "scheduled",
            "course": self._ref("course", course_id),
            "school": self._ref("org", SCHOOL_ORG),
            "terms": [self._ref("academicSession", TERM)],
        }

    def enrollment(self, sourced_id: str, known: Known) -> Row:
        """A learner in a class."""
        row = _present(known)
        gone = known.data is None or row["status"] == "withdrawn"
        enrollment: Row = self._head(sourced_id, known.updated, gone=gone) | {
            "user": self._ref("user", row["learner_id"]),
            "class": self._ref("class", class_id(row["course_id"])),
            "school": self._ref("org", SCHOOL_ORG),
            "role": row["role"],
            "primary": "true",
            "beginDate": _day(row["starts_at"] or row["enrolled_at"]),
            "endDate": _day(row["ends_at"]),
        }
        return _without_nulls(enrollment) | _metadata(row, _ENROLLMENT)

    def line_item(self, sourced_id: str, course_id: str, item_id: str, known: Known | None) -> Row:
        """What results of a class stand on; `known` is the course, None for one that never was."""
        competency = item_id == COMPETENCIES
        kind = "competency" if competency else "total" if item_id == COURSE_TOTAL else "activity"
        updated, gone = (known.updated, known.data is None) if known else (self.start, True)
        last_day = time_text(self.end)[:10]
        item: Row = self._head(sourced_id, updated, gone=gone) | {
            "title": item_id.replace("-", " "),
            "assignDate": time_text(self.start)[:10],
            "dueDate": last_day,
            "class": self._ref("class", class_id(course_id)),
            "school": self._ref("org", SCHOOL_ORG),
            "category": self._ref("category", f"cat-{kind}"),
        }
        return item if competency else item | {"resultValueMin": 0, "resultValueMax": 100}

    def score(self, sourced_id: str, known: Known) -> Row:
        """A score as a result."""
        row = _present(known)
        result = self._result(sourced_id, known, row["course_id"], line_item_id(row["course_id"], row["item_id"]))
        raw, graded = row["raw"], _day(row["graded_at"])
        if raw is None:
            return result | {"scoreStatus": "not submitted", "scoreDate": graded or result["dateLastModified"][:10]}
        value = {"textScore": raw} if isinstance(raw, str) else {"score": raw}
        return result | {"scoreStatus": "fully graded", **value, "scoreDate": graded or result["dateLastModified"][:10]}

    def rating(self, sourced_id: str, known: Known) -> Row:
        """A rating as a result with learning objectives."""
        row = _present(known)
        result = self._result(sourced_id, known, row["course_id"], line_item_id(rated_in(row), COMPETENCIES))
        code, rating = (row["competency"] or {}).get("code"), row["rating"]
        rated = {"learningObjectiveId": code} | ({"textScore": rating} if rating is not None else {})
        return result | {
            "scoreStatus": "fully graded",
            "scoreDate": _day(row["rated_at"]) or result["dateLastModified"][:10],
            "learningObjectiveSet": [{"source": "unknown", "learningObjectiveResults": [rated] if code else []}],
        }

    def _result(self, sourced_id: str, known: Known, course_id: str | None, line_item: str) -> Row:
        result: Row = self._head(sourced_id, known.updated, gone=known.data is None) | {
            "lineItem": self._ref("lineItem", line_item),
            "student": self._ref("user", _present(known)["learner_id"]),
        }
        return result | {"class": self._ref("class", class_id(course_id))} if course_id is not None else result

    def _head(self, sourced_id: str, updated: int, *, gone: bool = False) -> Row:
        return {
            "sourcedId": sourced_id,
            "status": "tobedeleted" if gone else "active",
            "dateLastModified": time_text(updated)[:-1] + ".000Z",
        }

    def _ref(self, kind: str, sourced_id: Any) -> Row:
        href = f"{self.base}/ims/oneroster/{_PATHS[kind]}/{sourced_id}"
        return {"sourcedId": str(sourced_id), "href": href, "type": kind}


def _present(known: Known) -> Row:
    """The row, or what it was before it was deleted."""
    return known.data or known.last or {}


def _flag(value: bool) -> str:  # noqa: FBT001 - it is the one thing to say
    return "true" if value else "false"


def _day(time: str | None) -> str | None:
    return time and date.fromisoformat(time[:10]).isoformat()


def _without_nulls(item: Row) -> Row:
    return {name: value for name, value in item.items() if value is not None}


def _metadata(row: Mapping[str, Any], known: set[str]) -> Row:
    found = {name: value for name, value in row.items() if name not in known and value is not None}
    return {"metadata": found} if found else {}
