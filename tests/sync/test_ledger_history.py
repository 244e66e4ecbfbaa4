"""Time travel: what the ledger said at a moment, until the retention is over."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.domain import Action, CrmObject, FieldType, Outcome, OutcomeStatus
from lms_crm_assets.explain import _record
from lms_crm_assets.sync.journal import Entry, Journal, Sent, drop_older, fold
from lms_crm_assets.warehouse.connection import connect

CONTACT = ObjectSpec(
    CrmObject.CONTACT, "Contact", "Key", {"Name": FieldSpec('"username"', frozenset({"username"}), FieldType.TEXT)}, {}
)
START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        for day, (action, values) in enumerate(
            [
                (Action.CREATE, {"Name": "first"}),
                (Action.UPDATE, {"Name": "second"}),
                (Action.UPDATE, {"Name": "second"}),
                (Action.ARCHIVE, {}),
            ]
        ):
            file, operation = tmp_path / f"{day}.ndjson", "archive" if action is Action.ARCHIVE else "upsert"
            with Journal(file, f"run-{day}") as journal:
                outcome = Outcome("1", OutcomeStatus.SUCCEEDED, "crm-1")
                journal.note(
                    "batch", [Entry(outcome, Sent(operation, action, values, {}))], START + timedelta(days=day)
                )
            fold(found, CONTACT, file)
        yield found


def names(con: duckdb.DuckDBPyConnection, days: float) -> list[str]:
    applied = _record(con, CrmObject.CONTACT, "1", START + timedelta(days=days))["applied"]
    return [row["values"]["Name"] for row in applied]


def test_the_ledger_is_told_as_it_was(con: duckdb.DuckDBPyConnection) -> None:
    assert [names(con, days) for days in (-1, 0, 0.5, 1, 2.5, 3, 9)] == [
        [],
        ["first"],
        ["first"],
        ["second"],
        ["second"],
        [],
        [],
    ]


def test_links_that_were_taken_away_leave_one_row_a_record(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    values = {"Name": "third"}
    con.execute("DELETE FROM sync.ledger")
    done = Outcome("1", OutcomeStatus.SUCCEEDED, "crm-1")
    for number in range(3):  # each run finds two wrong links of a record that it did not make
        with Journal(tmp_path / "unlink.ndjson", f"run-{number}") as journal:
            taken = [Entry(done, Sent("unlink course", Action.UPDATE, {}, {}))] * 2
            journal.note("batch", taken, START + timedelta(days=9 + number))
        fold(con, CONTACT, tmp_path / "unlink.ndjson")
        with Journal(tmp_path / "upsert.ndjson", f"run-{number}") as journal:
            sent = [Entry(done, Sent("upsert", Action.UPDATE, values, {}))] * 2
            journal.note("batch", sent, START + timedelta(days=9.5 + number))
        fold(con, CONTACT, tmp_path / "upsert.ndjson")

    rows = con.execute("SELECT external_id, crm_id, applied->>'Name' FROM sync.ledger").fetchall()
    assert rows == [("1", "crm-1", "third")]
    assert con.execute("SELECT external_id, Name FROM crm_snapshot.contact").fetchall() == [("1", "third")]


def test_a_records_own_row_is_told_unless_it_was_seen_later(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "CREATE TABLE raw_lms.enrollments (source_id VARCHAR, payload JSON, is_deleted BOOLEAN, observed_at TIMESTAMPTZ)"
    )
    con.execute("INSERT INTO raw_lms.enrollments VALUES ('e1', '{\"role\": \"student\"}', false, $1)", [START])

    seen, before, unknown = (
        _record(con, CrmObject.ENROLLMENT, key, START + timedelta(days=days))["raw"]
        for key, days in (("e1", 1), ("e1", -1), ("e2", 1))
    )

    assert (seen["payload"], before["payload"], unknown) == ({"role": "student"}, None, None)


def test_former_states_are_kept_for_the_retention(con: duckdb.DuckDBPyConnection) -> None:
    drop_older(con, START + timedelta(days=2))

    assert [names(con, days) for days in (0.5, 2.5)] == [[], ["second"]]
    sent = _record(con, CrmObject.CONTACT, "1", START + timedelta(days=9))["sent"]
    assert [row["run"] for row in sent] == ["run-2", "run-3"]
