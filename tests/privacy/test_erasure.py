"""One learner's rows go from every table; what is others' stays."""

import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import CredentialError, FatalError, SwitchedOffError
from lms_crm_assets.lms.landing import ensure_raw_table
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.ops.lanes import Lane, Place
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.suppression import NOBODY
from lms_crm_assets.ops.switches import Name, SwitchBoard
from lms_crm_assets.privacy.archiving import archive_records
from lms_crm_assets.privacy.erasure import WITHHELD, erase_rows
from lms_crm_assets.privacy.files import purge_set_aside
from lms_crm_assets.privacy.forgetting import Forgetting
from lms_crm_assets.privacy.person import find_person
from lms_crm_assets.privacy.retention import purge_tenant
from lms_crm_assets.settings import Settings
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import quoted
from tests.receiver_server import ENVIRON

CONTRACT = """\
version: 2
tenant: acme
source: {adapter: changes, url: "https://lms.example", token: env:LMS_TOKEN}
destination: {adapter: hubspot, access_token: env:CRM_TOKEN}
webhooks: {lms: [{verify: bearer, secrets: [env:HOOK_BEARER]}]}
objects:
  contact: {to: contacts, match_key: lms_user_id, fields: {email: email, lms_status: status}}
  enrollment: {to: p_e, match_key: lms_e, parents: {contact: default}, fields: {lms_role: role}}
"""
NOW = datetime(2026, 11, 27, tzinfo=UTC)

# Of these no row is anybody's.
NOT_OF_LEARNERS = {
    "raw_lms.cursors", "raw_lms.doubted", "raw_lms.courses", "discovery.crm_schema", "discovery.crm_baseline",
    "discovery.compared", "discovery.lms_shape", "discovery.lms_baseline", "staging.course", "staging.builds",
    "staging.broken", "staging.invalid_days", "staging.feed", "crm_snapshot.captures", "delta.mappings", "delta.counts",
    "delta.plans", "sync.runs",
    "sync.trials", "sync.restored",
}  # fmt: skip


@pytest.fixture
def contract() -> Contract:
    return parse_contract(CONTRACT, Path("acme.yaml"), {})


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Learners 7 and 8, each with an enrollment, in the tables of every layer."""
    file = tmp_path / "warehouse" / "acme.duckdb"
    with connect(file) as found:
        for entity in LmsEntity:
            ensure_raw_table(found, entity)
            columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in COLUMNS[entity].items())
            found.execute(
                f"CREATE TABLE staging.{entity.staging_table} (source_id VARCHAR, {columns}, row_hash UBIGINT)"
            )
        for table in ("contact", "enrollment"):
            found.execute(f"CREATE TABLE crm_snapshot.{table} (external_id VARCHAR, crm_id VARCHAR, email VARCHAR)")
            found.execute(f"CREATE TABLE delta.{table} (external_id VARCHAR, changes VARCHAR)")
            found.execute(f"CREATE TABLE delta.desired_{table} (external_id VARCHAR, contact_key VARCHAR)")
        for n, email in (("7", "jane@example.org"), ("8", "john@example.org")):
            _fill(found, n, email)
    return file


@pytest.fixture
def con(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(warehouse) as found:
        yield found


def _fill(con: duckdb.DuckDBPyConnection, n: str, email: str) -> None:
    learner, enrollment = f'{{"id": {n}, "email": "{email}"}}', f'{{"id": "e{n}", "learner_id": "{n}"}}'
    con.execute("INSERT INTO raw_lms.learners VALUES ($1, $2, false, now())", [n, learner])
    con.execute("INSERT INTO raw_lms.enrollments VALUES ($1, $2, false, now())", [f"e{n}", enrollment])
    con.execute("INSERT INTO staging.learner (source_id, email) VALUES ($1, $2)", [n, email])
    con.execute("INSERT INTO staging.enrollment (source_id, learner_id) VALUES ($1, $2)", [f"e{n}", n])
    for table in ("quarantine", "warnings"):
        con.execute(
            f"INSERT INTO staging.{table} (entity, source_id, \"row\") VALUES ('learners', $1, $2)", [n, learner]
        )
        con.execute(
            f"INSERT INTO staging.{table} (entity, source_id, \"row\") VALUES ('scores', $1, $2)",
            [f"s{n}", f'{{"learner_id": "{n}"}}'],
        )
    for number, (entity, key) in enumerate((("learners", n), ("enrollments", f"e{n}")), int(n) * 10):
        con.execute("INSERT INTO staging.changes VALUES ($1, $2, $3, 'upsert', 1, now())", [number, entity, key])
    for obj, key in (("contact", n), ("enrollment", f"e{n}")):
        con.execute(f"INSERT INTO crm_snapshot.{obj} VALUES ($1, $2, $3)", [key, f"crm{key}", email])
        con.execute(f"INSERT INTO delta.{obj} VALUES ($1, $2)", [key, email])
        con.execute(f"INSERT INTO delta.desired_{obj} VALUES ($1, $2)", [key, n])
        con.execute("INSERT INTO delta.refused (object, external_id, value) VALUES ($1, $2, $3)", [obj, key, email])
        con.execute("INSERT INTO delta.plan_rows (plan_id, object, external_id) VALUES ('p', $1, $2)", [obj, key])
        applied = f'{{"email": "{email}"}}'
        for table in ("ledger", "ledger_history"):
            con.execute(
                f"INSERT INTO sync.{table} (object, external_id, crm_id, applied) VALUES ($1, $2, $3, $4)",
                [obj, key, f"crm{key}", applied],
            )
        for table in ("unconverged", "unsent", "canaries"):
            con.execute(f"INSERT INTO sync.{table} (object, external_id) VALUES ($1, $2)", [obj, key])
        for table in ("outcomes", "rejections"):
            con.execute(f"INSERT INTO sync.{table} (object, external_id, message) VALUES ($1, $2, '')", [obj, key])


def _rows(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
    return {
        f"{schema}.{table}": [str(row) for row in con.execute(f"FROM {schema}.{quoted(table)}").fetchall()]
        for schema, table in tables
    }


def test_a_learner_s_rows_go_from_every_table_and_no_others(con: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    con.execute("UPDATE sync.outcomes SET message = 'Jane@Example.org has it' WHERE external_id = '8'")
    before = _rows(con)

    counts = erase_rows(con, find_person(con, contract, "JANE@example.org", NOBODY))

    after = _rows(con)
    assert [row for rows in after.values() for row in rows if "jane" in row.lower()] == []
    halved = {name for name, rows in before.items() if rows and len(after[name]) == len(rows) / 2}
    # A table that is in none of the three sets is new: say of it whether it holds anything of learners.
    empty = {name for name, rows in before.items() if not rows} - NOT_OF_LEARNERS
    assert empty == {"raw_lms.completions", "raw_lms.scores", "raw_lms.competencies"} | {
        "staging.completion",
        "staging.score",
        "staging.learner_competency",
    }
    assert halved == before.keys() - empty - NOT_OF_LEARNERS - {"staging.changes"}
    assert {name.replace('"', "") for name in counts} == halved | {"staging.changes", "sync.outcomes (messages)"}
    assert con.execute("SELECT message FROM sync.outcomes WHERE external_id = '8'").fetchall() == [(WITHHELD,)]
    told = con.execute("SELECT source_id, op FROM staging.changes ORDER BY changed_no").fetchall()
    assert told == [("8", "upsert"), ("e8", "upsert"), ("7", "delete"), ("e7", "delete")]


def test_who_fits_nobody_or_several_is_not_forgotten(con: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    con.execute("UPDATE staging.learner SET email = 'both@example.org'")

    with pytest.raises(FatalError, match="several learners fit: 7, 8"):
        find_person(con, contract, "both@example.org", NOBODY)
    with pytest.raises(FatalError, match="nothing is known of a learner"):
        find_person(con, contract, "nobody", NOBODY)
    assert find_person(con, contract, "7", NOBODY).keys[LmsEntity.ENROLLMENTS] == {"e7"}


def test_records_of_which_the_lms_knows_nothing_more_are_found_by_their_link(
    con: duckdb.DuckDBPyConnection, contract: Contract
) -> None:
    for table in ("raw_lms.enrollments", "staging.enrollment", "delta.desired_enrollment"):
        con.execute(f"DELETE FROM {table} WHERE {'external_id' if 'delta' in table else 'source_id'} = 'e7'")
    # Somebody linked another's record to them, too.
    con.execute("ALTER TABLE crm_snapshot.enrollment ADD COLUMN parent_contact VARCHAR DEFAULT 'crm7'")

    person = find_person(con, contract, "7", NOBODY)

    assert person.keys[LmsEntity.ENROLLMENTS] == {"e7"}


def test_no_object_is_archived_that_a_switch_leaves_alone(
    warehouse: Path, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_TOKEN", "none")
    SwitchBoard(OperationalStore.at(tmp_path)).set("acme", {Name.ONLY: "contact"}, "cli:ann", "")
    with connect(warehouse) as con:
        person = find_person(con, contract, "7", NOBODY)

    with pytest.raises(SwitchedOffError, match="enrollment can't be archived"):
        archive_records(warehouse, tmp_path, contract, person, run_id="r", now=NOW)


def test_a_second_attempt_finds_what_the_first_one_did_not_come_to(
    warehouse: Path, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = ENVIRON["LMS_CRM_KEY"], base64.b64encode(bytes(32)).decode()

    def deliver(name: str, body: bytes) -> None:
        Inbox.at(tmp_path).add([Delivery("acme", Side.LMS, name, "application/json", body)])

    monkeypatch.setenv("LMS_CRM_KEY", other)
    deliver("under a key that is missing", b"{}")
    monkeypatch.setenv("LMS_CRM_KEY", key)
    deliver("of them", b'{"user": {"email": "Jane@example.org"}}')
    forgetting = Forgetting(Settings(tmp_path, tmp_path), contract, "dpo", NOW)
    with pytest.raises(CredentialError, match="put the former key"):
        forgetting.forget("7")

    monkeypatch.setenv("LMS_CRM_KEY", f"{key} {other}")
    receipt, _ = forgetting.forget("7")

    assert [event.delivery_id for event in Inbox.at(tmp_path).find("acme")] == ["under a key that is missing"]
    assert receipt.deliveries == 1
    with connect(warehouse) as con:
        assert "jane@example.org" not in str(_rows(con)).lower()


def test_states_that_were_set_aside_go_as_well(tmp_path: Path) -> None:
    for name, at in (("old", 1_000.0), ("new", 3_000.0)):
        (tmp_path / "set-aside" / name / "warehouse").mkdir(parents=True)
        os.utime(tmp_path / "set-aside" / name, (at, at))

    for dry_run in (True, False):
        assert purge_set_aside(tmp_path, 2_000.0, dry_run=dry_run) == 1
        left = sorted(each.name for each in (tmp_path / "set-aside").iterdir())
        assert left == (["new", "old"] if dry_run else ["new"])


def test_what_was_kept_for_long_enough_goes(
    warehouse: Path, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_CRM_KEY", ENVIRON["LMS_CRM_KEY"])
    settings = Settings(tmp_path, tmp_path)
    inbox = Inbox.at(tmp_path)
    inbox.add([Delivery("acme", Side.LMS, each, "application/json", b"{}") for each in ("done", "pending")])
    inbox.done([event.number for event in inbox.find("acme", ids=["done"])])
    long_ago = NOW - timedelta(days=31)
    with connect(warehouse) as con:
        con.execute("UPDATE raw_lms.learners SET is_deleted = true, observed_at = $1 WHERE source_id = '7'", [long_ago])
        con.execute("INSERT INTO delta.plans (plan_id, created_at) VALUES ('p', $1), ('new', $2)", [long_ago, NOW])
        con.execute("UPDATE sync.outcomes SET synced_at = $1 WHERE external_id = '7'", [long_ago])
        con.execute("INSERT INTO staging.invalid_days (day) VALUES ('2020-01-01'), ('2026-11-20')")
    left = tmp_path / "landing" / "acme" / "full" / "pull" / "learners.ndjson"
    left.parent.mkdir(parents=True)
    left.write_text("{}", encoding="utf-8")
    later = NOW + timedelta(days=3650)
    monkeypatch.setattr("lms_crm_assets.privacy.retention.time.time", later.timestamp)

    for dry_run in (True, False):
        counts = purge_tenant(settings, contract, NOW, dry_run=dry_run)
        assert {what: number for what, number in counts.items() if number} == {
            "rows of delta.plans": 1,
            "rows of delta.plan_rows": 4,
            "rows of sync.outcomes": 1,
            "rows of staging.invalid_days": 1,
            "deleted rows of raw_lms.learners": 1,
            "files of landing": 1,
        }
        assert left.exists() is dry_run

    with connect(warehouse) as con:
        assert con.execute("SELECT source_id FROM raw_lms.learners").fetchall() == [("8",)]
        assert con.execute("SELECT plan_id FROM delta.plans").fetchall() == [("new",)]
    assert [event.delivery_id for event in inbox.find("acme")] == ["done", "pending"]
    assert inbox.purge_of("acme", later.timestamp()) == 1
    assert [event.delivery_id for event in inbox.find("acme")] == ["pending"]

    # What a run has that is at work is not touched.
    left.write_text("{}", encoding="utf-8")
    place = Place(tmp_path / "locks" / "acme", "acme", Lane.FULL)
    assert "files of landing" not in purge_tenant(settings, contract, NOW)
    place.close()
