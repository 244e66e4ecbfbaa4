"""Course by course: people who move while they are read, and what Moodle says of completions and grades."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import PermissionMissingError, ProtocolError, RetryableError
from lms_crm_assets.lms.protocol import Page
from tests.lms.moodle.site import Door, fetched, landed, pulled, recorded, records, refused, staged

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
LISTED, STATUS = "core_enrol_get_enrolled_users", "core_completion_get_course_completion_status"
COURSE, GRADES = "core_course_get_courses_by_field", "gradereport_user_get_grade_items"
OF_COURSE, RATINGS = "core_competency_list_course_competencies", "report_competency_data_for_report"
# Within the dates that a school is believed (LMS-209): 14 November 2023.
SEEN = 1_700_000_000
PARENTS = [
    Page(LEARNERS, [RawRecord("5", {"id": 5, "username": "u5", "email": "a@b.test", "lastname": "L"})]),
    Page(COURSES, [RawRecord("2", {"id": 2, "fullname": "C"})]),
]


def options(asked: dict[str, str]) -> dict[str, str]:
    names = [name for name in asked if name.endswith("[name]")]
    return {asked[name]: asked[name.replace("[name]", "[value]")] for name in names}


def people(*pages: list[int]) -> Any:
    """Answers of the list of course 2: of everybody the pages in turn, of the suspended nobody."""
    turns = iter(pages)

    def answer(asked: dict[str, str]) -> Any:
        if asked["courseid"] != "2" or "onlysuspended" in options(asked):
            return []
        return [{"id": n, "fullname": "x", "roles": []} for n in next(turns)]

    return answer


def test_people_are_paged_slim_and_never_active_and_suspended_at_once(door: Door) -> None:
    pulled(door, [ENROLLMENTS], reports=None)

    asked = [options(call) for call in door.asked(LISTED)]
    assert {(o["limitnumber"], o["userfields"], o["sortby"]) for o in asked} == {
        ("500", "id,roles,lastcourseaccess", "id")
    }
    assert not any("onlyactive" in o and "onlysuspended" in o for o in asked)
    # The front page has no participants to ask for.
    assert {call["courseid"] for call in door.asked(LISTED)} == {"2", "3", "4", "5", "6"}


def test_pages_overlap_so_that_nobody_is_lost_when_others_leave(door: Door) -> None:
    first, after_a_leave = list(range(1, 501)), list(range(502, 600))
    door.answers[LISTED] = people(first, after_a_leave, first, [500, 501, *after_a_leave])

    found = records(pulled(door, [ENROLLMENTS], reports=None), ENROLLMENTS)

    assert found.keys() == {f"{n}:2" for n in range(1, 600)}
    starts = [
        options(c)["limitfrom"]
        for c in door.asked(LISTED)
        if c["courseid"] == "2" and "onlysuspended" not in options(c)
    ]
    assert starts == ["0", "499", "0", "499"]


def test_a_course_that_is_left_all_the_time_is_to_be_repeated(door: Door) -> None:
    first = list(range(1, 501))
    door.answers[LISTED] = people(*[first, []] * 3)

    with pytest.raises(RetryableError, match="people leave the course with the id 2 faster than it is read"):
        pulled(door, [ENROLLMENTS], reports=None)


def test_somebody_who_comes_into_the_course_before_the_place_is_no_repeated_page(door: Door) -> None:
    first, after_an_entry = list(range(2, 502)), list(range(500, 600))
    door.answers[LISTED] = people(first, after_an_entry)

    found = records(pulled(door, [ENROLLMENTS], reports=None), ENROLLMENTS)

    assert found.keys() == {f"{n}:2" for n in range(2, 600)}


@pytest.mark.parametrize("entity", [COURSES, SCORES])
def test_who_is_deleted_after_the_list_was_read_has_no_grades(door: Door, entity: LmsEntity) -> None:
    gone = {
        "exception": "moodle_exception",
        "errorcode": "userdeleted",
        "message": "This user account has been deleted",
    }
    door.answers["gradereport_user_get_grade_items"] = lambda _asked: gone
    door.answers[COURSE] = lambda asked: {"courses": []} if asked["field"] == "id" else door.ask(asked)

    found = pulled(door, [entity], reports=None)

    assert len(records(found, entity)) == (6 if entity is COURSES else 0)


def test_a_page_that_is_repeated_is_no_endless_loop(door: Door) -> None:
    door.answers[LISTED] = people(*[list(range(1, 501))] * 9)

    with pytest.raises(ProtocolError, match="the paging never ends"):
        pulled(door, [ENROLLMENTS], reports=None)


def test_a_course_that_is_gone_meanwhile_is_passed_over(door: Door) -> None:
    door.answers[LISTED] = lambda asked: (
        recorded("err_course_not_found") if asked["courseid"] == "3" else door.ask(asked)
    )
    door.answers[COURSE] = lambda asked: {"courses": []} if asked["value"] == "3" else door.ask(asked)

    found = records(pulled(door, [ENROLLMENTS], reports=None), ENROLLMENTS)

    assert len(found) == 456 - 100


@pytest.mark.parametrize(
    ("entity", "function", "table"),
    [
        (ENROLLMENTS, LISTED, "context"),
        (COMPLETIONS, STATUS, "course_modules"),
        (SCORES, GRADES, "grade_items"),
        (COMPETENCIES, OF_COURSE, "competency"),
        (COMPETENCIES, RATINGS, "competency"),
    ],
)
def test_a_record_that_a_living_course_lacks_is_nobody_gone(
    door: Door, entity: LmsEntity, function: str, table: str
) -> None:
    said = {**recorded("err_course_not_found"), "message": f"Can't find data record in database table {table}."}
    door.answers[function] = lambda asked: said if "2" in (asked.get("courseid"), asked.get("id")) else door.ask(asked)
    key = "5:2:course" if entity is SCORES else "5:2:2" if entity is COMPETENCIES else "5:2"

    still = rf"database table {table}\.; but the course with the id 2 .*still exists, so that nothing counts as gone"
    with pytest.raises(ProtocolError, match=still):
        pulled(door, [entity], reports=None)
    if function != OF_COURSE:
        with pytest.raises(ProtocolError, match=still):
            fetched(door, entity, key, reports=None)


def test_a_course_that_may_not_be_seen_is_an_error_not_a_gap(door: Door) -> None:
    door.answers[LISTED] = lambda asked: (
        recorded("err_no_access_enrolled") if asked["courseid"] == "3" else door.ask(asked)
    )

    with pytest.raises(PermissionMissingError):
        pulled(door, [ENROLLMENTS], reports=None)


@pytest.mark.parametrize("name", ["completion_status_none", "err_user_not_found"])
def test_nothing_known_of_a_completion_is_no_row(door: Door, name: str) -> None:
    door.answers[STATUS] = lambda asked: recorded(name) if asked["userid"] == "5" else door.ask(asked)
    mangled = {"id": 5, "username": "learner0001@globex.test.1700000000", "email": "0" * 32}
    door.answers["core_user_get_users_by_field"] = lambda _: [mangled]

    found = records(pulled(door, [COMPLETIONS], reports=None), COMPLETIONS)

    assert "6:2" in found
    assert not [key for key in found if key.startswith("5:")]


def test_a_course_without_criteria_is_asked_once_and_nobody_completes_it(door: Door) -> None:
    none = {"exception": "x", "errorcode": "nocriteriaset", "message": "m"}
    door.answers[STATUS] = lambda asked: none if asked["courseid"] == "5" else door.ask(asked)

    found = records(pulled(door, [COMPLETIONS], reports=None, concurrency=1), COMPLETIONS)

    of_course = [r.payload for r in found.values() if r.payload["courseid"] == 5]
    assert len(of_course) == 38
    assert {p["completionstatus"] is None for p in of_course} == {True}
    assert sum(call["courseid"] == "5" for call in door.asked(STATUS)) == 1


def test_a_course_without_completion_tracking_is_not_asked(door: Door) -> None:
    door.answers["core_course_get_courses_by_field"] = lambda asked: (
        {"courses": [{"id": 5, "enablecompletion": 0}]} if asked["value"] == "5" else door.ask(asked)
    )

    found = records(pulled(door, [COMPLETIONS], reports=None), COMPLETIONS)

    assert len(found) == 376
    assert not [call for call in door.asked(STATUS) if call["courseid"] == "5"]


def test_without_the_functions_of_competencies_there_are_none(door: Door) -> None:
    info = recorded("site_info")
    kept = [f for f in info["functions"] if f["name"] != "report_competency_data_for_report"]
    door.answers["core_webservice_get_site_info"] = lambda _: {**info, "functions": kept}

    assert records(pulled(door, [COMPETENCIES], reports=None), COMPETENCIES) == {}


@pytest.mark.parametrize(
    ("status", "access", "expected"),
    [
        # ALL: the last criterion; ANY: the first that was met.
        ((True, 1, [(True, SEEN + 100), (True, SEEN + 300)]), 0, ("completed", SEEN + 300, "derived")),
        ((True, 2, [(True, SEEN + 300), (True, SEEN + 100), (False, None)]), 0, ("completed", SEEN + 100, "derived")),
        ((True, 2, [(True, SEEN + 300), (False, SEEN + 50)]), 0, ("completed", SEEN + 300, "derived")),
        ((True, 1, [(True, None), (True, 0)]), 0, ("completed", None, "unknown")),
        ((True, 1, []), 0, ("completed", None, "unknown")),
        ((True, 9, [(True, SEEN + 100)]), 0, ("completed", None, "unknown")),
        ((False, 1, [(True, SEEN + 100), (False, None)]), 0, ("in_progress", None, None)),
        ((False, 1, [(False, None)]), SEEN, ("in_progress", None, None)),
        ((False, 1, [(False, None)]), 0, ("not_started", None, None)),
        (None, SEEN, ("in_progress", None, None)),
        (None, 0, ("not_started", None, None)),
    ],
)
def test_a_completion_is_dated_by_its_criteria(
    con: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    status: Any,
    access: int,
    expected: tuple[str, int | None, str | None],
) -> None:
    told = status and {
        "completed": status[0],
        "aggregation": status[1],
        "completions": [{"complete": met, "timecompleted": at} for met, at in status[2]],
    }
    payload = {"userid": 5, "courseid": 2, "lastcourseaccess": access, "completionstatus": told}
    landed(con, tmp_path, [*PARENTS, Page(COMPLETIONS, [RawRecord("5:2", payload)])])

    row = staged(con, COMPLETIONS)[COMPLETIONS]["5:2"]

    state, seconds, precision = expected
    moment = datetime.fromtimestamp(seconds, UTC) if seconds else None
    assert (row["state"], row["completed_at"], row["completed_at_precision"]) == (state, moment, precision)
    assert refused(con) == {}


@pytest.mark.parametrize(
    ("graderaw", "formatted", "raw", "text"),
    [
        (52.8, "52.80", "52.80000", None),
        # As a text in `gradereport_overview_get_course_grades`.
        (recorded("grade_overview_one_user")["grades"][1]["rawgrade"], "52.80", "52.80000", None),
        (None, '<i class="icon fa fa-check" title="Pass"></i>71.80', "71.80000", None),
        (None, "52,80", "52.80000", None),
        (None, "64.00 %", "64.00000", None),
        (2, "Competent", "2.00000", "Competent"),
        (None, "Competent (B)", None, "Competent (B)"),
    ],
)
def test_a_grade_is_read_in_each_of_its_shapes(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, graderaw: Any, formatted: str, raw: str | None, text: str | None
) -> None:
    item = {"id": 7, "itemtype": "mod", "graderaw": graderaw, "gradeformatted": formatted, "percentageformatted": "-"}
    payload = {"userid": 5, "courseid": 2, "item": item}
    landed(con, tmp_path, [*PARENTS, Page(SCORES, [RawRecord("5:2:7", payload)])])

    row = staged(con, SCORES)[SCORES]["5:2:7"]

    assert (row["raw"] and str(row["raw"]), row["text"], row["pct"], row["item_type"]) == (raw, text, None, "activity")


def test_totals_of_categories_and_cells_without_a_grade_are_no_scores(door: Door) -> None:
    items = [
        {"id": 1, "itemtype": "category", "graderaw": 5, "gradeformatted": "5.00"},
        {"id": 2, "itemtype": "mod", "graderaw": None, "gradeformatted": "<span>-</span>"},
        {"id": 3, "itemtype": "manual", "graderaw": 5, "gradeformatted": "5.00"},
        {"id": 4, "itemtype": "course", "graderaw": 5, "gradeformatted": "5.00"},
    ]
    door.answers["gradereport_user_get_grade_items"] = lambda asked: {
        "usergrades": [{"userid": 5, "courseid": 2, "gradeitems": items}] if asked["courseid"] == "2" else []
    }

    assert records(pulled(door, [SCORES], reports=None), SCORES).keys() == {"5:2:3", "5:2:course"}
