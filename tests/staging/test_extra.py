"""What an LMS adds to its records: kept as `extra` if the contract says so, and mapped to a CRM field without code."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.domain import CrmObject, LmsEntity, RawRecord
from lms_crm_assets.lms.landing import land, load
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.snapshot.capture import load_snapshot
from lms_crm_assets.staging.attributes import MAX_EXTRA_BYTES, extra, passes_payload_on, read_attributes
from lms_crm_assets.staging.build import StagingCounts, build_staging
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.connection import connect

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LEARNER = {"id": "l1", "email": "ada@example.org", "family_name": "Lovelace", "status": "active"}
COURSE = {"id": "c1", "title": "Sums", "level": "for the course"}
COMPLETION = {"id": "k1", "learner_id": "l1", "course_id": "c1", "state": "completed"}
CONTRACT = """\
version: 2
tenant: globex
unknown_attributes: keep
source: {adapter: changes, url: https://lms.test, token: env:LMS}
destination: {adapter: hubspot, url: https://crm.test, access_token: env:CRM}
objects:
  contact:
    to: contacts
    match_key: lms_user_id
    fields:
      lastname: family_name
      department: extra ->> 'department'
      weekly_hours: {from: cast(extra ->> '$.contract.hours' as number), type: number, scale: 2}
  completion:
    to: p_completion
    match_key: lms_completion_id
    fields:
      level: extra ->> 'level'
"""


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        yield found


def stage(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    entity: LmsEntity,
    *payloads: dict[str, Any],
    adapter: str = "changes",
    keep: bool = True,
) -> StagingCounts:
    """Bring records through landing and staging, as a full pull does."""
    page = Page(entity, [RawRecord(str(payload["id"]), payload) for payload in payloads])
    landed = land([page], [entity], folder / "landing")
    load(con, entity, landed, observed_at=NOW, complete=True)
    return build_staging(
        con, rules_for(ChecksPolicy(), entity), adapter=adapter, timezone="UTC", now=NOW, keep_unknown=keep
    )


def extras(con: duckdb.DuckDBPyConnection, table: str = "learner") -> list[str | None]:
    return [row[0] for row in con.execute(f"SELECT extra FROM staging.{table} ORDER BY source_id").fetchall()]


def row_hash(con: duckdb.DuckDBPyConnection) -> int:
    found: int = con.execute("SELECT row_hash FROM staging.learner").fetchall()[0][0]
    return found


def test_what_counts_as_known_is_what_the_sql_reads() -> None:
    assert read_attributes("changes", LmsEntity.COMPETENCIES)["competency"] == dict.fromkeys(
        ("code", "name", "framework")
    )
    assert "suspended" in read_attributes("moodle", LmsEntity.LEARNERS)
    assert passes_payload_on("moodle", LmsEntity.LEARNERS)
    assert not passes_payload_on("moodle", LmsEntity.ENROLLMENTS), "a report's rows have nothing beside their columns"


@pytest.mark.parametrize("entity", LmsEntity)
def test_a_record_of_canonical_attributes_leaves_nothing(entity: LmsEntity) -> None:
    columns = {name: "x" for name in COLUMNS[entity] if name not in {"extra", "completed_at_precision"}}
    inside = {name: columns.pop(name) for name in ("code", "name", "framework")} if entity == "competencies" else None
    record = {**columns, "id": "1", "updated_at": "x"} | ({"competency": inside} if inside else {})

    assert extra(orjson.dumps(record).decode(), "changes", entity) is None


def test_unknown_attributes_are_kept_only_if_the_contract_says_so(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    records = {**LEARNER, "hours": 12.5, "department": "R&D"}, {**LEARNER, "id": "l2", "email": "b@example.org"}

    assert stage(con, tmp_path, LmsEntity.LEARNERS, *records, keep=False) == StagingCounts(2, 2)
    assert extras(con) == [None, None]
    assert stage(con, tmp_path, LmsEntity.LEARNERS, *records) == StagingCounts(2, 2)
    assert extras(con) == ['{"department":"R&D","hours":12.5}', None]


def test_another_order_of_a_payload_is_no_change_and_another_value_is(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    hashes = []
    for added in (
        {"b": {"y": 1, "x": [1, 2]}, "a": None},
        {"a": None, "b": {"x": [1, 2], "y": 1}},
        {"a": None, "b": {"x": [2, 1], "y": 1}},
    ):
        stage(con, tmp_path, LmsEntity.LEARNERS, {**added, **LEARNER})
        hashes.append(row_hash(con))

    assert extras(con) == ['{"a":null,"b":{"x":[2,1],"y":1}}']
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_added_inside_a_known_object_is_kept_there(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(con, tmp_path, LmsEntity.LEARNERS, LEARNER)
    stage(con, tmp_path, LmsEntity.COURSES, COURSE)
    competency = {"code": "K", "name": "Sums", "level": 3, "competency": {"code": "inner"}}

    stage(
        con,
        tmp_path,
        LmsEntity.COMPETENCIES,
        {"id": "1", "learner_id": "l1", "course_id": "c1", "competency": competency},
    )

    assert extras(con, "learner_competency") == ['{"competency":{"competency":{"code":"inner"},"level":3}}']


def test_moodle_s_custom_fields_are_named_by_their_short_names(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    user = {"id": 7, "username": "ada", "email": "ada@example.org", "firstname": "Ada", "lastname": "L"}
    fields = [
        {"type": "text", "name": "Cost centre", "shortname": "cost", "value": "4711"},
        {"type": "menu", "name": "Division", "shortname": "division", "value": "R&D"},
    ]

    counts = stage(
        con,
        tmp_path,
        LmsEntity.LEARNERS,
        {**user, "city": "London", "customfields": fields},
        {**user, "id": 8, "username": "bob", "email": "bob@example.org", "customfields": "odd"},
        adapter="moodle",
    )

    assert counts == StagingCounts(2, 2)
    assert extras(con) == [
        '{"city":"London","customfields":{"cost":"4711","division":"R&D"}}',
        '{"customfields":"odd"}',
    ]


def test_the_rows_of_moodle_s_reports_have_nothing_to_keep(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for entity in LmsEntity:
        stage(con, tmp_path, entity, adapter="moodle")
        assert "extra" in {row[0] for row in con.execute(f"DESCRIBE staging.{entity.staging_table}").fetchall()}


def test_what_is_too_large_is_left_out_and_counted_and_the_rest_is_kept(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    frame = len('{"bio":""}')
    fits, too_large = "x" * (MAX_EXTRA_BYTES - frame), "é" * (MAX_EXTRA_BYTES // 2)

    counts = stage(
        con,
        tmp_path,
        LmsEntity.LEARNERS,
        {**LEARNER, "bio": fits},
        {**LEARNER, "id": "l2", "email": "b@example.org", "bio": too_large},
        {**LEARNER, "id": "l3", "email": "c@example.org", "photo": too_large, "department": "Sales", "bio": fits},
    )

    assert counts == StagingCounts(3, 3, cut_extra=2)
    whole, none, rest = extras(con)
    assert (len(whole or ""), none, rest) == (MAX_EXTRA_BYTES, None, '{"department":"Sales"}')


def test_a_refused_row_has_its_code_alone_whatever_it_adds(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    counts = stage(con, tmp_path, LmsEntity.LEARNERS, {**LEARNER, "email": "none", "secret": "4711"})

    assert counts == StagingCounts(1, 0)
    found = con.execute("SELECT * FROM staging.quarantine").fetchall()
    assert [row[2] for row in found] == ["LMS-104"]
    assert "4711" not in str(found)


@pytest.mark.parametrize(
    "name",
    ['say "yes"', "it's", "a.b", "$.a", "/a/b", "~1", "", " ", "\n", "é", "日本", "\u0000", "__proto__", "); --", "%s"],
)
def test_a_hostile_name_is_a_name(con: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    stage(con, tmp_path, LmsEntity.LEARNERS, {**LEARNER, name: {name: "x"}})

    (kept,) = extras(con)
    assert orjson.loads(kept or "") == {name: {name: "x"}}


def test_a_very_deep_attribute_is_kept(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    deep: Any = "bottom"
    for _ in range(250):
        deep = {"a": deep}

    assert stage(con, tmp_path, LmsEntity.LEARNERS, {**LEARNER, "deep": deep}) == StagingCounts(1, 1)
    assert "bottom" in str(extras(con))


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=3), lambda v: st.dictionaries(st.text(), v)))
def test_whatever_is_added_is_kept_as_it_is(added: Any) -> None:
    kept = extra(orjson.dumps({**LEARNER, "added": added}).decode(), "changes", LmsEntity.LEARNERS)

    assert orjson.loads(kept or "") == {"added": added}


@pytest.mark.parametrize("payload", [None, "null", "[]", '"text"', "3"])
def test_a_payload_that_is_no_object_leaves_nothing(payload: str | None) -> None:
    assert extra(payload, "changes", LmsEntity.LEARNERS) is None


def spec_of(obj: CrmObject) -> ObjectSpec:
    return object_spec(parse_contract(CONTRACT, Path("tenants/globex.yaml"), {}), obj)


def planned(con: duckdb.DuckDBPyConnection, folder: Path, obj: CrmObject, held: list[dict[str, Any]]) -> list[Any]:
    """What a run would do, with what the CRM holds now: action, field, old, new."""
    file = folder / "snapshot.ndjson"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in held))
    spec = spec_of(obj)
    load_snapshot(con, spec, file, NOW)
    build_delta(con, spec)
    query = f"SELECT action, c.field, c.old, c.new FROM (SELECT action, unnest(changes) AS c FROM delta.{obj})"
    return con.execute(query).fetchall()


def test_an_attribute_reaches_the_crm_and_so_does_its_change(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    added = {"department": "R&D", "contract": {"hours": "12.50", "kind": "fixed"}}
    held = {"external_id": "l1", "crm_id": "101", "lastname": "Lovelace", "department": "R&D", "weekly_hours": "12.5"}

    stage(con, tmp_path, LmsEntity.LEARNERS, {**LEARNER, **added})
    assert planned(con, tmp_path, CrmObject.CONTACT, []) == [
        ("create", "lastname", None, "Lovelace"),
        ("create", "department", None, "R&D"),
        ("create", "weekly_hours", None, "12.50"),
    ]
    assert planned(con, tmp_path, CrmObject.CONTACT, [held]) == []

    stage(con, tmp_path, LmsEntity.LEARNERS, {**dict(reversed(added.items())), **LEARNER, "visits": 3})
    assert planned(con, tmp_path, CrmObject.CONTACT, [held]) == []

    stage(con, tmp_path, LmsEntity.LEARNERS, {**LEARNER, **added, "department": "Sales"})
    assert planned(con, tmp_path, CrmObject.CONTACT, [held]) == [("update", "department", "R&D", "Sales")]

    stage(con, tmp_path, LmsEntity.LEARNERS, {**LEARNER, "department": ["odd"], "contract": "none"})
    assert planned(con, tmp_path, CrmObject.CONTACT, [held]) == [("update", "department", "R&D", '["odd"]')]


def test_a_completion_has_what_was_added_to_the_completion(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    score = {"id": "s1", "learner_id": "l1", "course_id": "c1", "item_type": "course", "raw": 3, "level": "of score"}
    for entity, record in (
        (LmsEntity.LEARNERS, {**LEARNER, "level": "of learner"}),
        (LmsEntity.COURSES, COURSE),
        (LmsEntity.ENROLLMENTS, {**COMPLETION, "id": "e1", "state": "of enrollment", "status": "active"}),
        (LmsEntity.SCORES, score),
        (LmsEntity.COMPLETIONS, COMPLETION),
    ):
        stage(con, tmp_path, entity, record)
    assert planned(con, tmp_path, CrmObject.COMPLETION, []) == []

    stage(con, tmp_path, LmsEntity.COMPLETIONS, {**COMPLETION, "level": "gold"})
    assert planned(con, tmp_path, CrmObject.COMPLETION, []) == [("create", "level", None, "gold")]
