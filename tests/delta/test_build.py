"""The delta against a plain-Python model of what it should find."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode
from lms_crm_assets.errors import FatalError
from lms_crm_assets.snapshot.capture import load_snapshot, replace_rows
from lms_crm_assets.warehouse.connection import connect

NOW = datetime(2026, 11, 24, tzinfo=UTC)
COURSE = ObjectSpec(CrmObject.COURSE, "Course", "Key", {}, {})
CONTACT = ObjectSpec(CrmObject.CONTACT, "Contact", "Key", {}, {})


def field(column: str, kind: FieldType) -> FieldSpec:
    return FieldSpec(f'"{column}"', frozenset({column}), kind)


ENROLLMENT = ObjectSpec(
    CrmObject.ENROLLMENT,
    "Enrollment",
    "Key",
    {
        "Role": field("role", FieldType.TEXT),
        "Sta'tus": field("status", FieldType.EMAIL),
        "Starts": field("starts_at", FieldType.DATETIME),
    },
    {
        CrmObject.CONTACT: ParentSpec("Contact", "Key", "Contact__r"),
        CrmObject.COURSE: ParentSpec("Course", "Key", "Course__r"),
    },
)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        yield found


def stage(con: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> None:
    con.execute(
        "CREATE OR REPLACE TABLE staging.enrollment (source_id VARCHAR, role VARCHAR, status VARCHAR,"
        " enrolled_at TIMESTAMPTZ, starts_at TIMESTAMPTZ, ends_at TIMESTAMPTZ, extra JSON, learner_id VARCHAR,"
        " course_id VARCHAR, row_hash UBIGINT)"
    )
    for key, role, status, starts_at, learner, course in rows:
        con.execute(
            "INSERT INTO staging.enrollment VALUES ($1, $2, $3, NULL, $4, NULL, NULL, $5, $6, hash($1, $2, $3, $4, $5, $6))",
            [key, role, status, starts_at, learner, course],
        )


def capture(con: duckdb.DuckDBPyConnection, spec: ObjectSpec, rows: list[dict[str, Any]], folder: Path) -> None:
    file = folder / "snapshot.ndjson"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    load_snapshot(con, spec, file, NOW)


def parents(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    capture(con, CONTACT, [{"external_id": f"l{i}", "crm_id": f"C{i}"} for i in range(3)], folder)
    capture(con, COURSE, [{"external_id": f"c{i}", "crm_id": f"K{i}"} for i in range(3)], folder)


def live(key: str, **values: Any) -> dict[str, Any]:
    return {"external_id": key, "crm_id": f"E{key}", **values}


def delta(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    found = con.sql("SELECT * FROM delta.enrollment").to_arrow_table().to_pylist()
    for row in found:
        row["parents"], row["parents_before"] = dict(row["parents"]), dict(row["parents_before"])
        written = [change for change in row["changes"] if change["written"]]
        row["before"] = {change["field"]: change["old"] for change in written}
        row["after"] = {change["field"]: change["new"] for change in written}
        row["changed_fields"] = [*row["after"], *row["parents"]]
    return {row["external_id"]: row for row in found}


def test_equal_in_normal_form_is_unchanged(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    parents(con, tmp_path)
    stage(con, [("1", " student ", "Active", "2026-01-02T03:04:05.678Z", "l1", "c1")])
    same = {"Role": "student", "Sta'tus": "active", "Starts": "2026-01-02T04:04:05.000+0100"}
    capture(con, ENROLLMENT, [live("1", **same, parent_contact="C1", parent_course="K1")], tmp_path)

    assert build_delta(con, ENROLLMENT).unchanged == 1
    assert delta(con) == {}


def test_a_new_record_is_created_with_all_its_values_and_parents(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    parents(con, tmp_path)
    stage(con, [("1", "student", None, "2026-01-02T00:00:00Z", "l1", "c9")])
    capture(con, ENROLLMENT, [], tmp_path)

    counts = build_delta(con, ENROLLMENT)

    row = delta(con)["1"]
    assert (counts.create, row["action"], row["crm_id"]) == (1, "create", None)
    assert row["after"] == {"Role": "student", "Starts": "2026-01-02T00:00:00Z"}
    assert row["parents"] == {"contact": "l1", "course": "c9"}


def test_only_changed_fields_are_written_and_a_null_never(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    parents(con, tmp_path)
    stage(con, [("1", "teacher", None, None, "l1", "c1")])
    values = {"Role": "student", "Sta'tus": "active", "Starts": "2026-01-01T00:00:00Z"}
    capture(con, ENROLLMENT, [live("1", **values, parent_contact="C1", parent_course="K2")], tmp_path)

    build_delta(con, ENROLLMENT)

    row = delta(con)["1"]
    assert (row["action"], row["crm_id"], row["changed_fields"]) == ("update", "E1", ["Role", "course"])
    assert (row["before"], row["after"]) == ({"Role": "student"}, {"Role": "teacher"})
    assert (row["parents"], row["parents_before"]) == ({"course": "c1"}, {"course": "K2"})


@pytest.mark.parametrize(
    ("applied", "expected"),
    [("teacher", "drift"), ("student", "ours"), ("guest", "conflict"), (None, "ours")],
)
def test_a_difference_is_classed_by_what_we_last_wrote(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, applied: str | None, expected: str
) -> None:
    parents(con, tmp_path)
    stage(con, [("1", "teacher", None, None, "l1", "c1")])
    capture(con, ENROLLMENT, [live("1", Role="student", parent_contact="C1", parent_course="K1")], tmp_path)
    if applied is not None:
        con.execute(
            "INSERT INTO sync.ledger VALUES ('enrollment', '1', 'E1', json_object('Role', $1::VARCHAR), 'r', now())",
            [applied],
        )

    build_delta(con, ENROLLMENT)

    assert delta(con)["1"]["class"] == expected


def test_a_record_that_left_the_lms_is_left_alone(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    parents(con, tmp_path)
    stage(con, [])
    capture(con, ENROLLMENT, [live("1", Role="student")], tmp_path)

    con.execute("INSERT INTO sync.ledger VALUES ('enrollment', '1', 'E1', '{}', 'r', now())")

    assert build_delta(con, ENROLLMENT).gone == 1
    assert delta(con) == {}


def mirrored(con: duckdb.DuckDBPyConnection, tmp_path: Path, mode: SyncMode) -> set[tuple[str, str]]:
    """1 is new, 2 changed, 3 gone, 4 gone but not ours, 5 gone only into quarantine."""
    parents(con, tmp_path)
    stage(con, [("1", "new", None, None, "l1", "c1"), ("2", "changed", None, None, "l1", "c1")])
    linked = {"parent_contact": "C1", "parent_course": "K1"}
    capture(con, ENROLLMENT, [live(key, Role="r", **linked) for key in "2345"], tmp_path)
    con.execute(
        "INSERT INTO sync.ledger SELECT 'enrollment', k, 'E' || k, '{}', 'r', now() FROM unnest(['2', '3', '5']) t(k)"
    )
    con.execute("INSERT INTO staging.quarantine (entity, source_id, code) VALUES ('enrollments', '5', 'LMS-105')")
    build_delta(con, replace(ENROLLMENT, mode=mode))
    return {(key, row["action"]) for key, row in delta(con).items()}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (SyncMode.UPSERT, {("1", "create"), ("2", "update")}),
        (SyncMode.UPDATE, {("2", "update")}),
        (SyncMode.INSERT, {("1", "create")}),
        (SyncMode.MIRROR, {("1", "create"), ("2", "update"), ("3", "archive")}),
        (SyncMode.ARCHIVE, {("3", "archive")}),
    ],
)
def test_a_mode_does_what_it_allows_and_archives_only_what_we_wrote_and_what_really_left(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, mode: SyncMode, expected: set[tuple[str, str]]
) -> None:
    assert mirrored(con, tmp_path, mode) == expected


@pytest.mark.parametrize(
    ("owner", "ours", "theirs", "written"),
    [
        (Owner.ENFORCE, "a", "b", "a"),
        (Owner.ENFORCE, None, "b", None),
        (Owner.NEVER_NULL, "a", "b", "a"),
        (Owner.NEVER_NULL, None, "b", "-"),
        (Owner.FILL_IF_EMPTY, "a", None, "a"),
        (Owner.FILL_IF_EMPTY, "a", "b", "-"),
        (Owner.FILL_IF_EMPTY, None, "b", "-"),
        (Owner.OBSERVE, "a", "b", "-"),
        (Owner.OBSERVE, "a", None, "-"),
    ],
)
def test_the_owner_of_a_field_decides_what_is_written(
    con: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    owner: Owner,
    ours: str | None,
    theirs: str | None,
    written: str | None,
) -> None:
    parents(con, tmp_path)
    stage(con, [("1", ours, None, None, "l1", "c1")])
    capture(con, ENROLLMENT, [live("1", Role=theirs, parent_contact="C1", parent_course="K1")], tmp_path)
    owned = replace(ENROLLMENT, fields={"Role": replace(field("role", FieldType.TEXT), owner=owner)})

    counts = build_delta(con, owned)

    row = delta(con).get("1")
    assert (row["after"] if row else {}) == ({} if written == "-" else {"Role": written})
    assert counts.update == (0 if written == "-" else 1)
    assert counts.observed == (1 if owner is Owner.OBSERVE else 0)
    assert row is None or row["action"] == ("unchanged" if written == "-" else "update")


def test_a_changed_contract_is_seen_in_rows_that_did_not_change(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    parents(con, tmp_path)
    stage(con, [("1", "a", "A", "2026-01-02T03:04:05Z", "l1", "c1")])
    held = {"Role": "A", "Sta'tus": "a", "Starts": "2026-01-02T00:00:00Z"}
    capture(con, ENROLLMENT, [live("1", **held, parent_contact="C1", parent_course="K1")], tmp_path)
    build_delta(con, ENROLLMENT)
    assert delta(con)["1"]["changed_fields"] == ["Role", "Starts"]

    starts = replace(ENROLLMENT.fields["Starts"], normalisers=("date",))
    upper = replace(ENROLLMENT.fields["Role"], normalisers=("upper",))
    status = FieldSpec("'x' || \"status\"", frozenset({"status"}), FieldType.EMAIL)
    changed = replace(ENROLLMENT, fields={"Role": upper, "Sta'tus": status, "Starts": starts})
    build_delta(con, changed)
    assert delta(con)["1"]["after"] == {"Sta'tus": "xa"}

    build_delta(con, ENROLLMENT)
    assert delta(con)["1"]["changed_fields"] == ["Role", "Starts"]


def test_two_crm_records_with_one_match_key_are_an_error(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="1 values of 'Key' stand on several Enrollment records"):
        capture(con, ENROLLMENT, [live("1"), live("1")], tmp_path)


texts = st.sampled_from([None, "", "a", "A ", " a", "b", "='x'", "Ünï"])
keys = st.sampled_from("123456")
sides = st.dictionaries(keys, st.tuples(texts, texts), max_size=6)


@settings(max_examples=60, deadline=None)
@given(earlier=sides, desired=sides, held=sides)
def test_the_delta_is_what_a_dictionary_comparison_finds(
    tmp_path_factory: pytest.TempPathFactory,
    earlier: dict[str, tuple[str | None, str | None]],
    desired: dict[str, tuple[str | None, str | None]],
    held: dict[str, tuple[str | None, str | None]],
) -> None:
    folder = tmp_path_factory.mktemp("delta")
    with connect(folder / "w.duckdb") as con:
        parents(con, folder)
        linked = {"parent_contact": "C1", "parent_course": "K1"}
        rows = [live(key, Role=role, **{"Sta'tus": status}, **linked) for key, (role, status) in held.items()]
        capture(con, ENROLLMENT, rows, folder)
        for staged in (earlier, desired):  # the second delta finds the mapping of the first
            stage(con, [(key, role, status, None, "l1", "c1") for key, (role, status) in staged.items()])
            build_delta(con, ENROLLMENT)
        found = {key: row["after"] for key, row in delta(con).items()}

    expected = {}
    for key, values in desired.items():
        wanted = normal(values)
        if key not in held:
            expected[key] = {name: value for name, value in wanted.items() if value is not None}
            continue
        there = normal(held[key])
        changes = {n: v for n, v in wanted.items() if v is not None and v != there[n]}
        if changes:
            expected[key] = changes
    assert found == expected


def normal(values: tuple[str | None, str | None]) -> dict[str, str | None]:
    role, status = ((value or "").strip() or None for value in values)
    return {"Role": role, "Sta'tus": status and status.lower()}


def test_a_snapshot_of_something_else_is_not_used(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    parents(con, tmp_path)
    stage(con, [("1", "a", "b", None, "l1", "c1")])
    capture(
        con, ENROLLMENT, [live("1", Role="a", **{"Sta'tus": "b"}, parent_contact="C1", parent_course="K1")], tmp_path
    )
    assert build_delta(con, ENROLLMENT).unchanged == 1

    for other in (
        replace(ENROLLMENT, to="Lead"),
        replace(ENROLLMENT, match_key="Other"),
        replace(ENROLLMENT, crm="https://production.example"),
    ):
        with pytest.raises(FatalError, match="another CRM, object, match key or parent for enrollment"):
            build_delta(con, other)


def test_a_field_that_was_dropped_for_a_while_needs_a_new_capture(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    parents(con, tmp_path)
    stage(con, [("1", "a", "b", None, "l1", "c1")])
    capture(con, ENROLLMENT, [live("1", Role="x", parent_contact="C1", parent_course="K1")], tmp_path)
    build_delta(con, replace(ENROLLMENT, fields={"Sta'tus": ENROLLMENT.fields["Sta'tus"]}))

    with pytest.raises(FatalError, match="the contract names Role, Starts of enrollment since"):
        build_delta(con, ENROLLMENT)


def test_a_contract_that_changes_before_the_first_capture_is_seen(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    parents(con, tmp_path)
    lower = replace(ENROLLMENT, fields={"Role": replace(field("role", FieldType.TEXT), normalisers=("lower",))})
    stage(con, [("1", "a", None, None, "l1", "c1")])
    build_delta(con, lower)
    linked = "'C1' AS parent_contact, 'K1' AS parent_course, now() AS captured_at"
    rows = f"SELECT '1' AS external_id, 'E1' AS crm_id, 'A' AS Role, {linked}"
    con.execute("CREATE TEMP TABLE keys AS SELECT '1' AS external_id")
    replace_rows(con, lower, "keys", rows)
    assert build_delta(con, lower).unchanged == 1

    assert build_delta(con, replace(lower, fields={"Role": field("role", FieldType.TEXT)})).update == 1


@pytest.mark.parametrize("owner", [Owner.ENFORCE, Owner.NEVER_NULL, Owner.FILL_IF_EMPTY])
def test_a_value_that_is_none_of_its_type_is_reported_and_never_written(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, owner: Owner
) -> None:
    parents(con, tmp_path)
    stage(con, [(key, "85,5", "oui", None, "l1", "c1") for key in "123"])
    linked = {"parent_contact": "C1", "parent_course": "K1"}
    capture(con, ENROLLMENT, [live("1", Role="3", **{"Sta'tus": "true"}, **linked), live("2", **linked)], tmp_path)
    typed = {
        "Role": replace(field("role", FieldType.NUMBER), owner=owner),
        "Sta'tus": replace(field("status", FieldType.BOOLEAN), owner=owner),
    }

    counts = build_delta(con, replace(ENROLLMENT, fields=typed))

    rows = delta(con)
    assert {key: (row["action"], row["after"]) for key, row in rows.items() if row["action"] != "unchanged"} == {
        "3": ("create", {})
    }
    told = {
        (key, change["field"], change["new"], change["class"]) for key, row in rows.items() for change in row["changes"]
    }
    seen = "23" if owner is Owner.FILL_IF_EMPTY else "123"
    assert told == {
        (key, name, value, "unreadable") for key in seen for name, value in (("Role", "85,5"), ("Sta'tus", "oui"))
    }
    assert (counts.create, counts.update, counts.unreadable, counts.observed) == (1, 0, len(seen), 0)
