"""A ledger from a backup is older than the CRM: what we wrote since is neither drift nor a conflict."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import orjson
import pytest

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.delta.restored import note_restored
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.snapshot.capture import load_snapshot
from lms_crm_assets.warehouse.connection import connect

NOW = datetime(2026, 11, 24, tzinfo=UTC)
COURSE = ObjectSpec(
    CrmObject.COURSE,
    "Course",
    "Key",
    {
        "Name": FieldSpec('"title"', frozenset({"title"}), FieldType.TEXT),
        "Code": FieldSpec('"code"', frozenset({"code"}), FieldType.TEXT),
    },
    {},
)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        found.execute(
            "CREATE TABLE staging.course (source_id VARCHAR, title VARCHAR, code VARCHAR, visible BOOLEAN, starts_at"
            " TIMESTAMPTZ, ends_at TIMESTAMPTZ, external_id VARCHAR, extra JSON, row_hash UBIGINT)"
        )
        yield found


def stage(con: duckdb.DuckDBPyConnection, **titles: str) -> None:
    con.execute("DELETE FROM staging.course")
    for key, title in titles.items():
        con.execute(
            "INSERT INTO staging.course (source_id, title, code, row_hash) VALUES ($1, $2, 'C', hash($2))", [key, title]
        )


def capture(con: duckdb.DuckDBPyConnection, folder: Path, **names: str) -> None:
    rows = [{"external_id": key, "crm_id": f"K{key}", "Name": name, "Code": "C"} for key, name in names.items()]
    file = folder / "snapshot.ndjson"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    load_snapshot(con, COURSE, file, NOW)


def write(con: duckdb.DuckDBPyConnection, **names: str) -> None:
    for key, name in names.items():
        con.execute(
            "INSERT INTO sync.ledger VALUES ('course', $1, 'K' || $1, $2, 'run', now())",
            [key, json.dumps({"Name": name})],
        )


def classes(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(con.execute("SELECT external_id, class FROM delta.course").fetchall())


def test_what_was_written_after_the_backup_is_ours(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    # Written as "old" before the backup, as "new" after it; since then the LMS went on, back, and stayed.
    write(con, on="old", back="old", same="old")
    capture(con, tmp_path, on="new", back="new", same="new")
    stage(con, on="newest", back="old", same="new")

    build_delta(con, COURSE)
    assert classes(con) == {"on": "conflict", "back": "drift"}  # as it would be misjudged

    note_restored(con)
    counts = build_delta(con, COURSE)

    assert classes(con) == {"on": "ours", "back": "ours"}
    assert (counts.update, counts.drift, counts.conflict) == (2, 0, 0)
    before = con.execute("SELECT external_id, applied->>'Name' FROM sync.ledger_history ORDER BY 1").fetchall()
    assert before == [("back", "old"), ("on", "old"), ("same", "old")]


def test_it_catches_up_once_and_edits_in_the_crm_are_drift_again(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write(con, a="old", b="old")
    capture(con, tmp_path, a="new", b="old")
    stage(con, a="new", b="old")
    note_restored(con)
    assert build_delta(con, COURSE).update == 0

    capture(con, tmp_path, a="by a person", b="by a person")
    build_delta(con, COURSE)

    assert classes(con) == {"a": "drift", "b": "drift"}


def test_a_record_that_the_ledger_does_not_know_stays_nobodys(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    write(con, gone="old")
    capture(con, tmp_path, new="new")
    stage(con)
    note_restored(con)

    counts = build_delta(con, COURSE)

    assert (counts.gone, counts.live) == (0, 1)
    assert con.execute("SELECT external_id, applied->>'Name' FROM sync.ledger").fetchall() == [("gone", "old")]
