"""A plan is what was read, and only what still is true is sent."""

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.contract.models import Guardrails
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.delta.build import DeltaCounts, leave_delta, read_counts
from lms_crm_assets.delta.forecast import Forecast, Pace, Quota, forecast
from lms_crm_assets.delta.guardrails import breaches
from lms_crm_assets.delta.plan import (
    approve,
    drop_plans,
    find_plan,
    mark_sent,
    plan_rows,
    plan_to_send,
    plan_totals,
    record_plan,
)
from lms_crm_assets.delta.show import plan_lines
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.warehouse.connection import connect

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
COURSE = ObjectSpec(CrmObject.COURSE, "Course", "Key", {"Name": FieldSpec("title", frozenset(), FieldType.TEXT)}, {})
THREE = Forecast(3, 1, 0.0, None)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        found.execute("CREATE TABLE delta.course AS SELECT * EXCLUDE (plan_id, object) FROM delta.plan_rows")
        for key, action, old, new in (
            ("1", "create", None, "A"),
            ("2", "update", "B", "B2"),
            ("3", "update", "C", "C2"),
        ):
            found.execute(
                "INSERT INTO delta.course VALUES ($1, $2, $3, 'ours', [{'field': 'Name', 'old': $4, 'new': $5,"
                " 'owner': 'never_null', 'written': true, 'class': 'ours'}], MAP {}, MAP {})",
                [key, None if action == "create" else f"K{key}", action, old, new],
            )
        yield found


def made(
    con: duckdb.DuckDBPyConnection,
    now: datetime = NOW,
    *,
    auto: bool = False,
    broken: list[str] | None = None,
    lane: Lane = Lane.FULL,
) -> str:
    return record_plan(
        con, [COURSE], forecast=THREE, breaches=broken or [], auto_apply=auto, sync_run_id="r", now=now, lane=lane
    ).plan_id


def test_a_plan_with_nothing_to_send_waits_for_nobody(con: duckdb.DuckDBPyConnection) -> None:
    nothing = Forecast(0, 0, 0.0, None)
    found = record_plan(con, [COURSE], forecast=nothing, breaches=[], auto_apply=False, sync_run_id="r", now=NOW)
    assert found.status == "approved"


def test_a_plan_of_events_that_waited_is_sent_by_the_run_that_approves_it(con: duckdb.DuckDBPyConnection) -> None:
    made(con, auto=True)
    of_events = made(con, NOW + timedelta(minutes=1), lane=Lane.EVENTS)
    approve(con, of_events, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW + timedelta(minutes=2))

    sent = plan_to_send(con, "run-2")

    assert sent is not None
    assert sent.plan_id == of_events, "neither none nor another that is not sent yet"


def test_a_plan_waits_is_approved_and_is_sent_once(con: duckdb.DuckDBPyConnection) -> None:
    plan_id = made(con)
    assert plan_to_send(con, "run-2") is None

    assert approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW).status == "approved"
    found = plan_to_send(con, "run-2")
    assert found is not None
    assert found.plan_id == plan_id

    mark_sent(con, plan_id, CrmObject.COURSE)
    with pytest.raises(FatalError, match="was sent already"):
        approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW)


def test_of_an_object_that_is_left_alone_no_former_delta_gets_into_a_plan(con: duckdb.DuckDBPyConnection) -> None:
    before = dict.fromkeys((each.name for each in fields(DeltaCounts)), 3)
    con.execute("INSERT INTO delta.counts VALUES ('course', $1)", [json.dumps(before)])

    leave_delta(con, CrmObject.COURSE)

    assert plan_totals(con, made(con)).written == read_counts(con, CrmObject.COURSE).update == 0
    leave_delta(con, CrmObject.CONTACT)  # there never was one


def test_the_newest_plan_counts_even_if_an_older_one_is_approved(con: duckdb.DuckDBPyConnection) -> None:
    made(con, auto=True)
    made(con, NOW + timedelta(minutes=1))

    assert plan_to_send(con, "run-2") is None


def test_the_plan_of_a_run_of_events_is_not_sent_for_a_longer_run_nor_hides_its_plan(
    con: duckdb.DuckDBPyConnection,
) -> None:
    full = made(con, auto=True)
    events = made(con, NOW + timedelta(minutes=1), auto=True, lane=Lane.EVENTS)

    for lane, plan_id in ((Lane.FULL, full), (Lane.EVENTS, events)):
        found = plan_to_send(con, "run executed again", lane)
        assert found is not None
        assert found.plan_id == plan_id


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ("DELETE FROM delta.course WHERE external_id = '2'", "course 2;"),
        ("UPDATE delta.course SET changes[1].new = 'X' WHERE external_id = '3'", "course 3;"),
        ("UPDATE delta.course SET changes[1].old = 'X'", "course 1, course 2, course 3;"),
        ("UPDATE delta.course SET crm_id = 'other' WHERE external_id = '2'", "course 2;"),
        ("UPDATE delta.course SET action = 'update' WHERE external_id = '1'", "course 1;"),
    ],
)
def test_a_stale_plan_is_refused_with_the_rows_named(con: duckdb.DuckDBPyConnection, edit: str, named: str) -> None:
    plan_id = made(con)
    if "changes[1]" in edit:
        field = "new" if ".new" in edit else "old"
        where = edit.partition(" WHERE ")[2] or "true"
        con.execute(
            f"UPDATE delta.course SET changes = list_transform(changes, lambda c: struct_update(c, {field} := 'X'))"
            f" WHERE {where}"
        )
    else:
        con.execute(edit)

    with pytest.raises(FatalError, match=f"is stale, the LMS or the CRM changed since: {named}"):
        approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW)
    assert find_plan(con, plan_id).status == "waiting"


def test_a_plan_whose_field_may_no_longer_be_written_is_stale(con: duckdb.DuckDBPyConnection) -> None:
    plan_id = made(con)
    con.execute(
        "UPDATE delta.course SET changes = list_transform(changes, lambda c: struct_update(c, written := false))"
        " WHERE external_id = '2'"
    )

    with pytest.raises(FatalError, match="is stale, the LMS or the CRM changed since: course 2"):
        approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW)


def test_what_is_new_beside_a_plan_does_not_make_it_stale_and_is_not_part_of_it(con: duckdb.DuckDBPyConnection) -> None:
    plan_id = made(con)
    con.execute("INSERT INTO delta.course VALUES ('9', NULL, 'create', 'ours', [], MAP {}, MAP {})")

    approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW)

    assert [row["external_id"] for row in plan_rows(con, plan_id)] == ["1", "2", "3"]


def test_a_plan_beyond_the_guardrails_needs_a_person_who_says_so(con: duckdb.DuckDBPyConnection) -> None:
    plan_id = made(con, auto=True, broken=["too many"])
    assert plan_to_send(con, "run-2") is None

    with pytest.raises(FatalError, match=r"the guardrails refuse the plan .*: too many"):
        approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=False, now=NOW)
    assert approve(con, plan_id, [COURSE], sync_run_id="run-2", despite_guardrails=True, now=NOW).status == "approved"


def test_plans_are_kept_for_the_retention(con: duckdb.DuckDBPyConnection) -> None:
    old = made(con, NOW - timedelta(days=31))
    recent = made(con, NOW - timedelta(days=29))
    made(con)

    drop_plans(con, NOW - timedelta(days=30))

    assert plan_rows(con, recent)
    assert plan_rows(con, old) == []
    with pytest.raises(FatalError, match="there is no plan"):
        find_plan(con, old)


def test_a_plan_reads_like_an_infrastructure_plan(con: duckdb.DuckDBPyConnection) -> None:
    assert list(plan_lines(plan_rows(con, made(con)))) == [
        "+ course 1",
        "    Name: 'A'",
        "~ course 2",
        "    Name: 'B' → 'B2'",
        "~ course 3",
        "    Name: 'C' → 'C2'",
    ]


def test_what_others_changed_is_counted_and_shown_first(con: duckdb.DuckDBPyConnection) -> None:
    plan_id = made(con)
    con.execute("UPDATE delta.plan_rows SET class = 'drift' WHERE external_id = '3'")
    con.execute(
        "UPDATE delta.plan_rows SET changes = list_transform(changes, lambda c: struct_update(c, class := 'unreadable'))"
        " WHERE external_id = '2'"
    )

    totals = plan_totals(con, plan_id)

    assert (totals.create, totals.update, totals.drift, totals.left_alone, totals.written) == (1, 2, 1, 1, 3)
    assert plan_totals(con, plan_id, CrmObject.CONTACT).written == 0
    assert [row["external_id"] for row in plan_rows(con, plan_id)] == ["3", "1", "2"]


def counts(**values: int) -> DeltaCounts:
    return DeltaCounts(**{**{field.name: 0 for field in fields(DeltaCounts)}, **values})


def test_the_forecast_counts_batches_links_and_the_quota() -> None:
    found = forecast(
        {CrmObject.CONTACT: counts(create=201), CrmObject.ENROLLMENT: counts(create=150, update=51, archive=1)},
        {CrmObject.CONTACT: 0, CrmObject.ENROLLMENT: 2},
        Pace(batch_size=100, link_batch_size=200, calls_per_second=0.5),
        Quota(used=90, allowed=1000),
    )

    # Contacts 3; enrollments 3 upserts, 1 archive, 2 times 2 links.
    assert (found.records, found.calls, found.quota_share_after) == (403, 11, 0.101)
    assert found.minutes == pytest.approx(22 / 60)


@pytest.mark.parametrize(
    ("delta", "sources", "quota", "expected"),
    [
        (counts(create=10_000, live=5), 10_000, None, None),
        (
            counts(overwrite=60, live=100),
            100,
            None,
            "60 of 100 course records to update (60%), at most 50% are allowed",
        ),
        (counts(overwrite=20, live=20), 20, None, None),
        (counts(update=100, live=100), 100, None, None),
        (counts(overwrite=1001, live=9000), 9000, None, "1,001 course records to update, at most 1,000 are allowed"),
        (counts(archive=21, live=100), 79, None, "21 of 100 course records to archive (21%), at most 10% are allowed"),
        (counts(), 3, None, "the LMS gives 3 course rows, at least 4 are expected"),
        (counts(create=1), 10, 0.81, "would bring the day's quota to 81%, at most 80% are allowed"),
        (counts(create=1), 10, 0.79, None),
    ],
)
def test_guardrails_name_the_figure_and_the_limit(
    delta: DeltaCounts, sources: int, quota: float | None, expected: str | None
) -> None:
    limits = Guardrails(
        floor=20, max_update_share=0.5, max_updates=1000, max_archive_share=0.1, min_source_count={CrmObject.COURSE: 4}
    )

    found = breaches({CrmObject.COURSE: delta}, {CrmObject.COURSE: sources}, Forecast(1, 1, 0.1, quota), limits)

    assert len(found) == (expected is not None)
    assert expected is None or expected in found[0]
