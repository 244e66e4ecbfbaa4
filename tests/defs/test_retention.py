"""Old runs go with their events; what tells a tenant's state stays."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.defs.retention import purge_runs, retention
from lms_crm_assets.defs.run_history import RunHistory
from tests.defs.test_fleet import CONTRACT, ran

DAY = 86_400.0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "dagster"
    config = home / "history" / "runs"
    config.mkdir(parents=True)
    overrides = {
        "event_log_storage": {
            "module": "lms_crm_assets.defs.event_log",
            "class": "PooledSqliteEventLogStorage",
            "config": {"base_dir": str(config)},
        }
    }
    with dg.DagsterInstance.local_temp(str(home), overrides=overrides) as found:
        yield found


def test_old_runs_go_and_those_that_tell_a_tenant_s_state_stay(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    now = time.time()
    contract = parse_contract(CONTRACT.format(tenant="acme", minutes=60), Path("acme.yaml"), {})
    for _ in range(3):
        ran(instance, "acme", "sync_events", now - 40 * DAY)
    ran(instance, "acme", "full_reconcile", now - 41 * DAY)
    ran(instance, "acme", "full_reconcile", now - 40 * DAY, checks={"approved": True, "delivered": True})
    ran(instance, "acme", "full_reconcile", now - 39 * DAY, checks={"delivered": False})
    ran(instance, "gone", "full_reconcile", now - 40 * DAY)
    telling = RunHistory(instance).telling_runs("acme")
    # The newest full run, the newest that was taken, and the newest run of events.
    assert len(telling) == 3
    files = tmp_path / "dagster" / "history" / "runs"
    assert len(list(files.glob("*-*.db"))) == 7
    # Runs are made now, so the day is moved instead.
    in_a_month = datetime.fromtimestamp(now + 31 * DAY, UTC)

    assert purge_runs(instance, {"acme": contract}, datetime.fromtimestamp(now + 29 * DAY, UTC)) == (0, False)
    assert purge_runs(instance, {"acme": contract}, in_a_month, most=2) == (2, True)
    assert purge_runs(instance, {"acme": contract}, in_a_month) == (2, False)

    assert {run.run_id for run in instance.get_runs()} == telling
    assert {file.stem for file in files.glob("*-*.db")} == telling
    assert RunHistory(instance).telling_runs("acme") == telling


def test_a_tenant_that_can_not_be_purged_is_named_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LMS_CRM_STORE_URL", raising=False)
    folder = tmp_path / "tenants"
    folder.mkdir()
    (folder / "acme.yaml").write_text(CONTRACT.format(tenant="acme", minutes=60), encoding="utf-8")
    (folder / "broken.yaml").write_text("tenant: [", encoding="utf-8")
    state = tmp_path / "state"
    left = state / "landing" / "acme" / "full" / "learners.ndjson"
    left.parent.mkdir(parents=True)
    left.write_text("{}", encoding="utf-8")
    monkeypatch.setattr("lms_crm_assets.privacy.retention._FILES_SECONDS", -1.0)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [retention],
            instance=instance,
            resources={
                "tenants": TenantsResource(tenants_dir=str(folder), state_dir=str(state)),
                "warehouse": WarehouseResource(database="", state_dir=str(state)),
            },
        )

    [check] = result.get_asset_check_evaluations()
    assert (check.passed, "broken:" in str(check.description)) == (False, True)
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["things_deleted"].value == 1
    assert not left.exists()
