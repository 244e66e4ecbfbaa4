"""Rules on rows: what each refuses, and how a contract makes them stricter or looser and adds its own."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from pydantic import ValidationError

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.codes import ROW_CODES
from lms_crm_assets.checks.quarantine import failing_rows, rule_counts
from lms_crm_assets.checks.row_rules import PREDICATES
from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checked import CHECKED
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.landing import land
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.staging.build import StagingCounts, build_staging, standing_counts
from lms_crm_assets.warehouse.connection import connect
from tests.lms.pulls import load_whole

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = "2026-05-01T00:00:00Z"
LEARNERS, COURSES, ENROLLMENTS = LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS
COMPLETIONS, SCORES, COMPETENCIES = LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES
GOOD: dict[LmsEntity, dict[str, Any]] = {
    LEARNERS: {
        "username": "ada", "email": "ada@example.org", "given_name": "Ada", "family_name": "Lovelace", "status": "active",
    },
    COURSES: {"title": "Sums", "code": "S1", "starts_at": DAY, "ends_at": "2026-09-01T00:00:00Z"},
    ENROLLMENTS: {"learner_id": "l", "course_id": "c", "role": "student", "status": "active", "enrolled_at": DAY},
    COMPLETIONS: {
        "learner_id": "l", "course_id": "c", "state": "completed", "progress_pct": 100, "completed_at": "2026-06-01T00:00:00Z",
    },
    SCORES: {"learner_id": "l", "course_id": "c", "item_type": "course", "raw": 5, "min": 0, "max": 10, "graded_at": DAY},
    COMPETENCIES: {"learner_id": "l", "course_id": "c", "competency": {"code": "K", "name": "Knots"}, "rated_at": DAY},
}  # fmt: skip


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        yield found


@pytest.fixture
def school(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """One learner in one course, so that rows can belong to them."""
    for entity, key in ((LEARNERS, "l"), (COURSES, "c"), (ENROLLMENTS, "e")):
        give(con, tmp_path, entity, {key: {}})
    return con


def give(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    entity: LmsEntity,
    rows: Mapping[str, Mapping[str, Any]],
    policy: ChecksPolicy | None = None,
    at: datetime = NOW,
) -> StagingCounts:
    """Let the LMS give good rows with these changes, all at `at`, and stage them; an id can be changed too."""
    payloads = {key: {"id": key, **GOOD[entity], **changes} for key, changes in rows.items()}
    page = Page(entity, [RawRecord(key, payload) for key, payload in payloads.items()])
    load_whole(con, entity, land([page], [entity], folder / "landing"), at=at)
    rules = rules_for(policy or ChecksPolicy(), entity)
    return build_staging(con, rules, adapter="changes", timezone="UTC", now=at)


def found(con: duckdb.DuckDBPyConnection, table: str = "quarantine") -> set[tuple[str, str, str]]:
    return set(con.execute(f'SELECT source_id, code, "column" FROM staging.{table}').fetchall())


def policy(*rules: dict[str, Any], own: list[dict[str, Any]] | None = None) -> ChecksPolicy:
    return ChecksPolicy.model_validate({"rules": list(rules), "own": own or []})


BROKEN = [
    (LEARNERS, {"id": "x" * 256}, "LMS-103", "source_id"),
    (LEARNERS, {"id": "a\x01b"}, "LMS-103", "source_id"),
    (LEARNERS, {"given_name": "Ada\x07"}, "LMS-111", "given_name"),
    (LEARNERS, {"family_name": "gnp.exe\u202efdp"}, "LMS-111", "family_name"),
    (LEARNERS, {"organization": "=1+1"}, "LMS-108", "organization"),
    (COURSES, {"title": "\u2066Sums"}, "LMS-111", "title"),
    (COURSES, {"title": "broken \ufffd"}, "LMS-102", "title"),
    (ENROLLMENTS, {"enrolled_at": "1970-01-01T00:00:00Z"}, "LMS-110", "enrolled_at"),
    (ENROLLMENTS, {"enrolled_at": "2031-01-01T00:00:00Z"}, "LMS-109", "enrolled_at"),
    (COMPLETIONS, {"progress_pct": 100.5}, "LMS-207", "progress_pct"),
    (COMPLETIONS, {"progress_pct": -1}, "LMS-207", "progress_pct"),
    (SCORES, {"graded_at": "1900-01-01T00:00:00Z"}, "LMS-110", "graded_at"),
    (COMPETENCIES, {"competency": {"code": "K", "name": "@SUM(A1)"}}, "LMS-108", "name"),
]


@pytest.mark.parametrize(("entity", "changes", "code", "column"), BROKEN)
def test_a_row_is_refused_and_the_one_beside_it_is_not(
    school: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    entity: LmsEntity,
    changes: dict[str, Any],
    code: str,
    column: str,
) -> None:
    beside = {"email": "other@example.org"} if entity is LEARNERS else {}
    counts = give(school, tmp_path, entity, {"bad": changes, "good": beside})

    assert {row[1:] for row in found(school)} == {(code, column)}
    assert (counts.in_lms, counts.valid) == (2, 1)


PASSING = [
    (LEARNERS, {"id": "x" * 255, "given_name": "Ada\tMary", "family_name": "O'Neill-Šimić 李"}),
    (ENROLLMENTS, {"enrolled_at": "1990-01-01T00:00:00Z"}),
    (COMPLETIONS, {"progress_pct": 0, "state": "in_progress", "completed_at": None}),
    (COMPLETIONS, {"progress_pct": None}),
]


@pytest.mark.parametrize(("entity", "changes"), PASSING)
def test_what_is_only_unusual_passes_without_a_word(
    school: duckdb.DuckDBPyConnection, tmp_path: Path, entity: LmsEntity, changes: dict[str, Any]
) -> None:
    give(school, tmp_path, entity, {"row": changes})

    assert found(school) == found(school, "warnings") == set()


WARNED = [
    (COMPLETIONS, {"progress_pct": 99}, "LMS-208", "progress_pct"),
    (COMPLETIONS, {"state": "in_progress", "progress_pct": 50}, "LMS-210", "completed_at"),
    (COURSES, {"ends_at": "2026-04-30T00:00:00Z"}, "LMS-209", "ends_at"),
    (ENROLLMENTS, {"ends_at": "2026-04-30T00:00:00Z"}, "LMS-209", "ends_at"),
]


@pytest.mark.parametrize(("entity", "changes", "code", "column"), WARNED)
def test_a_warning_lets_the_row_pass_and_a_contract_can_refuse_it_or_look_away(
    school: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    entity: LmsEntity,
    changes: dict[str, Any],
    code: str,
    column: str,
) -> None:
    counts = give(school, tmp_path, entity, {"row": changes})
    assert (found(school), found(school, "warnings")) == (set(), {("row", code, column)})
    assert (counts.valid, counts.warned) == (1, 1)

    counts = give(school, tmp_path, entity, {"row": changes}, policy({"code": code, "severity": "error"}))
    assert (found(school), found(school, "warnings")) == ({("row", code, column)}, set())
    assert (counts.valid, counts.warned) == (0, 0)

    counts = give(school, tmp_path, entity, {"row": changes}, policy({"code": code, "severity": "off"}))
    assert (found(school), found(school, "warnings"), counts.valid) == (set(), set(), 1)


def test_an_enrollment_that_is_not_there_counts_only_if_the_contract_says_so(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    give(school, tmp_path, LEARNERS, {"l": {}, "m": {"email": "m@example.org"}})
    give(school, tmp_path, SCORES, {"s": {"learner_id": "m"}})
    assert found(school) == set()

    give(school, tmp_path, SCORES, {"s": {"learner_id": "m"}}, policy({"code": "LMS-212", "severity": "error"}))
    assert found(school) == {("s", "LMS-212", "course_id")}


def test_a_way_back_is_warned_of_once_or_refused_until_the_state_is_possible_again(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    back = {"state": "not_started", "progress_pct": 0, "completed_at": None}
    give(school, tmp_path, COMPLETIONS, {"k": {}})
    give(school, tmp_path, COMPLETIONS, {"k": back})
    assert (found(school), found(school, "warnings")) == (set(), {("k", "LMS-211", "state")})

    strict = policy({"code": "LMS-211", "severity": "error"})
    give(school, tmp_path, COMPLETIONS, {"k": {}}, strict)
    for _ in range(2):
        give(school, tmp_path, COMPLETIONS, {"k": back}, strict)
        assert school.execute('SELECT code, "value" FROM staging.quarantine').fetchall() == [
            ("LMS-211", "completed → not_started")
        ]
    give(
        school, tmp_path, COMPLETIONS, {"k": {"state": "in_progress", "progress_pct": 10, "completed_at": None}}, strict
    )
    assert found(school) == set()


def test_a_contract_loosens_one_column_and_tightens_a_limit(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    changed = policy(
        {"code": "LMS-101", "entity": "learners", "column": "email", "severity": "warn"},
        {"code": "LMS-107", "limit": 10},
    )
    rows: dict[str, dict[str, Any]] = {
        "no mail": {"email": None},
        "long": {"email": "b@example.org", "family_name": "Montgomery-Smythe"},
        "no name": {"email": "c@example.org", "family_name": None},
    }
    counts = give(school, tmp_path, LEARNERS, rows, changed)

    assert found(school) == {("long", "LMS-107", "family_name"), ("no name", "LMS-101", "family_name")}
    assert found(school, "warnings") == {("no mail", "LMS-101", "email")}
    assert counts.valid == 1


def test_loosening_a_code_never_loosens_what_makes_a_row_somebodys(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    give(
        school,
        tmp_path,
        SCORES,
        {"s": {"learner_id": None, "item_type": None}},
        policy({"code": "LMS-101", "severity": "off"}),
    )

    assert found(school) == {("s", "LMS-101", "learner_id")}


def test_a_rule_of_the_tenants_own_refuses_or_warns_under_its_name(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    own = [
        {"name": "our_address", "entity": "learners", "column": "email", "holds": "email LIKE '%@example.org'"},
        {
            "name": "has_organization",
            "entity": "learners",
            "column": "organization",
            "holds": "organization IS NOT NULL",
            "severity": "warn",
        },
    ]
    rows = {
        "in": {"organization": "Acme"},
        "out": {"email": "ada@elsewhere.org", "organization": "Acme"},
        "none": {"email": "b@example.org"},
    }
    give(school, tmp_path, LEARNERS, rows, policy(own=own))

    told = 'SELECT source_id, code, rule, "column" FROM staging.{}'
    assert school.execute(told.format("quarantine")).fetchall() == [("out", "LMS-299", "our_address", "email")]
    assert school.execute(told.format("warnings")).fetchall() == [
        ("none", "LMS-299", "has_organization", "organization")
    ]


def test_a_refused_row_keeps_when_it_was_seen_first_its_row_and_how_often_it_was_given(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    bad = {"bad": {"email": "nowhere", "family_name": "Byron"}}
    give(school, tmp_path, LEARNERS, bad)
    again = NOW + timedelta(days=1)
    give(school, tmp_path, LEARNERS, bad, at=again)
    later = again + timedelta(hours=1)
    # A build without a new pull: the LMS didn't give the row once more.
    build_staging(school, rules_for(ChecksPolicy(), LEARNERS), adapter="changes", timezone="UTC", now=later)

    query = 'SELECT first_seen_at, last_seen_at, attempts, "row" FROM staging.quarantine'
    [(first, last, attempts, row)] = school.execute(query).fetchall()
    assert (first, last, attempts) == (NOW, later, 2)
    assert {**orjson.loads(row)}.items() >= {"source_id": "bad", "email": "nowhere", "family_name": "Byron"}.items()

    give(school, tmp_path, LEARNERS, {"bad": {}}, at=later)
    assert found(school) == set()


def test_a_row_without_an_id_is_known_by_what_it_holds(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for day in range(2):
        rows = {"x": {"id": None, "title": "One"}, "y": {"id": None, "title": f"Day {day}"}}
        give(school, tmp_path, COURSES, rows, at=NOW + timedelta(days=day))

    query = "SELECT \"row\"->>'title', attempts, first_seen_at FROM staging.quarantine WHERE \"column\" = 'source_id' ORDER BY 1"
    assert school.execute(query).fetchall() == [("Day 1", 1, NOW + timedelta(days=1)), ("One", 2, NOW)]


def test_an_id_with_blanks_is_kept_as_it_is_known_everywhere(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    give(school, tmp_path, COURSES, {"k": {"id": " k ", "title": None}})

    assert found(school) == {("k", "LMS-101", "title")}


def test_rows_without_an_id_and_copies_all_count(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    nameless = {f"n{number}": {"id": None} for number in range(3)}
    rows: dict[str, dict[str, Any]] = {**nameless, "a": {"id": "same"}, "b": {"id": "same"}, "good": {}}
    counts = give(school, tmp_path, COURSES, rows)

    assert (counts.in_lms, counts.valid) == (6, 1)
    assert standing_counts(school, COURSES) == counts
    told = {(c.rule.code, c.rule.column): c.rows for c in rule_counts(school, rules_for(ChecksPolicy(), COURSES), 6)}
    assert (told["LMS-101", "source_id"], told["LMS-201", "source_id"]) == (3, 2)


def test_a_way_back_is_seen_behind_another_fault_and_warned_of_until_the_row_is_given_again(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    back = {"state": "not_started", "progress_pct": 0, "completed_at": None}
    strict = policy({"code": "LMS-211", "severity": "error"})
    give(school, tmp_path, COMPLETIONS, {"k": {}}, strict)
    give(school, tmp_path, COMPLETIONS, {"k": {"state": "lost", "completed_at": None}}, strict)
    assert found(school) == {("k", "LMS-105", "state")}
    give(school, tmp_path, COMPLETIONS, {"k": back}, strict)
    assert found(school) == {("k", "LMS-211", "state")}

    give(school, tmp_path, COMPLETIONS, {"k": back})
    for _ in range(2):
        build_staging(school, rules_for(ChecksPolicy(), COMPLETIONS), adapter="changes", timezone="UTC", now=NOW)
        assert found(school, "warnings") == {("k", "LMS-211", "state")}
    give(school, tmp_path, COMPLETIONS, {"k": back}, at=NOW + timedelta(days=1))
    assert found(school, "warnings") == set()


def test_nobody_is_warned_of_a_row_that_is_refused(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    counts = give(school, tmp_path, COMPLETIONS, {"k": {"progress_pct": 50, "completed_at": "1970-01-01T00:00:00Z"}})

    assert (found(school), found(school, "warnings")) == (
        {("k", "LMS-110", "completed_at"), ("k", "LMS-206", "completed_at")},
        set(),
    )
    assert (counts.valid, counts.warned) == (0, 0)


def test_a_rule_that_was_changed_since_counts_as_it_was(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    give(school, tmp_path, COMPLETIONS, {"k": {"progress_pct": 50}})

    off = rules_for(policy({"code": "LMS-208", "severity": "off"}), COMPLETIONS)
    [count] = [each for each in rule_counts(school, off, 1) if each.rows]
    assert (count.rule.code, count.is_refusing) == ("LMS-208", False)


def test_what_can_not_be_read_has_a_share_too(school: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    strict = policy({"code": "LMS-102", "entity": "completions", "max_share": 0.1})
    counts = give(school, tmp_path, COMPLETIONS, {"k": {"progress_pct": "half"}}, strict)

    [count] = [each for each in rule_counts(school, rules_for(strict, COMPLETIONS), counts.in_lms) if each.rows]
    assert (count.rule.code, count.rule.column, count.is_too_much) == ("LMS-102", "progress_pct", True)


def test_each_day_keeps_how_many_rows_broke_a_rule_at_its_end(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    for hour, rows in (
        (1, {"a": {"email": "x"}, "b": {"email": "y"}}),
        (9, {"a": {"email": "x"}, "b": {}}),
        (30, {"b": {}}),
    ):
        give(school, tmp_path, LEARNERS, rows, at=NOW + timedelta(hours=hour))

    query = (
        "SELECT day::VARCHAR, code, severity, \"rows\" FROM staging.invalid_days WHERE entity = 'learners' ORDER BY ALL"
    )
    assert school.execute(query).fetchall() == [("2026-11-24", "LMS-104", "error", 1)]


def test_counts_tell_of_every_rule_and_samples_mask_what_they_are_told_to(
    school: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    rows = {"a": {"email": "ada.lovelace", "status": "gone"}, "b": {"email": "ada.lovelace"}, "c": {}}
    counts = give(school, tmp_path, LEARNERS, rows)
    rules = rules_for(ChecksPolicy.model_validate({"rules": [{"code": "LMS-104", "max_share": 0.5}]}), LEARNERS)

    told = {(c.rule.code, c.rule.column): c for c in rule_counts(school, rules, counts.in_lms)}
    assert {key: c.rows for key, c in told.items() if c.rows} == {("LMS-104", "email"): 2, ("LMS-105", "status"): 1}
    assert told["LMS-104", "email"].is_too_much
    assert ("LMS-202", "email") in told
    masked = failing_rows(school, LEARNERS, "LMS-1", {"email"}, 10)
    plain = failing_rows(school, LEARNERS, "LMS-1", (), 10)
    assert "lovelace" not in str(masked)
    assert {row["value"] for row in plain} == {"ada.lovelace", "gone"}
    assert failing_rows(school, LEARNERS, "LMS-2", (), 10) == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"code": "LMS-999", "severity": "warn"}, "is no rule that can be changed"),
        ({"code": "LMS-203", "severity": "warn"}, "can't be loosened"),
        ({"code": "LMS-101", "column": "learner_id", "severity": "off"}, "would be nobody's"),
        ({"code": "LMS-104", "limit": 3}, "has no limit"),
        ({"code": "LMS-104", "entity": "courses", "severity": "warn"}, "doesn't judge courses"),
        ({"code": "LMS-104", "column": "username", "severity": "warn"}, "doesn't judge 'username'"),
        ({"code": "LMS-104"}, "say what changes"),
        ({"code": "LMS-103", "limit": 300}, "between 1 and 255"),
        ({"code": "LMS-110", "limit": 20000}, "between 1 and 2100"),
        ({"code": "LMS-301", "limit": 10}, "only the severity"),
        ({"code": "LMS-302", "entity": "learners", "severity": "off"}, "only the severity"),
        ({"code": "LMS-307", "severity": "off"}, "is no rule that can be changed"),
    ],
)
def test_a_change_that_means_nothing_is_a_mistake(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        policy(rule)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"holds": "email"}, "has to be a condition"),
        ({"holds": "mail = 'x'"}, "no column of learners"),
        ({"holds": "email IN (SELECT 1)"}, "not allowed"),
        ({"column": "lower(email)"}, "the name of one canonical column"),
        ({"name": "Ours"}, "String should match"),
    ],
)
def test_an_own_rule_that_can_not_be_asked_is_a_mistake(changes: dict[str, str], said: str) -> None:
    rule = {"name": "ours", "entity": "learners", "column": "email", "holds": "email = 'x'", **changes}
    with pytest.raises(ValidationError, match=said):
        policy(own=[rule])


def test_every_rule_is_declared_has_a_code_and_a_way_to_be_found() -> None:
    across = {"LMS-101", "LMS-201", "LMS-202", "LMS-203", "LMS-204", "LMS-212"}

    assert set(CHECKED) == set(PREDICATES) | across
    assert [code.code for code in ROW_CODES] == [*CHECKED, "LMS-299"]
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert len({code.rule for code in CATALOGUE.values()}) == len(CATALOGUE)
