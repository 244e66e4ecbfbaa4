"""A killed run's journal that is found late says nothing about what was read of the CRM after it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.domain import Action, CrmObject, FieldType, Outcome, OutcomeStatus
from lms_crm_assets.errors import FatalError
from lms_crm_assets.snapshot.capture import known_until, land_records, load_snapshot, merge_changes
from lms_crm_assets.sync.journal import Entry, Journal, Sent, fold
from lms_crm_assets.warehouse.connection import connect

CONTACT = ObjectSpec(
    CrmObject.CONTACT, "contacts", "key", {"Name": FieldSpec("given_name", frozenset(), FieldType.TEXT)}, {}
)
NIGHT = datetime(2026, 11, 24, 2, tzinfo=UTC)


def landed(file: Path, *records: tuple[str, str, str]) -> Path:
    land_records([[CrmRecord(key, crm_id, {"Name": name}) for key, crm_id, name in records]], file)
    return file


def held(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return con.execute("SELECT external_id, crm_id, Name FROM crm_snapshot.contact ORDER BY ALL").fetchall()


def journal(folder: Path, at: datetime) -> Path:
    file = folder / "contact.run.upsert.ndjson"
    with Journal(file, "run") as lines:
        outcome = Outcome("1", OutcomeStatus.SUCCEEDED, "crm-1")
        lines.note("upsert-0", [Entry(outcome, Sent("upsert", Action.UPDATE, {"Name": "ours"}, {}))], at)
    return file


@pytest.mark.parametrize(("hours", "expected"), [(8, "a person's"), (9, "ours")])
def test_the_newer_one_counts(tmp_path: Path, hours: int, expected: str) -> None:
    with connect(tmp_path / "t.duckdb") as con:
        load_snapshot(con, CONTACT, landed(tmp_path / "full", ("1", "crm-1", "old")), NIGHT)
        file = journal(tmp_path, NIGHT + timedelta(hours=hours))
        read_at = NIGHT + timedelta(hours=8, minutes=5)
        merge_changes(con, CONTACT, landed(tmp_path / "changes", ("1", "crm-1", "a person's")), read_at)
        fold(con, CONTACT, file)

        assert held(con) == [("1", "crm-1", expected)]


def test_of_a_record_that_comes_twice_the_later_one_counts_and_a_changed_key_leaves_no_row(tmp_path: Path) -> None:
    with connect(tmp_path / "t.duckdb") as con:
        load_snapshot(con, CONTACT, landed(tmp_path / "full", ("1", "crm-1", "old"), ("2", "crm-2", "x")), NIGHT)
        changes = landed(tmp_path / "changes", ("1", "crm-1", "first"), ("9", "crm-2", "x"), ("1", "crm-1", "second"))

        assert merge_changes(con, CONTACT, changes, NIGHT + timedelta(hours=1)) == 2
        assert held(con) == [("1", "crm-1", "second"), ("9", "crm-2", "x")]
        # Clocks differ, and changes may be seen late: the next reading reaches back.
        assert known_until(con, CONTACT) == NIGHT + timedelta(minutes=55)


def test_two_records_of_one_key_are_refused_as_in_a_full_reading(tmp_path: Path) -> None:
    with connect(tmp_path / "t.duckdb") as con:
        load_snapshot(con, CONTACT, landed(tmp_path / "full", ("1", "crm-1", "old")), NIGHT)
        changes = landed(tmp_path / "changes", ("1", "crm-1", "a"), ("1", "crm-7", "b"))

        with pytest.raises(FatalError, match="several"):
            merge_changes(con, CONTACT, changes, NIGHT + timedelta(hours=1))
