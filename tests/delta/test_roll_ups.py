"""Roll-ups: what a learner did, as columns of the contact; only contracts that name them pay for them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import orjson
import pytest

from lms_crm_assets.contract.canonical import ROLL_UPS
from lms_crm_assets.contract.models import FieldMapping
from lms_crm_assets.contract.spec import ObjectSpec, field_spec
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.delta.desired import desired_rows, refresh_desired
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.snapshot.capture import load_snapshot
from lms_crm_assets.warehouse.connection import connect
from tests.chaos.school import stage

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CONTACT = ObjectSpec(
    CrmObject.CONTACT,
    "contacts",
    "lms_user_id",
    {name: field_spec(CrmObject.CONTACT, FieldMapping.model_validate({"from": name})) for name in ROLL_UPS},
    {},
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Three learners, each with an enrollment, a completion under way and a proficient competency."""
    found = tmp_path / "tenant.duckdb"
    stage(found, 3, 0)
    return found


def rolled_up(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str | None]]:
    rows = con.execute(desired_rows(CONTACT, "SELECT source_id FROM staging.learner"))
    names = [column[0] for column in rows.description]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows.fetchall()}


def test_enrollments_completions_and_competencies_are_counted(warehouse: Path) -> None:
    with connect(warehouse) as con:
        con.execute(
            "UPDATE staging.completion SET state = 'completed', completed_at = '2026-03-01 10:00:00+00',"
            " row_hash = row_hash + 1 WHERE source_id = 'K1'"
        )
        con.execute("UPDATE staging.enrollment SET status = 'withdrawn', row_hash = 1 WHERE source_id = 'E2'")
        con.execute("DELETE FROM staging.learner_competency WHERE source_id = 'P2'")
        found = rolled_up(con)

    assert found["L1"] == {
        "courses_enrolled": "1.00000",
        "courses_in_progress": "0.00000",
        "courses_completed": "1.00000",
        "last_enrolled_at": "2026-01-02T08:00:00Z",
        "last_completed_at": "2026-03-01T10:00:00Z",
        "last_completed_course": "Course 1 of 0",
        "competencies_proficient": "1.00000",
    }
    assert (found["L2"]["courses_enrolled"], found["L2"]["courses_in_progress"]) == ("0.00000", "1.00000")
    assert (found["L2"]["competencies_proficient"], found["L2"]["last_completed_at"]) == ("0.00000", None)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE staging.completion SET state = 'completed', row_hash = 1 WHERE source_id = 'K1'",
        "DELETE FROM staging.enrollment WHERE source_id = 'E1'",
        "INSERT INTO staging.enrollment SELECT * REPLACE ('E9' AS source_id, 'C5' AS course_id) FROM staging.enrollment LIMIT 1 OFFSET 1",
    ],
)
def test_a_change_of_a_child_is_a_change_of_the_contact_alone(warehouse: Path, change: str) -> None:
    def fingerprints(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
        refresh_desired(con, CONTACT)
        return dict(con.execute("SELECT external_id, fingerprint FROM delta.desired_contact").fetchall())

    with connect(warehouse) as con:
        before = fingerprints(con)
        con.execute(change)
        after = fingerprints(con)

    assert {key for key in before if before[key] != after[key]} == {"L1"}


@pytest.mark.parametrize("was_valid", [True, False])
def test_a_row_that_turned_invalid_takes_nothing_from_the_crm(
    warehouse: Path, tmp_path: Path, *, was_valid: bool
) -> None:
    """Of a row that never was valid nothing is missing, and the number is what it is."""
    held = {"external_id": "L1", "crm_id": "C1", "courses_enrolled": "1", "courses_completed": "1"}
    named = replace(CONTACT, fields={name: CONTACT.fields[name] for name in ("courses_enrolled", "courses_completed")})
    snapshot = tmp_path / "snapshot.ndjson"
    snapshot.write_bytes(orjson.dumps(held) + b"\n")
    with connect(warehouse) as con:
        load_snapshot(con, named, snapshot, NOW)
        con.execute("DELETE FROM staging.completion WHERE source_id = 'K1'")
        con.execute(
            "INSERT INTO staging.quarantine (entity, source_id, code, \"row\") VALUES ('completions', 'K1', 'LMS-110',"
            ' \'{"learner_id": "L1", "course_id": "C1"}\')'
        )
        if was_valid:
            con.execute("INSERT INTO staging.changes (entity, source_id, op) VALUES ('completions', 'K1', 'refused')")

        build_delta(con, named)

        query = "SELECT action, list_transform(changes, lambda c: (c.field, c.written)) FROM delta.contact WHERE external_id = 'L1'"
        [(action, changes)] = con.execute(query).fetchall()
        told = con.execute("SELECT external_id, code, severity, field FROM delta.refused").fetchall()
    assert (action, changes) == ("unchanged" if was_valid else "update", [("courses_completed", not was_valid)])
    assert told == ([("L1", "LMS-308", "warn", "courses_completed")] if was_valid else [])


@pytest.mark.parametrize("was_valid", [True, False])
def test_a_score_that_turned_invalid_does_not_empty_the_completions(
    warehouse: Path, tmp_path: Path, *, was_valid: bool
) -> None:
    mapping = FieldMapping.model_validate({"from": "score", "owner": "enforce"})
    spec = ObjectSpec(
        CrmObject.COMPLETION, "Completion", "Key", {"Score": field_spec(CrmObject.COMPLETION, mapping)}, {}
    )
    snapshot = tmp_path / "snapshot.ndjson"
    snapshot.write_bytes(
        b"".join(orjson.dumps({"external_id": f"K{n}", "crm_id": f"c{n}", "Score": "5"}) + b"\n" for n in range(3))
    )
    with connect(warehouse) as con:
        load_snapshot(con, spec, snapshot, NOW)
        con.execute("DELETE FROM staging.score")
        [(learner, course)] = con.execute(
            "SELECT learner_id, course_id FROM staging.completion WHERE source_id = 'K1'"
        ).fetchall()
        con.execute(
            "INSERT INTO staging.quarantine (entity, source_id, code, \"row\") VALUES ('scores', 's', 'LMS-205', $1)",
            [orjson.dumps({"source_id": "s", "learner_id": learner, "course_id": course, "raw": "101"}).decode()],
        )
        if was_valid:
            con.execute("INSERT INTO staging.changes (entity, source_id, op) VALUES ('scores', 's', 'refused')")

        build_delta(con, spec)

        actions = dict(con.execute("SELECT external_id, action FROM delta.completion").fetchall())
    assert actions == {"K0": "update", "K1": "unchanged" if was_valid else "update", "K2": "update"}


def test_a_contract_without_roll_ups_needs_no_children(warehouse: Path) -> None:
    plain = replace(
        CONTACT, fields={"name": field_spec(CrmObject.CONTACT, FieldMapping.model_validate({"from": "given_name"}))}
    )
    with connect(warehouse) as con:
        con.execute("DROP TABLE staging.enrollment")
        con.execute(
            "CREATE TABLE crm_snapshot.contact (external_id VARCHAR, crm_id VARCHAR, name VARCHAR,"
            " captured_at TIMESTAMPTZ, fingerprint UBIGINT)"
        )

        assert build_delta(con, plain).create == 3
