"""What a CRM would refuse by its schema is not in the delta, and everything else is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from lms_crm_assets.checks import destination_codes as codes
from lms_crm_assets.checks.codes import Code
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.delta.build import DeltaCounts, build_delta
from lms_crm_assets.delta.destination import refusals, refused_records
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode
from lms_crm_assets.snapshot.capture import load_snapshot
from lms_crm_assets.warehouse.connection import connect

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def mapped(column: str, kind: FieldType = FieldType.TEXT, **rest: Any) -> FieldSpec:
    return FieldSpec(f'"{column}"', frozenset({column}), kind, **rest)


COURSE = ObjectSpec(
    CrmObject.COURSE,
    "Course",
    "Key",
    {
        "Name": mapped("title", pii=True),
        "Code": mapped("code"),
        "Points": mapped("external_id", FieldType.NUMBER),
        "Starts": mapped("starts_at", FieldType.DATETIME, owner=Owner.ENFORCE),
    },
    {},
)
ENROLLMENT = ObjectSpec(
    CrmObject.ENROLLMENT,
    "Enrollment",
    "Key",
    {"Status": mapped("status")},
    {CrmObject.COURSE: ParentSpec("Course", "Key", "Course__r")},
)
FIELDS = {
    "Key": CrmField("Key", "string", Kind.TEXT, length=20, unique=True, key=True),
    "Name": CrmField("Name", "string", Kind.TEXT, length=10, required=True),
    "Code": CrmField("Code", "picklist", Kind.PICKLIST, picklist=("One", "Two"), restricted=True),
    "Points": CrmField("Points", "double", Kind.NUMBER, digits=4, scale=5),
    "Starts": CrmField("Starts", "datetime", Kind.DATETIME),
}
SCHEMA = CrmSchema("Course", FIELDS)
GOOD = ("fine", "One", "12.5", "2026-01-01T00:00:00Z")


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        found.execute(
            "CREATE TABLE staging.course (source_id VARCHAR, title VARCHAR, code VARCHAR, external_id VARCHAR,"
            " visible BOOLEAN, starts_at TIMESTAMPTZ, ends_at TIMESTAMPTZ, extra JSON, row_hash UBIGINT)"
        )
        found.execute(
            "CREATE TABLE staging.enrollment (source_id VARCHAR, role VARCHAR, status VARCHAR, enrolled_at TIMESTAMPTZ,"
            " starts_at TIMESTAMPTZ, ends_at TIMESTAMPTZ, extra JSON, learner_id VARCHAR, course_id VARCHAR, row_hash UBIGINT)"
        )
        yield found


def stage(con: duckdb.DuckDBPyConnection, **rows: tuple[str | None, ...]) -> None:
    con.execute("DELETE FROM staging.course")
    for key, (title, code, points, starts_at) in rows.items():
        con.execute(
            "INSERT INTO staging.course SELECT $1, $2, $3, $4, NULL, $5, NULL, NULL, hash($1, $2, $3, $4, $5)",
            [key, title, code, points, starts_at],
        )


def capture(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, folder: Path, **rows: dict[str, Any]) -> None:
    file = folder / "snapshot.ndjson"
    told = [{"external_id": key, "crm_id": f"K{key}", **row} for key, row in rows.items()]
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in told))
    load_snapshot(con, spec, file, NOW)


def build(con: duckdb.DuckDBPyConnection, schema: CrmSchema | None = SCHEMA, at: datetime = NOW) -> DeltaCounts:
    return build_delta(con, COURSE, schema=schema, now=at)


def sent(con: duckdb.DuckDBPyConnection, obj: str = "course") -> dict[str, str]:
    return dict(con.execute(f"SELECT external_id, action FROM delta.{obj}").fetchall())


def refused(con: duckdb.DuckDBPyConnection, obj: str = "course") -> set[tuple[str, str, str, str]]:
    query = "SELECT external_id, code, field, severity FROM delta.refused WHERE object = $1"
    return set(con.execute(query, [obj]).fetchall())


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        (("eleven char", *GOOD[1:]), codes.TOO_LONG, "Name"),
        (("fine", "Three", *GOOD[2:]), codes.NOT_A_CHOICE, "Code"),
        (("fine", "One", "10000", GOOD[3]), codes.TOO_LARGE, "Points"),
        ((None, *GOOD[1:]), codes.NEEDED, "Name"),
    ],
)
def test_a_record_that_would_be_refused_is_not_sent_and_the_one_beside_it_is(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, row: tuple[str | None, ...], code: Code, field: str
) -> None:
    stage(con, bad=row, good=GOOD)
    capture(con, COURSE, tmp_path)

    counts = build(con)

    assert sent(con) == {"good": "create"}
    assert refused(con) == {("bad", code.code, field, "error")}
    assert (counts.create, counts.unchanged, counts.refused) == (1, 0, 1)


def test_what_fits_exactly_and_another_case_of_a_choice_pass(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, edge=("ten  chars", "oNE", "9999.99999", None))
    capture(con, COURSE, tmp_path)

    assert build(con).refused == 0
    assert sent(con) == {"edge": "create"}


def test_an_update_is_refused_for_what_it_changes_alone(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    held = {"Name": "much longer than ten", "Code": "Old", "Points": "12.5", "Starts": GOOD[3]}
    stage(con, same=("much longer than ten", "Old", "13", GOOD[3]), worse=("fine", "Older", *GOOD[2:]))
    capture(con, COURSE, tmp_path, same=held, worse={**held, "Name": "fine"})

    build(con)

    assert sent(con) == {"same": "update"}
    assert refused(con) == {("worse", "LMS-302", "Code", "error")}


def test_a_match_key_that_does_not_fit_is_refused(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, **{"k" * 21: GOOD, "k" * 20: GOOD})
    capture(con, COURSE, tmp_path)

    build(con)

    assert refused(con) == {("k" * 21, "LMS-301", "Key", "error")}
    assert sent(con) == {"k" * 20: "create"}


def test_a_needed_field_that_is_not_mapped_stops_new_records_only(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    schema = CrmSchema("Course", {**FIELDS, "Region": CrmField("Region", "string", Kind.TEXT, required=True)})
    stage(con, new=GOOD, known=GOOD)
    capture(con, COURSE, tmp_path, known={"Name": "before"})

    build(con, schema)

    assert sent(con) == {"known": "update"}
    assert refused(con) == {("new", "LMS-303", "Region", "error")}


def test_a_needed_field_is_not_emptied(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    schema = CrmSchema("Course", {**FIELDS, "Starts": replace(FIELDS["Starts"], required=True, nullable=False)})
    stage(con, known=(*GOOD[:3], None))
    capture(con, COURSE, tmp_path, known={"Name": "fine", "Code": "One", "Points": "12.5", "Starts": GOOD[3]})

    build(con, schema)

    assert sent(con) == {}
    assert refused(con) == {("known", "LMS-303", "Starts", "error")}


@pytest.mark.parametrize("caseless", [True, False])
def test_a_unique_value_is_neither_given_twice_nor_taken_from_another_who_keeps_it(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, *, caseless: bool
) -> None:
    schema = CrmSchema("Course", {**FIELDS, "Name": replace(FIELDS["Name"], unique=True, caseless=caseless)})
    held = {"Code": "One", "Points": "12.5", "Starts": GOOD[3]}
    stage(
        con,
        twin=("same", *GOOD[1:]),
        other=("same", *GOOD[1:]),
        upper=("SAME", *GOOD[1:]),
        thief=("held", *GOOD[1:]),
        heir=("left", *GOOD[1:]),
        mover=("moved", *GOOD[1:]),
    )
    capture(con, COURSE, tmp_path, stranger={"Name": "held", **held}, mover={"Name": "left", **held})

    build(con, schema)

    names = {key for key, code, field, _ in refused(con) if (code, field) == ("LMS-304", "Name")}
    assert names == {"twin", "other", "thief", *(["upper"] if caseless else [])}
    assert sent(con) == {"heir": "create", "mover": "update", **({} if caseless else {"upper": "create"})}


def test_a_contract_leaves_single_fields_to_the_crm(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    schema = CrmSchema("Course", {**FIELDS, "Region": CrmField("Region", "string", Kind.TEXT, required=True)})
    stage(con, long=("much longer than ten", *GOOD[1:]), word=("fine", "Three", *GOOD[2:]))
    capture(con, COURSE, tmp_path)
    rules = [
        {"code": "LMS-303", "column": "Region", "severity": "off"},
        {"code": "LMS-301", "severity": "warn"},
    ]

    counts = build_delta(con, COURSE, schema=schema, checks=ChecksPolicy.model_validate({"rules": rules}), now=NOW)

    assert sent(con) == {"long": "create"}
    assert refused(con) == {("long", "LMS-301", "Name", "warn"), ("word", "LMS-302", "Code", "error")}
    assert counts.refused == 1
    found = refusals(con, CrmObject.COURSE)
    assert (found.records, found.warned) == (1, 1)


def test_an_unreadable_value_leaves_out_its_field_and_sends_the_rest(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    stage(con, odd=("fine", "One", "12,5", GOOD[3]))
    capture(con, COURSE, tmp_path)

    counts = build(con)

    assert sent(con) == {"odd": "create"}
    assert refused(con) == {("odd", "LMS-306", "Points", "warn")}
    assert (counts.refused, counts.unreadable) == (0, 1)


def test_an_unreadable_value_stays_told_when_nothing_else_differs(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    stage(con, odd=("fine", "One", "12,5", GOOD[3]))
    capture(con, COURSE, tmp_path, odd={"Name": "fine", "Code": "One", "Points": "7", "Starts": GOOD[3]})

    assert build(con).unchanged == 1
    assert refused(con) == {("odd", "LMS-306", "Points", "warn")}


def test_a_record_needs_its_parent_where_the_crm_does(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    master = CrmField("Course__c", "reference", Kind.REFERENCE, required=True, relationship="Course__r")
    schema = CrmSchema("Enrollment", {"Course__c": master, "Status": CrmField("Status", "string", Kind.TEXT)})
    stage(con, c=GOOD)
    for key, course in (("with", "c"), ("without", None)):
        con.execute(
            "INSERT INTO staging.enrollment SELECT $1, NULL, 'active', NULL, NULL, NULL, NULL, 'l', $2, hash($1)",
            [key, course],
        )
    capture(con, COURSE, tmp_path)
    capture(con, ENROLLMENT, tmp_path)

    build_delta(con, ENROLLMENT, schema=schema)

    assert sent(con, "enrollment") == {"with": "create"}
    assert refused(con, "enrollment") == {("without", "LMS-303", "Course__c", "error")}


def test_what_only_hangs_on_another_is_not_at_fault(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, bad=("much longer than ten", *GOOD[1:]))
    for number in range(3):
        con.execute(
            "INSERT INTO staging.enrollment SELECT $1, NULL, 'active', NULL, NULL, NULL, NULL, 'l', 'bad', hash($1)",
            [str(number)],
        )
    capture(con, COURSE, tmp_path)
    capture(con, ENROLLMENT, tmp_path)

    build(con)
    build_delta(con, ENROLLMENT)

    found = refusals(con, CrmObject.ENROLLMENT)
    assert (found.records, found.at_fault) == (3, 0)


def test_what_hangs_on_a_refused_record_waits_and_follows_by_itself(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    stage(con, bad=("much longer than ten", *GOOD[1:]), good=GOOD)
    for course in ("bad", "good"):
        con.execute(
            "INSERT INTO staging.enrollment SELECT 'of ' || $1, NULL, 'active', NULL, NULL, NULL, NULL, 'l', $1, hash($1)",
            [course],
        )
    capture(con, COURSE, tmp_path)
    capture(con, ENROLLMENT, tmp_path)

    build(con)
    build_delta(con, ENROLLMENT)
    assert sent(con, "enrollment") == {"of good": "create"}
    assert refused(con, "enrollment") == {("of bad", "LMS-307", "course", "error")}

    stage(con, bad=("mended", *GOOD[1:]), good=GOOD)
    build(con)
    build_delta(con, ENROLLMENT)
    assert sent(con, "enrollment") == {"of bad": "create", "of good": "create"}
    assert refused(con) == refused(con, "enrollment") == set()


def test_children_of_a_refused_record_that_the_crm_holds_go_on(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, bad=("much longer than ten", *GOOD[1:]))
    con.execute("INSERT INTO staging.enrollment SELECT 'e', NULL, 'active', NULL, NULL, NULL, NULL, 'l', 'bad', 1")
    capture(con, COURSE, tmp_path, bad={"Name": "fine"})
    capture(con, ENROLLMENT, tmp_path)

    build(con)
    build_delta(con, ENROLLMENT)

    assert refusals(con, CrmObject.COURSE).records == 1
    assert sent(con, "enrollment") == {"e": "create"}


def test_first_seen_stays_and_attempts_count(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, bad=("much longer than ten", *GOOD[1:]))
    capture(con, COURSE, tmp_path)

    build(con)
    build(con, at=NOW + timedelta(days=1))

    rows = con.execute("SELECT first_seen_at, last_seen_at, attempts FROM delta.refused").fetchall()
    assert rows == [(NOW, NOW + timedelta(days=1), 2)]


def test_a_mode_that_would_not_send_a_record_does_not_refuse_it(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, bad=("much longer than ten", *GOOD[1:]))
    capture(con, COURSE, tmp_path)

    build_delta(con, replace(COURSE, mode=SyncMode.UPDATE), schema=SCHEMA, now=NOW)

    assert refused(con) == set()


def test_without_a_discovery_only_types_are_looked_at(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, long=("much longer than ten", *GOOD[1:]))
    capture(con, COURSE, tmp_path)

    assert build(con, None).refused == 0
    assert sent(con) == {"long": "create"}


def test_the_sample_masks_personal_fields_if_it_is_told_to(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, bad=("Ada Lovelace of Ockham", *GOOD[1:]))
    capture(con, COURSE, tmp_path)
    build(con)

    [masked] = refused_records(con, COURSE, 10, mask=True)
    [plain] = refused_records(con, COURSE, 10, mask=False)

    assert "Lovelace" not in str(masked)
    assert plain["value"] == "Ada Lovelace of Ockham"
    assert masked["remedy"] == codes.TOO_LONG.remedy
