"""Reports: filters that stay, pages that shift, totals that are not reached; a full pull is whole or it is an error."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lms_crm_assets import interrupt
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import FatalError, ProtocolError, RetryableError
from tests.conftest import empty_store
from tests.lms.moodle.site import ALL, Door, adapter, filters, pulled, recorded, records, row_key

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
SET, RETRIEVE = "core_reportbuilder_set_filters", "core_reportbuilder_retrieve_report"
# Three days before the recording, as in `report_participants_filtered_timecompleted_3d`.
SINCE = datetime(2026, 11, 20, 22, 51, tzinfo=UTC)


def filtered_by(door: Door, report: str) -> list[dict[str, Any]]:
    return [filters(call) for call in door.asked(SET) if call["reportid"] == report]


def leave_filter(door: Door) -> None:
    """What a killed run leaves on the site."""
    values = '{"completion:timecompleted_operator":3,"completion:timecompleted_from":1795474870}'
    form = {"wstoken": "full", "wsfunction": SET, "moodlewsrestformat": "json", "reportid": "1", "values": values}
    assert door.ask(form) is True


def report_of(rows: list[list[str]], page: Callable[[int, int], list[list[str]]] | None = None) -> Callable[..., Any]:
    """Answers of a participants report that holds these rows, or what `page` cuts of them."""
    headers = recorded("report_participants_p0_500")["data"]["headers"]

    def answer(asked: dict[str, str]) -> Any:
        number, size = int(asked["page"]), int(asked["perpage"])
        shown = page(number, size) if page else rows[number * size :][:size]
        data = {"headers": headers, "rows": [{"columns": row} for row in shown], "totalrowcount": len(rows)}
        return {"details": {}, "data": data, "warnings": []}

    return answer


def row(n: int) -> list[str]:
    return ["", f"u{n}", f"u{n}@x.test", "C", "Manual", "Manual", "Active", "", "", "", "Student", "", "", "", ""]


def test_a_filter_that_a_killed_run_left_does_not_cut_a_full_pull_short(door: Door) -> None:
    leave_filter(door)

    assert len(records(pulled(door, [ENROLLMENTS]), ENROLLMENTS)) == 456
    assert filtered_by(door, "1") == [{}]


def test_a_filter_set_by_somebody_else_while_a_report_is_read_costs_a_second_read(door: Door) -> None:
    many = [row(n) for n in range(1200)]
    whole = report_of(many)
    state = {"hijacked": False}

    def answer(asked: dict[str, str]) -> Any:
        found = whole(asked)
        if asked["page"] == "1" and not state["hijacked"]:
            state["hijacked"] = True
            found["data"] |= {"rows": [], "totalrowcount": 3}
        return found

    door.answers[RETRIEVE] = answer

    assert len(records(pulled(door, [ENROLLMENTS]), ENROLLMENTS)) == 1200
    assert filtered_by(door, "1") == [{}, {}]


def test_an_incremental_pull_asks_for_what_was_completed_or_created_and_leaves_no_filter(door: Door) -> None:
    pages = pulled(door, [ENROLLMENTS, COMPLETIONS], SINCE, overlap_seconds=60)

    epoch = int(SINCE.timestamp()) - 60
    assert filtered_by(door, "1") == [
        {"completion:timecompleted_operator": 3, "completion:timecompleted_from": epoch},
        {},
        {"enrolment:timecreated_operator": 3, "enrolment:timecreated_from": epoch},
        {},
    ]
    recent = [r["columns"] for r in recorded("report_participants_filtered_timecompleted_3d")["data"]["rows"]]
    found = records(pages, COMPLETIONS)
    assert {row_key(cells) for cells in recent} <= found.keys()
    assert all(record.payload["alone"] for record in found.values())
    assert len(records(pulled(door, [ENROLLMENTS]), ENROLLMENTS)) == 456


def test_an_incremental_pull_reads_new_enrollments_and_nothing_else(door: Door) -> None:
    created = door.mutate(object="enrolments", op="create", fields={"userid": 7, "courseid": 5})
    assert created["Username"] == "learner0003"

    pages = pulled(door, [COURSES, ENROLLMENTS, COMPLETIONS, SCORES], datetime.now(UTC) - timedelta(hours=1))

    (key,) = records(pages, ENROLLMENTS)
    assert key.startswith("learner0003:CRS-SEC110:Manual enrolments:Student:")
    assert records(pages, COMPLETIONS).keys() == {key}
    assert records(pages, SCORES) == {}
    assert [r.payload["idnumber"] for r in records(pages, COURSES).values()] == ["CRS-SEC110"]


def test_a_filter_is_taken_off_when_an_incremental_pull_breaks_off(door: Door) -> None:
    door.answers[RETRIEVE] = lambda _: recorded("err_bad_param_type")

    with pytest.raises(ProtocolError):
        pulled(door, [ENROLLMENTS], SINCE)

    assert filtered_by(door, "1")[-1] == {}


def test_changed_learners_are_found_by_the_users_report_and_read_whole(door: Door) -> None:
    before = datetime.now(UTC)
    changed = door.mutate(object="users", op="update", id=7, fields={"firstname": "Dima"})
    since = datetime.fromtimestamp(changed["timemodified"], UTC)

    pages = pulled(door, [LEARNERS], since)

    (record,) = records(pages, LEARNERS).values()
    assert (record.source_id, record.payload["firstname"], record.payload["institution"]) == (
        "7",
        "Dima",
        "umbrella.test",
    )
    assert filtered_by(door, "2") == [
        {"user:timemodified_operator": 3, "user:timemodified_from": changed["timemodified"]},
        {},
    ]
    # The cursor is our own clock's: Moodle stamps no rows.
    assert before <= max(page.latest for page in pages if page.latest) <= datetime.now(UTC)


def test_each_entity_gets_a_cursor_also_where_nothing_changed(door: Door) -> None:
    began = datetime.now(UTC)

    pages = pulled(door, ALL, datetime.now(UTC) + timedelta(days=365))

    assert {page.entity for page in pages if page.latest and page.latest >= began} == set(ALL)


def test_an_incremental_pull_leaves_out_courses_whose_number_it_does_not_know(door: Door) -> None:
    """They would replace courses that are known by their number, and no row of the reports would belong to them."""
    whole = records(pulled(door, [COURSES]), COURSES)
    assert sorted(r.payload["idnumber"] for r in whole.values() if r.payload["idnumber"]) == [
        "CRS-ADM201", "CRS-API301", "CRS-DRAFT1", "CRS-GS101", "CRS-SEC110",
    ]  # fmt: skip

    some = records(pulled(door, [COURSES], SINCE), COURSES)

    assert all(record.payload["idnumber"] for record in some.values())
    door.answers["core_course_get_courses"] = lambda _: [
        {**course, "idnumber": f"N{course['id']}"} for course in recorded("courses")
    ]
    assert records(pulled(door, [COURSES], SINCE), COURSES).keys() == whole.keys()


def test_rows_that_move_between_pages_are_found_by_reading_again(door: Door) -> None:
    """An unsorted report may show one row on two pages and another on none."""
    many = [row(n) for n in range(700)]

    def moving(number: int, size: int) -> list[list[str]]:
        found = many[number * size :][:size]
        return [many[0], *found[1:]] if size == 500 and number == 1 else found

    door.answers[RETRIEVE] = report_of(many, moving)

    assert len(records(pulled(door, [ENROLLMENTS]), ENROLLMENTS)) == 700
    assert {call["perpage"] for call in door.asked(RETRIEVE)} == {"500", "467"}


def test_rows_that_the_report_really_holds_twice_are_no_error(door: Door) -> None:
    door.answers[RETRIEVE] = report_of([row(1), row(1), row(2)])

    assert records(pulled(door, [ENROLLMENTS]), ENROLLMENTS).keys() == {"u1:C:Manual:Student:", "u2:C:Manual:Student:"}


def test_a_report_that_is_short_of_its_total_is_to_be_repeated(door: Door) -> None:
    many = [row(n) for n in range(1200)]
    lost = {500: {1, 2, 3}, 467: {1, 2}, 389: {1}}

    def losing(number: int, size: int) -> list[list[str]]:
        rows = range(number * size, min(len(many), (number + 1) * size))
        return [many[0 if n in lost[size] else n] for n in rows]

    door.answers[RETRIEVE] = report_of(many, losing)

    with pytest.raises(RetryableError, match="gave 1199 different rows of 1200: rows moved between its pages"):
        pulled(door, [ENROLLMENTS])


def test_an_empty_page_before_the_total_is_to_be_repeated(door: Door) -> None:
    many = [row(n) for n in range(600)]
    door.answers[RETRIEVE] = report_of(many, lambda n, size: many[:size] if n == 0 else [])

    with pytest.raises(RetryableError, match="the report 1 ended at 500 of 600 rows: nothing was changed, run again"):
        pulled(door, [ENROLLMENTS])


def test_a_page_that_is_repeated_is_no_endless_loop(door: Door) -> None:
    many = [row(n) for n in range(5000)]
    door.answers[RETRIEVE] = report_of(many, lambda _, size: many[:size])

    with pytest.raises(ProtocolError, match="the same page again and again"):
        pulled(door, [ENROLLMENTS])
    assert len(door.asked(RETRIEVE)) == 2


def test_other_columns_are_named(door: Door) -> None:
    with pytest.raises(
        FatalError, match=r"the report 2 has the columns .* change the report or source\.reports\.participants"
    ):
        pulled(door, [ENROLLMENTS], reports={"participants": 2})


def test_cells_are_unescaped(door: Door) -> None:
    odd = row(1)
    odd[5] = "Tom &amp; Ann&#039;s"
    door.answers[RETRIEVE] = report_of([odd])

    (record,) = records(pulled(door, [ENROLLMENTS]), ENROLLMENTS).values()
    assert record.source_id == "u1:C:Tom & Ann's:Student:"


def test_two_reads_with_one_account_never_overlap(door: Door) -> None:
    """A filter of the one would cut the other."""
    store = empty_store()
    with adapter(door, store) as first, adapter(door, store) as second:
        reading = first.pull([ENROLLMENTS], None)
        next(reading)
        other = threading.Thread(target=lambda: list(second.pull([ENROLLMENTS], SINCE)))
        other.start()
        other.join(0.3)
        assert filtered_by(door, "1") == [{}]
        list(reading)
        other.join()
    assert len(filtered_by(door, "1")) == 5


OTHER_PROCESS = """
import httpx, pathlib, sys
from datetime import UTC, datetime
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.ops.store import OperationalStore
from tests.lms.moodle.site import Door, adapter
with adapter(Door(httpx.Client(), sys.argv[1]), OperationalStore(pathlib.Path(sys.argv[2]))) as found:
    list(found.pull([LmsEntity.ENROLLMENTS], datetime.now(UTC)))
"""


def test_another_process_waits_until_a_report_is_read(door: Door) -> None:
    store = empty_store()
    with adapter(door, store) as first:
        reading = first.pull([ENROLLMENTS], None)
        next(reading)
        with subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, door.url, str(store.folder)]) as other:
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(4)
            assert filtered_by(door, "1") == [{}]
            list(reading)
            assert other.wait(60) == 0
    assert len(filtered_by(door, "1")) == 5


def test_waiting_for_another_read_is_bounded_and_ends_when_a_person_wants_to_stop(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = empty_store()
    with adapter(door, store) as first, adapter(door, store) as second:
        reading = first.pull([ENROLLMENTS], None)
        next(reading)
        with monkeypatch.context() as patched:
            patched.setattr(interrupt, "check", lambda: pytest.fail("stopped"))
            with pytest.raises(pytest.fail.Exception, match="stopped"):
                list(second.pull([ENROLLMENTS], None))
        monkeypatch.setattr("lms_crm_assets.lms.moodle.reports._PATIENCE_SECONDS", 0)
        with pytest.raises(RetryableError, match="another read of reports with the same token takes longer"):
            list(second.pull([ENROLLMENTS], None))
        list(reading)


def test_capabilities_are_those_of_the_configured_reports(door: Door) -> None:
    members = {COURSES, ENROLLMENTS, COMPLETIONS, SCORES}
    for reports, entities, since in (
        (None, set(ALL), set()),
        ({"participants": 1}, set(ALL) - {COMPETENCIES}, members),
        ({"participants": 1, "users": 2, "competencies": 3}, set(ALL), members | {LEARNERS}),
    ):
        with adapter(door, reports=reports) as found:
            told = found.capabilities
        assert (set(told.entities), set(told.supports_since), set(told.has_tombstones)) == (entities, since, set())
        assert told.needs_full_sweep == entities
