"""Ratings of people in a course's competencies, as core services tell them: one call for each person in each course."""

from collections.abc import Collection, Iterator
from typing import Any

from lms_crm_assets.domain import RawRecord
from lms_crm_assets.errors import MissingError
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.gone import confirm_gone

OF_COURSE = "core_competency_list_course_competencies"
OF_PERSON = "report_competency_data_for_report"
FUNCTIONS = (OF_COURSE, OF_PERSON)


def has_competencies(client: Client, course_id: int) -> bool:
    """Whether anybody can be rated in the course; nobody in one that is gone."""
    try:
        return bool(client.rows(OF_COURSE, {"id": course_id}))
    except MissingError as exc:
        # Deleted since the list was read?
        confirm_gone(client, exc, course_id=course_id)
        return False


def rating_records(client: Client, course_id: int | str, user_ids: Collection[int | str]) -> Iterator[RawRecord]:
    """The ratings of people in one course, unrated competencies too, without the pictures that come with them."""
    for user_id in user_ids:
        asked = {"courseid": course_id, "userid": user_id, "moduleid": 0}
        try:
            rows = client.rows(OF_PERSON, asked, member="usercompetencies")
        except MissingError as exc:
            confirm_gone(client, exc, course_id=course_id, user_id=user_id)
            continue
        for row in rows:
            rating, competency = row["usercompetencycourse"], row["competency"]
            key = f"{user_id}:{course_id}:{competency['competency']['id']}"
            yield RawRecord(key, {"userid": user_id, "courseid": course_id, **_slim(rating, competency)})


def _slim(rating: dict[str, Any], competency: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "idnumber", "shortname")
    return {
        "rating": rating,
        "competency": {name: competency["competency"].get(name) for name in names},
        "framework": {name: competency["framework"].get(name) for name in names},
    }
