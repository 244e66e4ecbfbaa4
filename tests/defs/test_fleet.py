"""Freshness per tenant: a stale one is named, whatever the others do."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.test_utils import create_run_for_test
from pydantic import SecretStr

from lms_crm_assets.alerts.conditions import findings
from lms_crm_assets.alerts.state import FRESH, NEVER
from lms_crm_assets.contract.alerts import AlertKind, Alerts
from lms_crm_assets.contract.webhooks import Backpressure
from lms_crm_assets.definitions import defs
from lms_crm_assets.defs.edge import ERROR
from lms_crm_assets.defs.fleet import fleet_health
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.run_history import RunHistory
from lms_crm_assets.defs.tenant_states import tenant_states
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.metrics import Tally
from lms_crm_assets.ops.modes import Mode, Modes, Sample
from lms_crm_assets.ops.store import OperationalStore

CONTRACT = """\
version: 2
tenant: {tenant}
source: {{adapter: changes, url: "https://lms.example", token: env:LMS_TOKEN}}
destination: {{adapter: hubspot, access_token: env:CRM_TOKEN}}
sla: {{freshness_minutes: {minutes}}}
objects: {{contact: {{to: contacts, match_key: lms_user_id, fields: {{email: email}}}}}}
"""


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as found:
        yield found


def ran(
    instance: dg.DagsterInstance,
    tenant: str,
    job: str,
    ended: float,
    *,
    succeeded: bool = True,
    checks: dict[str, bool] | None = None,
    told: Sequence[AssetCheckEvaluation] = (),
    error: str = "",
) -> None:
    named = dg.job(name=job)(lambda: None)
    run = instance.create_run_for_job(named, tags={"dagster/partition": tenant})
    kind = dg.DagsterEventType.RUN_SUCCESS if succeeded else dg.DagsterEventType.RUN_FAILURE
    event = dg.DagsterEvent(event_type_value=kind.value, job_name=job)
    plain = [AssetCheckEvaluation(dg.AssetKey(["delta", "plan"]), *check, {}) for check in (checks or {}).items()]
    for each in (*plain, *told):
        evaluated = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value, job_name=job, event_specific_data=each
        )
        instance.report_dagster_event(evaluated, run.run_id, timestamp=ended)
    if error:
        ours = UserFailureData("failure", "its line", {ERROR: dg.MetadataValue.text(error)})  # type: ignore[no-untyped-call]
        broken = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.STEP_FAILURE.value,
            job_name=job,
            step_key="sync__contact",
            event_specific_data=StepFailureData(None, ours),  # type: ignore[no-untyped-call]
        )
        instance.report_dagster_event(broken, run.run_id, timestamp=ended)
    instance.report_dagster_event(event, run.run_id, timestamp=ended)


def test_a_tenant_that_is_not_as_fresh_as_promised_is_named(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    now = time.time()
    for tenant, minutes in (
        ("daily", 1500),
        ("hourly", 60),
        ("failing", 60),
        ("new", 60),
        ("nightless", 60),
        ("waiting", 60),
    ):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, minutes=minutes), encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("tenant: [", encoding="utf-8")
    ran(instance, "daily", "full_reconcile", now - 20 * 3600)
    ran(instance, "hourly", "full_reconcile", now - 20 * 3600)
    ran(instance, "hourly", "incremental_pull", now - 30 * 60)
    ran(instance, "failing", "full_reconcile", now - 2 * 3600)
    ran(instance, "failing", "full_reconcile", now - 60, succeeded=False)
    ran(instance, "new", "plan", now - 60)
    ran(instance, "nightless", "full_reconcile", now - 60 * 3600)
    ran(instance, "nightless", "full_reconcile", now - 3600, succeeded=False)
    ran(instance, "nightless", "incremental_pull", now - 60)
    ran(instance, "waiting", "full_reconcile", now - 7200, checks={"approved": True, "delivered": True})
    ran(instance, "waiting", "full_reconcile", now - 60, checks={"approved": False})
    ran(instance, "waiting", "full_reconcile", now - 30, checks={"approved": True, "delivered": False})

    result = dg.materialize(
        [fleet_health],
        instance=instance,
        resources={"tenants": TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))},
    )

    sent, checks, check, inbox = sorted(result.get_asset_check_evaluations(), key=lambda each: each.check_name)
    assert inbox.passed
    assert sent.passed
    assert checks.description == "Did not pass: failing (the run failed, see why); waiting (delta/plan delivered)."
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert check.description == (
        "Not as fresh as promised: broken (its contract can't be read), failing (stale), new (never reconciled), "
        "nightless (no full reconciliation), waiting (stale). Look at their newest runs."
    )
    rows = result.asset_materializations_for_node("fleet_health")[0].metadata["tenants"].value
    ages = {row.data["tenant"]: (row.data["state"], row.data["age_minutes"]) for row in rows.records}  # type: ignore[union-attr]
    assert ages["daily"] == ("fresh", 1200)
    assert ages["hourly"] == ("fresh", 30)


def clicked(
    instance: dg.DagsterInstance,
    tenant: str,
    assets: Collection[dg.AssetKey],
    config: Mapping[str, object] | None = None,
    told: AssetCheckEvaluation | None = None,
) -> None:
    """A run as the UI's "Materialize" starts it among the assets."""
    run = create_run_for_test(
        instance,
        defs.resolve_implicit_global_asset_job_def().name,
        asset_selection=frozenset(assets),
        tags={"dagster/partition": tenant},
        run_config=config,
    )
    if told is not None:
        evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
        instance.report_dagster_event(dg.DagsterEvent(evaluated, run.job_name, event_specific_data=told), run.run_id)
    done = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)
    instance.report_dagster_event(done, run.run_id)


def test_all_assets_of_a_tenant_by_a_click_are_a_full_reconciliation(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    everything = set(defs.resolve_job_def("full_reconcile").asset_layer.executable_asset_keys)
    learner = [dg.AssetKey(["staging", "learner"])]
    for tenant in ("whole", "more", "part", "pulled"):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, minutes=60), encoding="utf-8")
    clicked(instance, "whole", everything)
    for _ in range(21):
        clicked(instance, "whole", learner)
    # The whole page of assets, and the fleet's own check among them, which tells of other tenants.
    clicked(instance, "more", [*everything, dg.AssetKey("fleet_health")], told=evaluation(["fleet_health"], "fresh"))
    clicked(instance, "part", everything - {dg.AssetKey(["sync", "completion"])})
    clicked(instance, "pulled", everything, {"ops": {"raw_lms": {"config": {"mode": "incremental"}}}})
    tenants = TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))

    states = {each.tenant: each for each in tenant_states(instance, tenants, tenants.names(), datetime.now(UTC))}

    words = {name: each.freshness.word for name, each in states.items()}
    assert words == {"whole": FRESH, "more": FRESH, "part": NEVER, "pulled": NEVER}
    newest = {name: each.comparing for name, each in states.items() if each.comparing is not None}
    assert {name: list(run.checks) for name, run in newest.items()} == {"whole": [], "more": []}
    # The nightly purge leaves the run that this is told from.
    assert {name: len(RunHistory(instance).telling_runs(name)) for name in words} == {
        "whole": 1,
        "more": 1,
        "part": 0,
        "pulled": 0,
    }


def test_a_tenant_is_stale_however_many_runs_did_not_bring_everything_over(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    now = time.time()
    for tenant in ("withheld", "never", "young"):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, minutes=60), encoding="utf-8")
    tenants = TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))
    ran(instance, "withheld", "incremental_pull", now - 3 * 3600)
    tally = Tally()
    tally.put("last_success_timestamp_seconds", now - 3 * 3600)
    tally.save(tenants.store(), "withheld")
    for minutes in range(100, 0, -5):
        ran(instance, "withheld", "incremental_pull", now - minutes * 60, checks={"approved": False})
    ran(instance, "never", "full_reconcile", now - 3 * 3600, succeeded=False)
    ran(instance, "never", "full_reconcile", now - 60, succeeded=False)
    ran(instance, "young", "full_reconcile", now - 60, succeeded=False)

    names = ["withheld", "never", "young"]
    states = {each.tenant: each for each in tenant_states(instance, tenants, names, datetime.now(UTC))}

    assert {name: each.freshness.word for name, each in states.items()} == {
        "withheld": "stale",
        "never": "never reconciled",
        "young": "never reconciled",
    }
    told = {
        name: [each.told for each in findings(state, Alerts()).violations if each.kind is AlertKind.STALE][:1]
        for name, state in states.items()
    }
    assert told == {
        "withheld": [f"no run brought everything over since {moment(now - 3 * 3600)} UTC; promised are 60 minutes"],
        "never": [
            f"no run brought everything over yet, the first was at {moment(now - 3 * 3600)} UTC; promised are 60 minutes"
        ],
        "young": [],
    }


def test_a_run_that_a_persons_switch_ended_says_nothing_of_its_tenant(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for tenant in ("good", "bad"):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, minutes=60), encoding="utf-8")
        now = time.time()
        ran(
            instance,
            tenant,
            "full_reconcile",
            now - 600,
            succeeded=tenant == "good",
            error="" if tenant == "good" else "CredentialError",
        )
        ran(instance, tenant, "full_reconcile", now - 60, succeeded=False, error="SwitchedOffError")
    tenants = TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))

    states = tenant_states(instance, tenants, ["good", "bad"], datetime.now(UTC))

    told = {each.tenant: [found.kind for found in findings(each, Alerts()).violations] for each in states}
    assert told == {"good": [], "bad": [AlertKind.CREDENTIAL]}


def moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def test_what_a_tenants_newest_run_refused_is_told_whatever_the_others_do(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for tenant in ("good", "mended", "stopped", "refusing"):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, minutes=60), encoding="utf-8")
    learner, contact, now = ["staging", "learner"], ["delta", "contact"], time.time()
    ran(instance, "mended", "full_reconcile", now - 600, told=[evaluation(learner, "schema_rules", invalid=3)])
    ran(
        instance,
        "mended",
        "full_reconcile",
        now - 60,
        told=[evaluation(learner, "schema_rules", passed=True, invalid=0)],
    )
    rows = [evaluation(learner, name, invalid=3) for name in ("schema_rules", "business_rules")]
    ran(
        instance,
        "refusing",
        "full_reconcile",
        now - 60,
        told=[*rows, evaluation(contact, "destination_rules", refused=2)],
    )
    stopping = evaluation(learner, "schema_rules", grave=True, invalid=9)
    ran(instance, "stopped", "full_reconcile", now - 60, succeeded=False, told=[stopping])
    ran(instance, "good", "full_reconcile", now - 1, told=[evaluation(learner, "schema_rules", passed=True, invalid=0)])

    result = dg.materialize(
        [fleet_health],
        instance=instance,
        resources={"tenants": TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))},
    )

    [check] = [each for each in result.get_asset_check_evaluations() if each.check_name == "checks_pass"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.description == (
        "Did not pass: refusing (staging/learner schema_rules, staging/learner business_rules, delta/contact"
        " destination_rules); stopped (staging/learner schema_rules (nothing was sent))."
    )
    table = result.asset_materializations_for_node("fleet_health")[0].metadata["tenants"].value
    refused = {row.data["tenant"]: row.data["refused"] for row in table.records}  # type: ignore[union-attr]
    assert refused == {"good": 0, "mended": 0, "refusing": 5, "stopped": 9}
    links = result.asset_materializations_for_node("fleet_health")[0].metadata["look_at"].value
    lines = str(links).splitlines()
    assert [line.split("**")[1] for line in lines if line.startswith("- ")] == ["refusing", "stopped", "good", "mended"]
    run = next(row.data["run"] for row in table.records if row.data["tenant"] == "stopped")  # type: ignore[union-attr]
    told = lines[lines.index("- **stopped**: never reconciled") + 1 :]
    assert told[0].endswith(f"](/runs/{run})")
    assert told[1].startswith("  - [staging/learner schema_rules](/assets/staging/learner?view=checks")


def evaluation(
    asset: list[str], name: str, *, passed: bool = False, grave: bool = False, **counts: int
) -> AssetCheckEvaluation:
    severity = dg.AssetCheckSeverity.ERROR if grave else dg.AssetCheckSeverity.WARN
    told = {key: dg.MetadataValue.int(value) for key, value in counts.items()}
    return AssetCheckEvaluation(dg.AssetKey(asset), name, passed, told, severity=severity, blocking=True)


def test_what_waits_in_the_inbox_is_told_and_parked_events_and_a_switched_tenant_are_named(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, present = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4="
    monkeypatch.setenv("LMS_CRM_KEY", former)
    for tenant in ("busy", "calm", "flooded"):
        (tmp_path / f"{tenant}.yaml").write_text(CONTRACT.format(tenant=tenant, minutes=60), encoding="utf-8")
    inbox = Inbox.at(tmp_path)
    inbox.add([Delivery("busy", Side.LMS, str(n), "application/json", b"{}") for n in range(3)])
    inbox.park(inbox.lease("busy", 1, 60)[0].number, "LMS-501 survey_answered")
    flood = Sample(depth=7, oldest_seconds=0)
    Modes(OperationalStore.at(tmp_path)).look("flooded", Mode.PUSH, flood, Backpressure(depth=6))
    monkeypatch.setenv("LMS_CRM_KEY", f"{present} {former}")

    result = dg.materialize(
        [fleet_health],
        instance=instance,
        resources={"tenants": TenantsResource(tenants_dir=str(tmp_path), state_dir=str(tmp_path))},
    )

    [check] = [each for each in result.get_asset_check_evaluations() if each.check_name == "inbox"]
    assert not check.passed
    assert check.description == (
        "Look at: flooded (pull: 7 events wait), busy (1 parked). `lms-crm events list --state parked` shows parked events."
    )
    rows = result.asset_materializations_for_node("fleet_health")[0].metadata["tenants"].value
    told = {row.data["tenant"]: (row.data["mode"], row.data["events_waiting"]) for row in rows.records}  # type: ignore[union-attr]
    assert told == {"busy": ("pull", 2), "calm": ("pull", 0), "flooded": ("pull: 7 events wait", 0)}
    # While there are two keys, it seals anew what is under the former one.
    assert len(list(Inbox(inbox.store, KeyRing.of(SecretStr(present))).find())) == 3
