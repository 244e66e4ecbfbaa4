"""When tenants run: by their own contracts, each time once, and a missed time is made up for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from lms_crm_assets.definitions import defs
from lms_crm_assets.defs.automation import full_reconciles, incremental_pulls, tenants_folder
from lms_crm_assets.defs.edge import TENANTS as PARTITIONS
from lms_crm_assets.defs.edge import key
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.started import DUE_TAG, SCHEDULE_TAG, STARTED_TAG, is_by_hand, started_by
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.metrics import Tally, figures
from lms_crm_assets.ops.switches import Name, SwitchBoard

CONTRACT = """\
version: 2
tenant: {tenant}
source: {{adapter: changes, url: "https://lms.example", token: env:LMS_TOKEN}}
destination: {{adapter: hubspot, access_token: env:CRM_TOKEN}}
schedules: {{full: "{full}", incremental: "*/20 * * * *"}}
objects: {{contact: {{to: contacts, match_key: lms_user_id, fields: {{email: email}}}}}}
"""
DAY = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as found:
        found.add_dynamic_partitions(str(PARTITIONS.name), ["early", "late", "as_late", "broken"])
        yield found


@pytest.fixture
def tenants(tmp_path: Path) -> TenantsResource:
    for tenant, full in (
        ("early", "30 1 * * *"),
        ("late", "0 23 * * *"),
        ("as_late", "0 23 * * *"),
        ("unseen", "30 1 * * *"),
    ):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, full=full), encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("tenant: [", encoding="utf-8")
    return TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))


def due(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, tenants: TenantsResource, at: datetime
) -> list[dg.RunRequest]:
    with dg.build_schedule_context(
        instance, at, repository_def=defs.get_repository_def(), resources={"tenants": tenants}
    ) as context:
        return list(schedule.evaluate_tick(context).run_requests or [])


def started(
    instance: dg.DagsterInstance,
    requests: list[dg.RunRequest],
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS,
) -> None:
    """What the daemon does with the requests."""
    for request in requests:
        job = {"full": "full_reconcile", "incremental": "incremental_pull"}[request.tags[SCHEDULE_TAG]]
        instance.create_run_for_job(
            dg.job(name=job)(lambda: None),
            status=status,
            tags={**request.tags, "dagster/partition": str(request.partition_key)},
        )


def test_each_tenant_runs_at_its_own_time_and_once(instance: dg.DagsterInstance, tenants: TenantsResource) -> None:
    ran = []
    for minute in (*range(85, 125), *range(1375, 1385)):
        at = DAY + timedelta(minutes=minute)
        requests = due(full_reconciles, instance, tenants, at)
        started(instance, requests)
        ran += [(request.partition_key, f"{at:%H:%M}") for request in requests]

    # A contract that can't be read runs at the default time, so that its run can say why.
    assert ran == [("early", "01:30"), ("broken", "02:00"), ("as_late", "23:00"), ("late", "23:00")]


def test_a_time_that_nobody_saw_is_made_up_for_but_not_by_a_new_tenant(
    instance: dg.DagsterInstance, tenants: TenantsResource
) -> None:
    assert due(full_reconciles, instance, tenants, DAY + timedelta(hours=3)) == []

    started(instance, due(full_reconciles, instance, tenants, DAY + timedelta(hours=1, minutes=30)))
    tomorrow = DAY + timedelta(days=1)
    made_up = due(full_reconciles, instance, tenants, tomorrow + timedelta(hours=4))

    assert [(r.partition_key, r.tags[DUE_TAG]) for r in made_up] == [("early", "2026-11-25T01:30:00+00:00")]
    started(instance, made_up)
    assert due(full_reconciles, instance, tenants, tomorrow + timedelta(hours=4, minutes=1)) == []
    assert due(full_reconciles, instance, tenants, tomorrow + timedelta(days=1, hours=9)) == []


def test_a_contract_whose_times_were_changed_waits_for_its_next(
    instance: dg.DagsterInstance, tenants: TenantsResource
) -> None:
    contract = Path(tenants.tenants_dir) / "early.yaml"
    contract.write_text(CONTRACT.format(tenant="early", full="0 * * * *"), encoding="utf-8")
    for hour in (7, 8):
        requests = due(full_reconciles, instance, tenants, DAY.replace(hour=hour))
        assert [request.partition_key for request in requests] == ["early"]
        started(instance, requests)

    contract.write_text(CONTRACT.format(tenant="early", full="30 3 * * *"), encoding="utf-8")

    assert due(full_reconciles, instance, tenants, DAY.replace(hour=8, minute=5)) == [], "it ran since 03:30"
    [tomorrow] = due(full_reconciles, instance, tenants, DAY.replace(hour=3, minute=40) + timedelta(days=1))
    assert tomorrow.tags[DUE_TAG] == "2026-11-25T03:30:00+00:00"


def test_no_second_pull_queues_behind_one_that_waits(instance: dg.DagsterInstance, tenants: TenantsResource) -> None:
    assert due(incremental_pulls, instance, tenants, DAY) == []  # nobody was reconciled yet
    instance.report_runless_asset_event(
        dg.AssetMaterialization(key("crm_snapshot", CrmObject.CONTACT), partition="early")
    )

    first = due(incremental_pulls, instance, tenants, DAY)
    started(instance, first, dg.DagsterRunStatus.NOT_STARTED)

    assert [(request.partition_key, request.tags[SCHEDULE_TAG]) for request in first] == [("early", "incremental")]
    assert due(incremental_pulls, instance, tenants, DAY + timedelta(minutes=20)) == []


def test_a_paused_tenant_is_skipped_with_the_reason_and_made_up_for_afterwards(
    instance: dg.DagsterInstance, tenants: TenantsResource
) -> None:
    started(instance, due(full_reconciles, instance, tenants, DAY.replace(hour=1, minute=30)))
    board, next_day = SwitchBoard(tenants.store()), DAY + timedelta(days=1, hours=1, minutes=30)
    board.set("early", {Name.PAUSE: ""}, "cli:ann", "CRM migration")

    with dg.build_schedule_context(
        instance, next_day, repository_def=defs.get_repository_def(), resources={"tenants": tenants}
    ) as context:
        tick = full_reconciles.evaluate_tick(context)

    assert "early" not in {request.partition_key for request in tick.run_requests or []}
    told = tick.skip_message or "early is paused by cli:ann"
    assert "early is paused by cli:ann" in told
    board.clear("early", [Name.PAUSE], "cli:ann", "")
    later = due(full_reconciles, instance, tenants, next_day + timedelta(hours=1))
    assert [request.partition_key for request in later] == ["early"]


def test_of_a_tenant_whose_contract_is_gone_no_figure_stays(
    instance: dg.DagsterInstance, tenants: TenantsResource
) -> None:
    instance.add_dynamic_partitions(str(PARTITIONS.name), ["removed"])
    for tenant in ("early", "removed"):
        tally = Tally()
        tally.put("last_success_timestamp_seconds", 1.0)
        tally.save(tenants.store(), tenant)

    with dg.build_sensor_context(
        instance, repository_def=defs.get_repository_def(), resources={"tenants": tenants}
    ) as context:
        tenants_folder.evaluate_tick(context)

    assert {figure.tenant for figure in figures(tenants.store())} == {"early"}


@pytest.mark.parametrize(
    ("tags", "told", "by_hand"),
    [
        ({}, "ui", True),
        ({"user": "ann"}, "ui:ann", True),
        ({STARTED_TAG: "cli:ann"}, "cli:ann", True),
        ({STARTED_TAG: "ann"}, "ui:ann", True),
        (
            {SCHEDULE_TAG: "full", DUE_TAG: "2026-11-24T02:00:00+00:00"},
            "schedule:full due 2026-11-24T02:00:00+00:00",
            False,
        ),
        ({SCHEDULE_TAG: "events", "dagster/sensor_name": "waiting_events"}, "sensor:events", False),
        ({STARTED_TAG: "worker", "dagster/parent_run_id": "r1"}, "worker, again after run r1", False),
    ],
)
def test_who_started_a_run_is_told_by_its_tags(tags: dict[str, str], told: str, by_hand: bool) -> None:  # noqa: FBT001 - a case
    assert (started_by(tags), is_by_hand(told)) == (told, by_hand)
