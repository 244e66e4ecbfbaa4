"""What a real Moodle 4.5 answered comes through landing and staging whole; every number is counted in the recordings."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity
from tests.lms.moodle.site import Door, landed, pulled, recorded, records, refused, staged

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
BY_COURSE = {"reports": None}


def cells(name: str) -> list[dict[str, str]]:
    data = recorded(name)["data"]
    assert len(data["rows"]) == data["totalrowcount"]
    return [dict(zip(data["headers"], row["columns"], strict=True)) for row in data["rows"]]


@pytest.fixture
def participants() -> list[dict[str, str]]:
    return [row for row in cells("report_participants_p0_500") if row["Username"]]


def test_by_report_all_rows_come_with_their_states(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path, participants: list[dict[str, str]]
) -> None:
    door.answers["core_user_get_users"] = lambda _: recorded("users_all_by_email_wildcard")
    pages = pulled(door)
    landed(con, tmp_path, pages)
    found = staged(con)

    users = recorded("users_all_by_email_wildcard")["users"]
    assert records(pages, LEARNERS).keys() == {str(user["id"]) for user in users}
    assert len(users) == 203
    assert {"1", "2"} <= records(pages, LEARNERS).keys()  # guest and admin
    # The guest's family name is a blank and its e-mail no address: refused, and nobody else.
    assert refused(con) == {"LMS-101": 1, "LMS-104": 1}
    assert found[LEARNERS].keys() == {str(user["id"]) for user in users} - {"1"}

    listed = {str(course["id"]) for course in recorded("courses") if course["format"] != "site"}
    assert found[COURSES].keys() == listed
    assert len(listed) == 5

    said = Counter(row["Status"] for row in participants)
    assert said == {"Active": 376, "Suspended": 57, "Not current": 23}
    statuses = Counter(row["status"] for row in found[ENROLLMENTS].values())
    assert statuses == {"active": 376, "suspended": 57, "expired": 23}

    said = Counter(row["Completed"] for row in participants)
    assert said == {"Yes": 218, "No": 109, "": 129}
    states = Counter(row["state"] for row in found[COMPLETIONS].values())
    assert states == {"completed": 218, "in_progress": 109, "not_started": 129}
    assert Counter(row["completed_at_precision"] for row in found[COMPLETIONS].values()) == {"minute": 218, None: 238}

    graded = [float(row["Grade"]) for row in participants if row["Grade"]]
    assert len(graded) == 327
    assert sorted(float(row["raw"]) for row in found[SCORES].values()) == sorted(graded)

    rated = Counter((row["Proficient"], row["Rating"]) for row in cells("report_competencies_p0_500"))
    assert rated == {("Yes", "Competent"): 126, ("No", "Not yet competent"): 24, ("", ""): 224}
    ratings = Counter((row["proficient"], row["rating"]) for row in found[COMPETENCIES].values())
    assert ratings == {(True, "Competent"): 126, (False, "Not yet competent"): 24, (None, None): 224}


def test_by_course_the_lists_of_active_and_suspended_people_are_told_apart(door: Door) -> None:
    people = records(pulled(door, [ENROLLMENTS], **BY_COURSE), ENROLLMENTS)

    active, inactive = recorded("enrolled_users_onlyactive"), recorded("enrolled_users_onlysuspended")
    assert (len(active), len(inactive)) == (169, 30)
    of_course = [r.payload for r in people.values() if r.payload["courseid"] == 2]
    assert {p["userid"] for p in of_course if p["active"]} == {user["id"] for user in active}
    assert {p["userid"] for p in of_course if not p["active"]} == {user["id"] for user in inactive}


def test_by_course_the_recorded_statuses_and_grades_are_read(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    statuses = {"5": "completion_status_complete", "6": "completion_status_partial"}

    def status(asked: dict[str, str]) -> Any:
        known = asked["courseid"] == "2"
        return recorded(statuses.get(asked["userid"], "completion_status_none") if known else "completion_status_none")

    def grades(asked: dict[str, str]) -> Any:
        rows = recorded("grade_items_all_users")["usergrades"] if asked["courseid"] == "2" else []
        return {"usergrades": [r for r in rows if asked["userid"] in {"0", str(r["userid"])}], "warnings": []}

    door.answers |= {
        "core_completion_get_course_completion_status": status,
        "gradereport_user_get_grade_items": grades,
    }
    landed(con, tmp_path, pulled(door, [LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES], **BY_COURSE))
    found = staged(con, COMPLETIONS, SCORES)

    last = max(k["timecompleted"] for k in recorded("completion_status_complete")["completionstatus"]["completions"])
    assert found[COMPLETIONS] == {
        "5:2": {
            "source_id": "5:2",
            "learner_id": "5",
            "course_id": "2",
            "state": "completed",
            "progress_pct": None,
            "completed_at": datetime.fromtimestamp(last, UTC),
            "completed_at_precision": "derived",
        },
        "6:2": {
            "source_id": "6:2",
            "learner_id": "6",
            "course_id": "2",
            "state": "in_progress",
            "progress_pct": None,
            "completed_at": None,
            "completed_at_precision": None,
        },
    }
    items = [i for row in recorded("grade_items_all_users")["usergrades"] for i in row["gradeitems"]]
    graded = Counter(i["itemtype"] for i in items if i["graderaw"] is not None)
    assert graded == {"mod": 115, "course": 115}
    assert Counter(row["item_type"] for row in found[SCORES].values()) == {"activity": 115, "course": 115}
    assert {k: str(v) for k, v in found[SCORES]["5:2:course"].items() if k in {"raw", "min", "max", "pct"}} == {
        "raw": "71.80000",
        "min": "0.00000",
        "max": "100.00000",
        "pct": "71.80000",
    }
    assert found[SCORES]["5:2:course"]["graded_at"] == datetime.fromtimestamp(1795474229, UTC)


def test_by_course_the_recorded_ratings_are_read(door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    def report(asked: dict[str, str]) -> Any:
        recording = recorded("competency_report_user_course")
        mine = (asked["courseid"], asked["userid"]) == ("2", "5")
        return recording if mine else {**recording, "usercompetencies": []}

    door.answers["report_competency_data_for_report"] = report
    landed(con, tmp_path, pulled(door, [LEARNERS, COURSES, COMPETENCIES], **BY_COURSE))

    (by_person,) = [
        r for r in cells("report_competencies_p0_500") if (r["Username"], r["Name"]) == ("learner0001", "API basics")
    ]
    found = staged(con, COMPETENCIES)[COMPETENCIES]
    assert found["5:CE-1"] == {
        "source_id": "5:CE-1",
        "learner_id": "5",
        "course_id": "2",
        "code": "CE-1",
        "name": by_person["Name"],
        "framework": "CE-FW",
        "rating": by_person["Rating"],
        "proficient": by_person["Proficient"] == "Yes",
        "rated_at": datetime.fromtimestamp(1795474230, UTC),
    }
    assert (found["5:CE-2"]["rating"], found["5:CE-2"]["proficient"], found["5:CE-2"]["rated_at"]) == (None, None, None)
    # Everybody active in a course that has competencies is asked for.
    assert len(door.asked("report_competency_data_for_report")) == 376
