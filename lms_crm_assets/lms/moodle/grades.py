"""Grades of a course and of its activities, as core services tell them; of those who are not active they tell none."""

import re
from collections.abc import Iterator
from typing import Any

from lms_crm_assets.domain import RawRecord
from lms_crm_assets.errors import MissingError
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.gone import confirm_gone

FUNCTION = "gradereport_user_get_grade_items"
_EVERYBODY = 0
# What a cell shows that holds no grade.
_NO_GRADE = {"", "-"}
_COURSE, _CATEGORY = "course", "category"


def grade_rows(client: Client, course_id: int, user_id: int | str = _EVERYBODY) -> list[dict[str, Any]]:
    """The graded items by person, of everybody in one answer or of one person; none of a course or a person that is gone."""
    try:
        return client.rows(FUNCTION, {"courseid": course_id, "userid": user_id}, member="usergrades")
    except MissingError as exc:
        # Deleted since the list was read?
        confirm_gone(client, exc, course_id=course_id, user_id=user_id or None)
        return []


def grade_records(rows: list[dict[str, Any]]) -> Iterator[RawRecord]:
    """One record for each grade; the course's total is the item `course`. Totals of categories are neither."""
    for row in rows:
        for item in row.get("gradeitems") or ():
            if item.get("itemtype") == _CATEGORY or not _is_graded(item):
                continue
            name = _COURSE if item.get("itemtype") == _COURSE else item.get("id")
            key = f"{row['userid']}:{row['courseid']}:{name}"
            yield RawRecord(key, {"userid": row["userid"], "courseid": row["courseid"], "item": item})


def _is_graded(item: dict[str, Any]) -> bool:
    shown = re.sub(r"<[^>]*>", "", item.get("gradeformatted") or "").strip()
    return item.get("graderaw") is not None or shown not in _NO_GRADE
