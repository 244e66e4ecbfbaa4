"""What raw_lms has to hold of a school, told from the simulator's own records and not by way of any adapter."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lms_crm_assets.demo.proof_moodle import rows_of
from lms_crm_assets.demo.proof_school import ENTITIES, valid_rows
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from tests.lms.pulls import NOW

LEARNERS, COURSES, ENROLLMENTS, *_ = LmsEntity

Row = Mapping[str, Any]
Records = Callable[[str], Iterable[Row]]
Facts = dict[LmsEntity, dict[str, Any]]
"""By entity and key the value that the row has to tell."""

_REPORT_KEY = ("Username", "Course ID number", "Method", "Role", "Time created")
MOODLE_KINDS = ("users", "courses", "enrolments", "competencies")


def _by_id(records: Records, kind: LmsEntity) -> dict[str, Row]:
    return {row["id"]: row for row in records(str(kind))}


def changes(records: Records) -> Facts:
    """Every row as it is."""
    return {entity: {row["id"]: row for row in records(str(entity))} for entity in LmsEntity}


def canvas(records: Records) -> Facts:
    """Deleted people are not listed; their enrollments are, as deleted ones."""
    learners, courses = _by_id(records, LEARNERS), _by_id(records, COURSES)
    return {
        LEARNERS: {
            str(integer_id(key)): (row["email"], row["given_name"])
            for key, row in learners.items()
            if row["status"] != "deleted"
        },
        COURSES: {str(integer_id(key)): row["title"] for key, row in courses.items()},
        ENROLLMENTS: {
            f"{integer_id(row['learner_id'])}:{integer_id(row['course_id'])}:{integer_id(row['id'])}": integer_id(
                row["learner_id"]
            )
            for row in records("enrollments")
            if row["course_id"] in courses and row["learner_id"] in learners
        },
    }


def oneroster(records: Records) -> Facts:
    """What isn't `tobedeleted`."""
    return {
        LEARNERS: {
            row["id"]: (row["email"], row["given_name"]) for row in records("learners") if row["status"] != "deleted"
        },
        COURSES: {f"cls-{row['id']}": row["title"] for row in records("courses")},
        ENROLLMENTS: {row["id"]: row["learner_id"] for row in records("enrollments") if row["status"] != "withdrawn"},
    }


def thinkific(records: Records) -> Facts:
    """Nothing of people who are deleted."""
    living = {key: row for key, row in _by_id(records, LEARNERS).items() if row["status"] != "deleted"}
    return {
        LEARNERS: {str(integer_id(key)): (row["email"], row["given_name"]) for key, row in living.items()},
        COURSES: {str(integer_id(row["id"])): row["title"] for row in records("courses")},
        ENROLLMENTS: {
            str(integer_id(row["id"])): integer_id(row["learner_id"])
            for row in records("enrollments")
            if row["status"] != "withdrawn" and row["course_id"] is not None and row["learner_id"] in living
        },
    }


def moodle_by_course(records: Records) -> Facts:
    """Keys are made of ids."""
    return {
        **_moodle(records),
        ENROLLMENTS: {f"{row['userid']}:{row['courseid']}": row["Status"] == "Active" for row in records("enrolments")},
    }


def known_of_inactive(entity: LmsEntity, key: str, facts: Facts) -> bool:
    """Core tells no progress of people who are suspended or expired: what was known of them stays."""
    member = ":".join(key.split(":")[:2])
    return entity in {LmsEntity.COMPLETIONS, LmsEntity.SCORES} and facts[ENROLLMENTS].get(member) is False


def moodle_by_report(records: Records) -> Facts:
    """Keys are made of what reports name people and courses by."""
    return {
        **_moodle(records),
        ENROLLMENTS: {":".join(row[name] for name in _REPORT_KEY): row["Status"] for row in records("enrolments")},
    }


def _moodle(records: Records) -> Facts:
    return {
        LEARNERS: {
            str(row["id"]): (row["email"] or None, row["firstname"]) for row in records("users") if not row["deleted"]
        },
        COURSES: {str(row["id"]): row["shortname"] for row in records("courses")},
    }


def valid_of_school(records: Records, *, without: frozenset[str]) -> dict[str, set[Any]]:
    """The e-mails, course titles and pairs of them that are valid; `without` are statuses of enrollments."""
    rows: dict[str, list[dict[str, Any]]] = {entity: [dict(row) for row in records(entity)] for entity in ENTITIES}
    # Valid is an enrollment of any other status: which words an LMS has for it is not the question here.
    kept = [{**row, "status": "active"} for row in rows["enrollments"] if row["status"] not in without]
    rows["learners"] = [row for row in rows["learners"] if row["status"] != "deleted"]
    return _valid({**rows, "enrollments": kept, "competencies": []})


def valid_of_moodle(records: Records) -> dict[str, set[Any]]:
    """The same of Moodle's records."""
    return _valid(rows_of(*([dict(row) for row in records(kind)] for kind in MOODLE_KINDS), now=NOW))


def _valid(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, set[Any]]:
    valid = valid_rows(rows)
    emails = {row.key: row.values["email"] for row in valid["contact"]}
    titles = {row.key: row.values["title"] for row in valid["course"]}
    pairs = {(emails[str(row.learner_id)], titles[str(row.course_id)]) for row in valid["enrollment"]}
    return {"learner": set(emails.values()), "course": set(titles.values()), "enrollment": pairs}
