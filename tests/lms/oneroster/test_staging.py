"""From OneRoster's rows to the canonical tables: names, states, days as moments, ranges, ratings, and what is left over."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.landing import land, load
from lms_crm_assets.lms.oneroster.records import page_of
from lms_crm_assets.sandbox.oneroster import OneRosterSimulator
from lms_crm_assets.staging.attributes import passes_payload_on
from lms_crm_assets.staging.build import StagingCounts, build_staging
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.connection import connect
from tests.lms.pulls import load_whole
from tests.oneroster_provider import adapter
from tests.sandbox_control import records
from tests.simulator_server import serving

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        yield found


def ref(key: str, **members: Any) -> dict[str, Any]:
    return {"sourcedId": key, "href": f"https://sis.test/{key}", "type": "x", **members}


def row(key: str, **members: Any) -> dict[str, Any]:
    return {"sourcedId": key, "status": "active", "dateLastModified": "2026-10-01T00:00:00.000Z", **members}


def user(key: str, **members: Any) -> dict[str, Any]:
    return row(key, email=f"{key}@example.org", givenName="A", familyName="B", enabledUser="true", **members)


def stage(
    con: duckdb.DuckDBPyConnection, folder: Path, entity: LmsEntity, *rows: Any, zone: str = "UTC", keep: bool = True
) -> StagingCounts:
    landed = land([page_of(entity, rows, whole=True)], [entity], folder / "landing")
    load_whole(con, entity, landed, at=NOW)
    return build_staging(
        con, rules_for(ChecksPolicy(), entity), adapter="oneroster", timezone=zone, now=NOW, keep_unknown=keep
    )


@pytest.fixture
def school(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """One learner in one class."""
    stage(con, tmp_path, LmsEntity.LEARNERS, user("u1"))
    stage(con, tmp_path, LmsEntity.COURSES, row("k1", title="Sums"))
    return con


def of(con: duckdb.DuckDBPyConnection, columns: str, table: str) -> list[tuple[Any, ...]]:
    return con.execute(f"SELECT {columns} FROM staging.{table} ORDER BY source_id").fetchall()


def refused(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute('SELECT source_id, code, "column", "value" FROM staging.quarantine ORDER BY ALL').fetchall()


def test_a_simulated_school_is_valid_and_whole(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    counts = {}
    with serving(OneRosterSimulator(learners=150, courses=5, enrollments=250)) as address:
        with adapter(address) as found:
            landed = land(found.pull(list(LmsEntity), None), list(LmsEntity), tmp_path / "landing")
        scores, ratings = records(address, "scores"), records(address, "competencies")
    for entity in LmsEntity:
        load(con, entity, landed, observed_at=NOW, complete=True)
        counts[entity] = build_staging(
            con, rules_for(ChecksPolicy(), entity), adapter="oneroster", timezone="UTC", now=NOW, keep_unknown=True
        )

    assert counts[LmsEntity.COMPLETIONS] == StagingCounts(0, 0)
    assert counts[LmsEntity.SCORES].in_lms == len(scores)
    assert counts[LmsEntity.COMPETENCIES].in_lms == sum(
        bool((rating["competency"] or {}).get("code")) for rating in ratings
    )
    # What is refused is refused for what the school itself got wrong, never for a value that was not understood.
    assert {code for _, code, *_ in refused(con)} <= {"LMS-101", "LMS-104", "LMS-202", "LMS-203", "LMS-204", "LMS-205"}
    assert all(count.valid >= 0.9 * count.in_lms for count in counts.values()), counts
    assert con.execute("SELECT count(organization) > 100 FROM staging.learner").fetchall() == [(True,)]


def test_every_table_has_its_columns_also_without_rows(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for entity in LmsEntity:
        assert stage(con, tmp_path, entity) == StagingCounts(0, 0)

        kinds = {name: kind for name, kind, *_ in con.execute(f"DESCRIBE staging.{entity.staging_table}").fetchall()}
        asked = {
            name: kind.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for name, kind in COLUMNS[entity].items()
        }
        assert {name: kinds[name] for name in asked} == asked
        assert passes_payload_on("oneroster", entity) is (entity is not LmsEntity.COMPLETIONS)


def test_a_user_is_a_learner(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ada = user("u1", username="ada", identifier="4711", primaryOrg=ref("o1", name="North School"), grades=["09"])
    off, odd, flag = user("u2"), user("u3"), user("u4")
    off["enabledUser"], odd["status"], flag["enabledUser"] = "false", "inactive", False

    counts = stage(con, tmp_path, LmsEntity.LEARNERS, ada, off, odd, flag)

    assert counts == StagingCounts(4, 3)
    assert of(con, "source_id, external_id, username, organization, status", "learner") == [
        ("u1", "4711", "ada", "North School", "active"),
        ("u2", None, None, None, "suspended"),
        ("u4", None, None, None, "suspended"),
    ]
    assert refused(con) == [("u3", "LMS-105", "status", "inactive")]
    (extra,) = of(con, "extra", "learner WHERE source_id = 'u1'")[0]
    assert orjson.loads(extra) == {"grades": ["09"], "primaryOrg": {"sourcedId": "o1"}}
    assert of(con, "source_updated_at", "learner")[0] == (datetime(2026, 10, 1, tzinfo=UTC),)


def test_a_deleted_user_is_none(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert stage(con, tmp_path, LmsEntity.LEARNERS, {**user("u1"), "status": "tobedeleted"}) == StagingCounts(0, 0)


def test_a_class_is_a_course_and_says_what_its_course_says_where_it_is_silent(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    course = ref("c1", title="Algebra", courseCode="ALG")
    stage(
        con,
        tmp_path,
        LmsEntity.COURSES,
        row("k1", title="Algebra, 3rd period", classCode="ALG-3", course=course),
        row("k2", title=" ", classCode="", course=course),
        row("k3", title="Alone", periods=["3"]),
    )

    assert of(con, "source_id, title, code", "course") == [
        ("k1", "Algebra, 3rd period", "ALG-3"),
        ("k2", "Algebra", "ALG"),
        ("k3", "Alone", None),
    ]
    assert of(con, "extra", "course")[1:] == [('{"course":{"sourcedId":"c1"}}',), ('{"periods":["3"]}',)]


@pytest.mark.parametrize(
    ("begin", "end", "status"),
    [
        (None, None, "active"),
        ("2026-09-01", "2027-01-31", "active"),
        ("2026-11-25", None, "invited"),
        ("2026-11-24", "2026-11-25", "active"),
        # The day of the end is no longer part of it.
        ("2026-09-01", "2026-11-24", "expired"),
        ("2026-09-01T00:00:00.000Z", "2026-10-01T00:00:00Z", "expired"),
    ],
)
def test_dates_tell_an_enrollment_s_state(
    school: duckdb.DuckDBPyConnection, tmp_path: Path, begin: str | None, end: str | None, status: str
) -> None:
    enrollment = row(
        "e1", user=ref("u1"), role="student", primary="true", beginDate=begin, endDate=end, **{"class": ref("k1")}
    )

    assert stage(school, tmp_path, LmsEntity.ENROLLMENTS, enrollment) == StagingCounts(1, 1)
    assert of(school, "learner_id, course_id, role, status, extra", "enrollment") == [
        ("u1", "k1", "student", status, '{"primary":"true"}')
    ]


def test_a_day_begins_where_the_provider_is(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    enrollment = row("e1", user=ref("u1"), beginDate="2026-06-01", endDate="2026-11-25", **{"class": ref("k1")})

    stage(school, tmp_path, LmsEntity.ENROLLMENTS, enrollment, zone="Pacific/Auckland")

    assert of(school, "starts_at, ends_at, status", "enrollment") == [
        # The 25th has begun in Auckland at noon of the 24th in UTC.
        (datetime(2026, 5, 31, 12, tzinfo=UTC), datetime(2026, 11, 24, 11, tzinfo=UTC), "expired")
    ]


@pytest.mark.parametrize("day", ["2026-02-30", "soon", "01/09/2026"])
def test_a_day_that_is_none_is_refused(school: duckdb.DuckDBPyConnection, tmp_path: Path, day: str) -> None:
    stage(school, tmp_path, LmsEntity.ENROLLMENTS, row("e1", user=ref("u1"), beginDate=day, **{"class": ref("k1")}))

    assert refused(school) == [("e1", "LMS-102", "starts_at", day)]


def test_a_result_is_a_score_within_its_line_item_s_range(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    item = ref("i1", title="Essay", category=ref("cat"), resultValueMin=0, resultValueMax=20, **{"class": ref("k1")})
    graded = {"student": ref("u1"), "lineItem": item, "scoreDate": "2026-10-10"}
    states = ["fully graded", "exempt", "submitted", "not submitted", "partially graded"]
    rows = [row(f"r{n}", **graded, score=7.5, scoreStatus=state) for n, state in enumerate(states)]
    rows += [row("r5", **graded, textScore="B+", scoreStatus="fully graded"), row("r6", **graded, score=21)]

    assert stage(school, tmp_path, LmsEntity.SCORES, *rows) == StagingCounts(7, 6)
    assert of(school, "source_id, raw::FLOAT, min::INT, max::INT, text, graded_at IS NOT NULL", "score") == [
        ("r0", 7.5, 0, 20, None, True),
        ("r1", None, 0, 20, None, False),
        ("r2", 7.5, 0, 20, None, False),
        ("r3", 7.5, 0, 20, None, False),
        ("r4", 7.5, 0, 20, None, True),
        ("r5", None, 0, 20, "B+", True),
    ]
    assert of(school, "learner_id, course_id, item_id, item_type", "score")[0] == ("u1", "k1", "i1", "activity")
    assert refused(school) == [("r6", "LMS-205", "raw", "21")]
    left = orjson.loads(of(school, "extra", "score")[0][0])
    assert left == {"scoreStatus": "fully graded", "lineItem": {"title": "Essay", "category": ref("cat")}}


def test_a_result_s_own_class_counts_before_its_line_item_s(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage(school, tmp_path, LmsEntity.COURSES, row("k1", title="Sums"), row("k2", title="Poems"))
    item = ref("i1", **{"class": ref("k1")})

    stage(
        school, tmp_path, LmsEntity.SCORES, row("r1", student=ref("u1"), lineItem=item, score=1, **{"class": ref("k2")})
    )

    assert of(school, "course_id", "score") == [("k2",)]


def test_learning_objectives_are_ratings_and_no_score(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rated = [
        {"source": "case", "learningObjectiveResults": [
            {"learningObjectiveId": "lo1", "textScore": "proficient"}, {"learningObjectiveId": "lo2", "score": 3}]},
        {"source": "local", "learningObjectiveResults": [{"learningObjectiveId": "lo3"}]},
    ]  # fmt: skip
    item = ref("i1", **{"class": ref("k1")})
    result = row(
        "r1",
        student=ref("u1"),
        lineItem=item,
        scoreStatus="fully graded",
        scoreDate="2026-10-10",
        learningObjectiveSet=rated,
    )

    assert stage(school, tmp_path, LmsEntity.SCORES, result) == StagingCounts(0, 0)
    assert stage(school, tmp_path, LmsEntity.COMPETENCIES, result) == StagingCounts(3, 3)
    assert of(school, "source_id, learner_id, course_id, code, name, framework, rating", "learner_competency") == [
        ("r1:lo1", "u1", "k1", "lo1", "lo1", "case", "proficient"),
        ("r1:lo2", "u1", "k1", "lo2", "lo2", "case", "3"),
        ("r1:lo3", "u1", "k1", "lo3", "lo3", "local", None),
    ]
    assert of(school, "rated_at", "learner_competency")[0] == (datetime(2026, 10, 10, tzinfo=UTC),)
    assert stage(school, tmp_path, LmsEntity.SCORES, {**result, "score": 5}) == StagingCounts(1, 1)


ODD: list[Any] = [
    None,
    {},
    [],
    "text",
    {"sourcedId": "x", "user": "u", "class": [], "lineItem": 3, "learningObjectiveSet": "s"},
]


@pytest.mark.parametrize("entity", [LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS, LmsEntity.SCORES])
def test_a_malformed_row_is_refused_with_a_code(
    school: duckdb.DuckDBPyConnection, tmp_path: Path, entity: LmsEntity
) -> None:
    assert stage(school, tmp_path, entity, *ODD) == StagingCounts(len(ODD), 0)
    assert {code for _, code, *_ in refused(school)} == {"LMS-101"}


def test_malformed_ratings_stop_nothing(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ratings: list[Any] = [[None], [3], [{}], [{"learningObjectiveResults": "x"}], {"a": 1}, [[{}]], "s", 5]
    rows = [row(f"r{n}", student=ref("u1"), learningObjectiveSet=odd) for n, odd in enumerate(ratings)]

    for entity in (LmsEntity.SCORES, LmsEntity.COMPETENCIES):
        assert stage(school, tmp_path, entity, *ODD, *rows).valid == 0
