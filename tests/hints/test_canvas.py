"""Canvas Live Events as Canvas's documentation shows them."""

import base64
import json
from typing import Any

import pytest

from lms_crm_assets.hints import Hints
from tests.hints.tenant import CANVAS, from_lms, keys

SHARD = "2107"


def at(local: int, shard: str = SHARD) -> str:
    """A global id."""
    return f"{shard}{local:013}"


def event(name: str, body: Any, **metadata: Any) -> dict[str, Any]:
    told = {"event_name": name, "event_time": "2026-11-01T19:11:12.546Z", "root_account_id": at(1), "user_id": at(987)}
    return {"metadata": {**told, **metadata}, "body": body}


IN_COURSE = {"context_type": "Course", "context_id": at(565)}
ENROLLMENT = {
    "course_id": at(565), "course_section_id": at(598), "enrollment_id": at(46825), "type": "StudentEnrollment",
    "user_id": at(20064), "user_name": "Ada", "workflow_state": "invited", "associated_user_id": None,
}  # fmt: skip
ENROLLED = keys(enrollments="20064:565:46825", completions="20064:565", scores="20064:565:course")
PROGRESS = {"course": {"id": "565", "account_id": "79"}, "progress": {}, "user": {"id": "123", "email": "a@b.test"}}
GRADE = {"assignment_id": at(355), "grader_id": at(987), "score": 5, "student_id": at(48), "user_id": at(48)}
RESULT = {"id": "7", "learning_outcome_id": "1", "result_context_id": "565", "result_context_type": "Course", "user_uuid": "x"}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (event("enrollment_created", ENROLLMENT), ENROLLED),
        (event("enrollment_updated", ENROLLMENT), ENROLLED),
        (event("enrollment_updated", {**ENROLLMENT, "type": "TeacherEnrollment"}), keys(enrollments="20064:565:46825")),
        (event("course_completed", PROGRESS, **IN_COURSE), keys(completions="123:565")),
        (event("course_progress", PROGRESS), keys(completions="123:565")),
        (event("grade_change", GRADE, **IN_COURSE), keys(scores="48:565:course 48:565:355")),
        (event("course_grade_change", {"user_id": "2", "course_id": "3"}), keys(scores="2:3:course")),
        (event("learning_outcome_result_created", RESULT), keys(competencies="0:565:7")),
        (event("learning_outcome_result_updated", RESULT), keys(competencies="0:565:7")),
        (event("user_created", {"user_id": at(5), "name": "Ada"}), keys(learners="5")),
        (event("user_updated", {"user_id": "5"}), keys(learners="5")),
        (event("user_account_association_created", {"user_id": at(5), "account_id": at(1)}), keys(learners="5")),
        (event("course_created", {"course_id": at(565)}), keys(courses="565")),
        (event("course_updated", {"course_id": at(565)}), keys(courses="565")),
    ],
)
def test_an_event_touches(told: Any, expected: Any) -> None:
    assert from_lms(CANVAS, told) == Hints(expected)


def test_scores_of_activities_are_asked_for_where_they_are_read() -> None:
    found = from_lms({**CANVAS, "activities": False}, event("grade_change", GRADE, **IN_COURSE))

    assert found == Hints(keys(scores="48:565:course"))


def test_ids_of_another_shard_stay_global() -> None:
    told = event("user_updated", {"user_id": at(5, "2108")})

    assert from_lms(CANVAS, told) == Hints(keys(learners=at(5, "2108")))
    del told["metadata"]["root_account_id"]
    assert from_lms(CANVAS, told) == Hints(keys(learners="5"))


@pytest.mark.parametrize(
    ("told", "unknown"),
    [
        (event("logged_in", {}), "LMS-501 logged_in"),
        (event("user_updated", {"name": "Ada"}), "LMS-503 user_updated"),
        (event("grade_change", GRADE, context_type="Account", context_id=at(1)), "LMS-503 grade_change"),
        (event("enrollment_state_updated", {"enrollment_id": at(1)}), "LMS-503 enrollment_state_updated"),
        (event("learning_outcome_result_created", {**RESULT, "result_context_type": "Account"}), "LMS-503 learning_outcome_result_created"),
        (event("course_updated", None), "LMS-503 course_updated"),
        ({"sensor": "https://canvas.test", "data": [{"type": "GradeEvent"}]}, "LMS-502 canvas"),
    ],
)  # fmt: skip
def test_what_has_no_key_is_named(told: Any, unknown: str) -> None:
    assert from_lms(CANVAS, told) == Hints(unknown=(unknown,))


def test_a_signed_body_is_read_as_its_claims() -> None:
    told = event("user_updated", {"user_id": "5"})
    part = base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=")
    signed = b".".join([b"eyJhbGciOiJSUzI1NiJ9", part, b"c2ln"])

    assert from_lms(CANVAS, signed, "application/jwt") == from_lms(CANVAS, told)
    assert from_lms(CANVAS, b"e30.x.x").unknown == from_lms(CANVAS, b"e30.e3o.x").unknown == ("LMS-502 json",)
