"""What is refused, and how a tenant does, over real HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.standing import crm_standing
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.ops.breaker import FAILING_CALLS, Breaker
from lms_crm_assets.ops.inbox import Delivery, Side
from lms_crm_assets.ops.modes import Mode, Modes, Sample
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.receiver.connector_server import LEARNER, Api, running_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def _refuse(con: duckdb.DuckDBPyConnection, key: str, attempts: int) -> None:
    con.execute(
        "INSERT INTO sync.rejections VALUES ('contact', $1, 'upsert', 'INVALID_EMAIL', 'ada@example.org is bad', 'p', $2,"
        " now(), now(), now())",
        [key, attempts],
    )


def _warehouse(api: Api) -> Path:
    found = locate(api.settings, "acme")
    assert isinstance(found, Path)
    return found


def _all(api: Api, since: str | None = None, limit: int = 1) -> tuple[list[dict[str, Any]], str]:
    found: list[dict[str, Any]] = []
    while True:
        after: dict[str, Any] = {"since": since} if since else {}
        page = api.get("rejections", limit=limit, **after).raise_for_status().json()
        found += page["rejections"]
        since = page["next"]
        if not page["more"]:
            return found, since


def test_both_sides_are_listed_with_codes_and_without_learner_data(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER, "email": "secret no address", "status": "odd"}])
    with connect(_warehouse(api)) as con:
        _refuse(con, "2", 5)
    api.copy_at_once()
    found, since = _all(api)
    assert [(each["side"], each["kind"], each["id"], each["code"], each["dead_letter"]) for each in found] == [
        ("lms", "learners", "1", "LMS-104", False),
        ("lms", "learners", "1", "LMS-105", False),
        ("crm", "contact", "2", "INVALID_EMAIL", True),
    ]
    assert found[0]["remedy"] == "Correct the address in the LMS."
    assert (found[0]["column"], found[2]["operation"], found[2]["attempts"]) == ("email", "upsert", 5)
    assert [each["catalogue_code"] for each in found] == ["LMS-104", "LMS-105", "LMS-401"]
    assert found[2]["remedy"].startswith("Read the CRM's message")
    answer = api.get("rejections")
    assert "secret" not in answer.text
    assert "example.org" not in answer.text
    assert api.get("rejections", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert _all(api, since) == ([], since)


def test_since_gives_what_became_known_after_it(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER, "email": "bad"}])
    _, since = _all(api)
    api.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER, "email": "bad"}, {"id": "2", **LEARNER, "email": "bad too"}])
    found, since = _all(api, since)
    assert [each["id"] for each in found] == ["2"]
    with connect(_warehouse(api)) as con:
        _refuse(con, "3", 1)
    api.copy_at_once()
    assert [each["id"] for each in _all(api, since)[0]] == ["3"]


def test_what_the_crm_s_schema_refuses_is_told_and_what_only_lacks_a_field_is_not(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER, "email": "bad"}])
    with connect(_warehouse(api)) as con:
        con.execute(
            "INSERT INTO delta.refused BY NAME SELECT 'contact' AS object, unnest(['1', '1', '2']) AS external_id,"
            " unnest(['LMS-301', 'LMS-302', 'LMS-306']) AS code, unnest(['error', 'error', 'warn']) AS severity,"
            " unnest(['city', 'state', 'age']) AS field, 'secret' AS value, now() AS first_seen_at,"
            " now() AS last_seen_at, 2 AS attempts"
        )
        _refuse(con, "1", 5)
    api.copy_at_once()
    found, since = _all(api)
    assert [(each["side"], each["operation"], each["catalogue_code"], each["column"]) for each in found] == [
        ("lms", None, "LMS-104", "email"),
        ("crm", "check", "LMS-301", "city"),
        ("crm", "check", "LMS-302", "state"),
        ("crm", "upsert", "LMS-401", None),
    ]
    assert (found[1]["rule"], found[1]["attempts"], found[1]["dead_letter"]) == ("crm_length", 2, False)
    assert found[1]["remedy"].startswith("Lengthen the field in the CRM")
    assert "secret" not in api.get("rejections").text
    assert _all(api, since) == ([], since)


def test_two_own_rules_on_one_column_are_two_lines_with_the_contract_s_remedy(api: Api) -> None:
    file = api.settings.tenants_dir / "acme.yaml"
    own = """
checks:
  own:
    - {name: known_school, entity: learners, column: organization, holds: "organization = 'A'", remedy: Move them.}
    - {name: long_school, entity: learners, column: organization, holds: "LENGTH(organization) > 9"}
"""
    file.write_text(file.read_text(encoding="utf-8") + own, encoding="utf-8")
    policy = load_contract(api.settings.tenants_dir, "acme").checks
    api.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER, "organization": "B"}], policy)
    found, _ = _all(api)
    assert [(each["code"], each["rule"], each["remedy"]) for each in found] == [
        ("LMS-299", "known_school", "Move them."),
        ("LMS-299", "long_school", "What the contract says under `checks.own`, or else mend the row in the LMS."),
    ]


def test_a_warehouse_of_an_older_version_is_read_as_it_is(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER, "email": "bad"}])
    with connect(_warehouse(api)) as con:
        _refuse(con, "2", 5)
        con.execute("DROP TABLE delta.refused; ALTER TABLE sync.rejections DROP COLUMN noted_at")
        con.execute('ALTER TABLE staging.quarantine DROP COLUMN "row"')
        for column in ("observed_at", "attempts"):
            con.execute(f"ALTER TABLE staging.quarantine DROP COLUMN {column}")
    api.copy_at_once()
    assert [(each["code"], each["attempts"]) for each in _all(api)[0]] == [("LMS-104", None), ("INVALID_EMAIL", 5)]


def _plan(
    con: duckdb.DuckDBPyConnection, plan_id: str, age: timedelta, sent: list[str], status: str = "approved"
) -> None:
    at = datetime.now(UTC) - age
    con.execute(
        "INSERT INTO delta.plans (plan_id, sync_run_id, status, created_at, approved_at, forecast, breaches, sent, lane)"
        " VALUES ($1, $1, $2, $3, $4, '{}', [], $5, 'full')",
        [plan_id, status, at, at if status == "approved" else None, sent],
    )


def test_status_tells_lag_depth_breaker_quota_and_runs(api: Api) -> None:
    contract = load_contract(api.settings.tenants_dir, "acme")
    everything = [str(obj) for obj in contract.in_order()]
    with connect(_warehouse(api)) as con:
        con.execute("INSERT INTO staging.feed VALUES ('feed')")
        _plan(con, "good", timedelta(hours=2), everything)
        _plan(con, "rejected", timedelta(hours=1), everything)
        _plan(con, "half", timedelta(minutes=30), everything[:1])
        _plan(con, "waiting", timedelta(minutes=10), [], "waiting")
        con.execute(
            "INSERT INTO sync.outcomes (object, external_id, status, sync_run_id, synced_at) VALUES"
            " ('contact', '1', 'succeeded', 'good', $1), ('contact', '1', 'rejected', 'rejected', $2)",
            [datetime.now(UTC) - timedelta(minutes=minutes) for minutes in (119, 59)],
        )
        _refuse(con, "1", 5)
        _refuse(con, "2", 1)
    breaker = Breaker(api.connector.store, contract.destination.url)
    for _ in range(FAILING_CALLS):
        breaker.failed()
    adapter = crm_adapter(contract, api.connector.store)
    adapter.client._gate.quota.told(70, 100)  # type: ignore[attr-defined]
    adapter.close()
    api.inbox.add([Delivery("acme", Side.LMS, "d", "application/json", b"{}")])
    body = api.get("status").raise_for_status().json()
    assert (body["mode"], body["promised_seconds"]) == (contract.mode, contract.sla.freshness_minutes * 60)
    assert body["lag_seconds"] == pytest.approx(7200, abs=120)
    assert [run["plan_id"] for run in body["runs"]] == ["waiting", "half", "rejected", "good"]
    assert [(run["succeeded"], run["rejected"]) for run in body["runs"]] == [(0, 0), (0, 0), (0, 1), (1, 0)]
    assert (body["switched_why"], body["switched_since"]) == (None, None)
    assert body["inbox"]["pending"] == 1
    assert body["inbox"]["oldest_age_seconds"] < 60
    assert (body["crm"]["breaker"], body["crm"]["dead_letters"], body["crm"]["rejected"]) == ("open", 1, 2)
    assert body["crm"]["quota"] == {"used": 70, "allowed": 100, "runs_may_use": contract.guardrails.quota_share}

    flood = Sample(depth=contract.backpressure.depth + 1, oldest_seconds=0)
    Modes(api.connector.store).look("acme", Mode.PUSH, flood, contract.backpressure)
    after = api.get("status").raise_for_status().json()
    assert (after["mode"], after["switched_why"]) == ("pull", f"{flood.depth:,} events wait")
    assert datetime.fromisoformat(after["switched_since"]) > datetime.now(UTC) - timedelta(minutes=5)


def test_looking_at_the_breaker_takes_no_probe(api: Api) -> None:
    contract = load_contract(api.settings.tenants_dir, "acme")
    assert not crm_standing(contract, api.connector.store).is_open
    breaker = Breaker(api.connector.store, contract.destination.url)
    for _ in range(FAILING_CALLS):
        breaker.failed()
    before = api.connector.store.read("SELECT probing_until FROM breakers")
    assert crm_standing(contract, api.connector.store).is_open
    assert api.connector.store.read("SELECT probing_until FROM breakers") == before
