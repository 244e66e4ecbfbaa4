"""Fetching by key: raw keys and canonical ids, in both ways; what is gone comes as deleted."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity
from tests.lms.moodle.site import ALL, NOW, Door, adapter, fetched, filters, landed, pulled, recorded, row_key, staged

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
SET = "core_reportbuilder_set_filters"
ROWS = [row["columns"] for row in recorded("report_participants_p0_500")["data"]["rows"]]
OF_GS101 = {cells[1]: row_key(cells) for cells in ROWS if cells[1] and cells[3] == "CRS-GS101"}
GS101 = OF_GS101["learner0001"]


def without_username_filter(door: Door) -> None:
    """Take the filter for usernames from the reports; Moodle ignores filters that a report doesn't have."""

    def set_filters(call: dict[str, str]) -> Any:
        kept = {name: value for name, value in filters(call).items() if not name.startswith("user:username")}
        return door.ask({**call, "values": json.dumps(kept)})

    door.answers[SET] = set_filters


def names_asked_for(door: Door) -> list[str]:
    return [filters(call)["user:username_value"] for call in door.asked(SET) if filters(call)]


@pytest.mark.parametrize("reports", [None, {"participants": 1}])
def test_learners_come_by_id_and_deleted_ones_as_deleted(door: Door, reports: Any) -> None:
    mangled = door.mutate(object="users", op="delete", id=9)
    assert mangled["username"].startswith("learner0005@globex.test.")

    found = fetched(door, LEARNERS, "5", "9", "204", "99999", "nobody", reports=reports)

    assert {key: record.is_deleted for key, record in found.items()} == {
        "5": False, "9": True, "204": True, "99999": True, "nobody": True,
    }  # fmt: skip
    assert all(record.payload is None for record in found.values() if record.is_deleted)
    assert found["5"].payload == recorded("users_by_field_id")[4]


def test_a_deleted_account_is_known_by_its_username_where_the_email_is_hidden(door: Door) -> None:
    names = {"5": "ada@x.test.1700000000", "6": "ada@x.test", "7": "ada.1700000000"}
    door.answers["core_user_get_users_by_field"] = lambda _: [{"id": int(n), "username": u} for n, u in names.items()]

    found = fetched(door, LEARNERS, *names)

    assert {key: record.is_deleted for key, record in found.items()} == {"5": True, "6": False, "7": False}


def test_learners_are_asked_a_hundred_a_call(door: Door) -> None:
    assert len(fetched(door, LEARNERS, *map(str, range(1, 251)))) == 250
    assert len(door.asked("core_user_get_users_by_field")) == 3


def test_a_deleted_account_among_changed_ones_is_never_a_learner(door: Door) -> None:
    deleted = door.mutate(object="users", op="delete", id=9)
    door.answers["core_user_get_users"] = lambda _: {
        "users": [*recorded("users_all_by_email_wildcard")["users"], deleted]
    }

    pages = pulled(door, [LEARNERS])

    assert {r.source_id for page in pages for r in page.records if r.is_deleted} == {"9"}


def test_by_report_people_are_asked_for_by_username(door: Door) -> None:
    found = fetched(door, ENROLLMENTS, GS101, "6:2", "7:99")

    asked = names_asked_for(door)
    assert asked == ["learner0001", "learner0002", "learner0003"]
    assert {GS101, OF_GS101["learner0002"]} <= found.keys()
    assert {key for key, record in found.items() if record.is_deleted} == {"7:99"}
    # Of each of them all courses are read.
    assert len(found) == 1 + sum(cells[1] in asked for cells in ROWS)
    assert filters(door.asked(SET)[-1]) == {}


def test_by_report_without_a_filter_for_usernames_the_report_is_read_once_and_picked_from(door: Door) -> None:
    without_username_filter(door)

    found = fetched(door, COMPLETIONS, GS101, "6:2", "learner0003:CRS-GS101:Gone method")

    assert GS101 in found
    assert OF_GS101["learner0002"] in found
    assert {key for key, record in found.items() if record.is_deleted} == {"learner0003:CRS-GS101:Gone method"}
    assert {key.split(":")[0] for key in found} == {"learner0001", "learner0002", "learner0003"}
    # One filtered page shows that the filter isn't there, one whole read follows.
    assert [filters(call) != {} for call in door.asked(SET)] == [True, False, False]


def test_by_report_the_keys_of_digits_are_rows_of_the_report(door: Door) -> None:
    door.mutate(object="users", op="update", id=5, fields={"username": "6"})
    door.mutate(object="courses", op="update", id=2, fields={"idnumber": "2"})
    door.mutate(object="enrolments", op="update", key="5:2", fields={"Method": "2024", "Role": "", "Time created": ""})

    found = fetched(door, ENROLLMENTS, "6:2:2024::", reports={"participants": 1})

    assert not found["6:2:2024::"].is_deleted
    assert names_asked_for(door) == ["6"]


def test_by_report_nobody_is_gone_who_has_a_row_of_a_course_without_a_number(door: Door) -> None:
    door.mutate(object="courses", op="update", id=2, fields={"idnumber": ""})
    door.mutate(object="enrolments", op="delete", key="6:2")
    gone = "nobody:CRS-GS101:Manual enrolments:Student:"

    found = fetched(door, ENROLLMENTS, GS101, "5:2", OF_GS101["learner0002"], "6:2", gone)

    assert {key for key, r in found.items() if r.is_deleted} == {OF_GS101["learner0002"], "6:2", gone}
    assert GS101 not in found


def test_by_report_many_people_are_read_at_once(door: Door) -> None:
    nobody = [f"learner{n:04}:CRS-GS101:Manual enrolments:Student:" for n in range(200, 206)]
    found = fetched(door, ENROLLMENTS, *OF_GS101.values(), *nobody)

    assert [filters(call) for call in door.asked(SET)] == [{}]
    assert {key for key, r in found.items() if r.is_deleted} == set(nobody)


@pytest.mark.parametrize("entity", [ENROLLMENTS, COMPLETIONS, SCORES])
@pytest.mark.parametrize("reports", [None, {"participants": 1}])
def test_somebody_who_left_a_course_is_gone_from_it_after_a_fetch(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path, entity: LmsEntity, reports: Any
) -> None:
    read = [LEARNERS, COURSES, ENROLLMENTS, entity]
    landed(con, tmp_path, pulled(door, read, reports=reports))
    before = staged(con, entity)[entity]
    door.mutate(object="enrolments", op="delete", key="5:2")
    key = "5:2:course" if entity is SCORES else "5:2"

    with adapter(door, reports=reports) as found:
        landed(con, tmp_path, list(found.fetch(entity, [key])), at=NOW + timedelta(hours=1), complete=False)

    after = staged(con, entity)[entity]
    assert key in before
    assert key not in after
    assert {k: v for k, v in before.items() if k in after} == after
    assert before.keys() - after.keys() <= {"5:2", "5:2:course", "5:2:2"}


@pytest.mark.parametrize("entity", [ENROLLMENTS, COMPLETIONS, SCORES])
@pytest.mark.parametrize("reports", [None, {"participants": 1}])
def test_a_fetch_of_what_has_not_changed_changes_nothing(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path, entity: LmsEntity, reports: Any
) -> None:
    pages = pulled(door, [LEARNERS, COURSES, ENROLLMENTS, entity], reports=reports)
    landed(con, tmp_path, pages)
    before = staged(con, entity)[entity]
    raw = [record.source_id for page in pages if page.entity is entity for record in page.records][:3]

    with adapter(door, reports=reports) as found:
        again = list(found.fetch(entity, [*raw, *[key for key in before if key.startswith("5:")]]))
    landed(con, tmp_path, again, at=NOW + timedelta(hours=1), complete=False)

    assert not [record for page in again for record in page.records if record.is_deleted]
    assert staged(con, entity)[entity] == before


def test_by_course_only_the_asked_people_of_the_asked_courses_are_asked_for(door: Door) -> None:
    found = fetched(door, COMPLETIONS, "5:2", "6:2", "5:3", "7:2", "5:999", "odd", reports=None)

    # 7 is suspended: Moodle tells nothing of the completion, which is therefore kept as it is.
    assert {key: r.is_deleted for key, r in found.items()} == {
        "5:2": False, "6:2": False, "5:3": False, "5:999": True, "odd": True,
    }  # fmt: skip
    asked = door.asked("core_completion_get_course_completion_status")
    assert sorted((call["userid"], call["courseid"]) for call in asked) == [("5", "2"), ("5", "3"), ("6", "2")]


def test_by_course_a_suspended_enrollment_is_still_one(door: Door) -> None:
    found = fetched(door, ENROLLMENTS, "7:2", "5:2", reports=None)

    assert {key: r.payload["active"] for key, r in found.items()} == {"7:2": False, "5:2": True}


@pytest.mark.parametrize(("entity", "key"), [(COMPLETIONS, "5:2"), (SCORES, "5:2:course"), (COMPETENCIES, "5:2:2")])
def test_by_course_nothing_is_said_of_somebody_whose_enrollment_has_ended(
    door: Door, entity: LmsEntity, key: str
) -> None:
    rated = recorded("competency_report_user_course")
    door.answers["report_competency_data_for_report"] = lambda _: rated
    assert not fetched(door, entity, key, reports=None)[key].is_deleted
    door.mutate(object="enrolments", op="update", key="5:2", fields={"Status": "Not current"})
    assert fetched(door, entity, key, reports=None) == {}
    door.mutate(object="enrolments", op="delete", key="5:2")
    assert fetched(door, entity, key, reports=None)[key].is_deleted


@pytest.mark.parametrize("code", ["usernotenroled", "notenroled"])
def test_by_course_a_role_whose_progress_is_not_tracked_is_no_completion_gone(door: Door, code: str) -> None:
    door.answers["core_completion_get_course_completion_status"] = lambda _: {
        "exception": "moodle_exception", "errorcode": code, "message": "m",
    }  # fmt: skip

    assert fetched(door, COMPLETIONS, "5:2", reports=None) == {}


def test_by_course_a_grade_that_was_taken_back_is_gone(door: Door) -> None:
    ungraded = [{"userid": 5, "courseid": 2, "gradeitems": []}]
    door.answers["gradereport_user_get_grade_items"] = lambda _: {"usergrades": ungraded, "warnings": []}
    assert fetched(door, SCORES, "5:2:course", reports=None)["5:2:course"].is_deleted
    ungraded.clear()
    assert fetched(door, SCORES, "5:2:course", reports=None) == {}


@pytest.mark.parametrize("reports", [None, {"participants": 1}])
def test_courses_come_by_id_with_their_numbers(door: Door, reports: Any) -> None:
    found = fetched(door, COURSES, "2", "4", "77", reports=reports)

    assert {key: r.is_deleted or r.payload["idnumber"] for key, r in found.items()} == {
        "2": "CRS-GS101", "4": "CRS-API301", "77": True,
    }  # fmt: skip


def test_by_report_ratings_come_by_person_and_those_that_are_gone_go(
    door: Door, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    landed(con, tmp_path, pulled(door, [LEARNERS, COMPETENCIES]))
    before = staged(con, COMPETENCIES)[COMPETENCIES]
    door.mutate(object="competencies", op="delete", key="5:CE-1")
    door.mutate(object="competencies", op="update", key="107:CE-1", fields={"rating": "Competent", "proficient": "Yes"})
    door.mutate(object="competencies", op="delete", key="14:CE-1")

    with adapter(door) as found:
        keys = ["5:CE-1", "107:CE-1", "learner0010:CE-FW:CE-1"]
        pages = list(found.fetch(COMPETENCIES, keys))
    landed(con, tmp_path, pages, at=NOW + timedelta(hours=1), complete=False)

    after = staged(con, COMPETENCIES)[COMPETENCIES]
    assert before.keys() - after.keys() == {"5:CE-1", "14:CE-1"}
    assert (after["107:CE-1"]["rating"], after["107:CE-1"]["proficient"]) == ("Competent", True)


def test_by_course_ratings_come_by_person(door: Door) -> None:
    recording = recorded("competency_report_user_course")
    door.answers["report_competency_data_for_report"] = lambda asked: (
        recording if asked["courseid"] == "2" else {**recording, "usercompetencies": []}
    )

    found = fetched(door, COMPETENCIES, "5:CE-1", "5:CE-9", "5:2:2", "99999:CE-1", reports=None)

    # Of courses that have ended nothing is told: CE-9 may be of one.
    assert {key: r.is_deleted for key, r in found.items()} == {"5:2:1": False, "5:2:2": False, "99999:CE-1": True}


@pytest.mark.parametrize("reports", [None, {"participants": 1, "competencies": 3}])
def test_a_competency_whose_number_is_digits_is_no_course(door: Door, reports: Any) -> None:
    report = recorded("competency_report_user_course")
    (first, *_others) = report["usercompetencies"]
    first["competency"]["competency"]["idnumber"] = "2"
    door.answers["report_competency_data_for_report"] = lambda asked: (
        {**report, "usercompetencies": [first] if asked["courseid"] == "3" else []}
    )

    found = fetched(door, COMPETENCIES, "5:2", reports=reports)

    if reports is None:
        assert {key: r.is_deleted for key, r in found.items()} == {"5:3:1": False}
    else:
        assert (found["5:2"].is_deleted, found["5:2"].payload) == (True, {"userid": "5", "code": "2"})


@pytest.mark.parametrize("reports", [None, {"participants": 1, "users": 2, "competencies": 3}])
def test_no_keys_are_no_calls(door: Door, reports: Any) -> None:
    for entity in ALL:
        assert fetched(door, entity, reports=reports) == {}
    assert door.calls == []
