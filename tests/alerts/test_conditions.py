"""What is amiss, and what is not known: from plain values, without a run."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from lms_crm_assets.alerts.conditions import findings
from lms_crm_assets.alerts.expiries import expiries
from lms_crm_assets.alerts.state import CheckTold, Expiry, Reading, RunTold, Since, TenantState, freshness
from lms_crm_assets.contract.alerts import AlertKind, Alerts
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.ops.inbox import Depth
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()
LIMITS = Alerts(rejected_records=2, drift_records=3)
CRM, LMS, PLAN, CONTACT = "discovery/crm_schema", "discovery/lms_schema", "delta/plan", "sync/contact"
QUIET = (
    CheckTold(CRM, "as_accepted", passed=True),
    CheckTold(LMS, "as_accepted", passed=True),
    CheckTold(CRM, "fits_contract", passed=True),
    CheckTold(PLAN, "guardrails", passed=True),
    CheckTold(PLAN, "approved", passed=True),
    CheckTold(CONTACT, "delivered", passed=True, figures={"undelivered": 0}),
)


def run(reading: Reading = Reading.PULL, *, at: float = AT, **given: Any) -> RunTold:
    return RunTold(f"run-{reading}", reading, at, **{"succeeded": True, "checks": QUIET, "drifted": 0, **given})


def failed(reading: Reading = Reading.PULL, *, at: float = AT, **given: Any) -> RunTold:
    return run(reading, at=at, **{"succeeded": False, "failures": 1, "checks": (), "drifted": None, **given})


def state(*runs: RunTold, age: timedelta = timedelta(minutes=5), **given: Any) -> TenantState:
    fresh = freshness(NOW - age, NOW - age, 60, "0 2 * * *", NOW)
    return TenantState("acme", NOW, fresh, newest={each.reading: each for each in runs}, **given)


def saying(*checks: CheckTold) -> tuple[CheckTold, ...]:
    told = {(check.asset, check.name) for check in checks}
    return (*checks, *(check for check in QUIET if (check.asset, check.name) not in told))


def told(found: TenantState, limits: Alerts = LIMITS) -> set[tuple[str, str]]:
    return {(each.kind.value, each.subject) for each in findings(found, limits).violations}


def refused(undelivered: int, withheld: int = 0) -> tuple[CheckTold, ...]:
    return saying(
        CheckTold(CONTACT, "delivered", passed=False, figures={"undelivered": undelivered}, codes={"A": 1, "B": 2}),
        CheckTold("delta/contact", "destination_rules", passed=False, figures={"refused": withheld}),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (state(run()), []),
        (state(), []),
        (state(failed(), run(Reading.FULL, at=AT - 60)), [("run_failed", "pull")]),
        (state(failed(at=AT - 60), run(Reading.FULL)), []),
        (state(run(), failed(Reading.FULL, at=AT - 60)), [("run_failed", "full")]),
        (state(run(), failed(Reading.EVENTS)), [("run_failed", "events")]),
        (state(failed(error="CredentialError")), [("credential", "refused")]),
        (state(run(), failed(Reading.FULL, at=AT - 60, error="PermissionMissingError")), []),
        (state(failed(error="SchemaChangedError")), [("schema_changed", "under way")]),
        (
            state(failed(checks=saying(CheckTold(PLAN, "guardrails", passed=False, stops=True)))),
            [("plan_waits", "guardrails")],
        ),
        (
            state(failed(checks=saying(CheckTold(CRM, "fits_contract", passed=False, stops=True)))),
            [("schema_changed", "contract")],
        ),
        (
            state(failed(checks=saying(CheckTold("raw_lms/learners", "believable", passed=False, stops=True)))),
            [("run_failed", "pull")],
        ),
        (state(run(checks=saying(CheckTold(PLAN, "approved", passed=False)))), [("plan_waits", "approval")]),
        (state(run(checks=saying(CheckTold(LMS, "as_accepted", passed=False)))), [("schema_changed", "lms")]),
        (state(run(checks=refused(1))), []),
        (state(run(checks=refused(1, 1))), [("rejected", "")]),
        (state(run(drifted=2)), []),
        (state(run(drifted=3)), [("drift", "")]),
        (state(run(), age=timedelta(hours=2)), [("stale", "")]),
        (state(run(), age=timedelta(days=3)), [("stale", ""), ("stale", "full")]),
        (state(run(), depth=Depth(pending=9_999, oldest_at=AT - 1800)), []),
        (state(run(), depth=Depth(pending=9_999, leased=1, oldest_at=AT - 1801)), [("queue", "age"), ("queue", "depth")]),
        (state(run(), depth=Depth(parked=1)), [("queue", "parked")]),
        (state(run(), quota=(75, 100)), []),
        (state(run(), quota=(76, 100)), [("quota", "")]),
        (state(run(), expiries=[Expiry("a token", date(2026, 12, 28), "renew")]), []),
        (state(run(), expiries=[Expiry("a token", date(2026, 12, 27), "renew")]), [("expiry", "a token")]),
        (state(run(), switched=Since(AT, "7 events wait")), [("switched_to_pull", "")]),
        (state(run(), paused=Since(AT - 24 * 3600, "moving")), []),
        (state(run(), paused=Since(AT - 25 * 3600, "moving")), [("paused", "")]),
        # Of a tenant that is paused nobody expects more.
        (
            state(
                run(),
                age=timedelta(days=3),
                depth=Depth(pending=10_000, parked=1, oldest_at=AT - 7200),
                paused=Since(AT - 7200, "moving"),
            ),
            [("queue", "parked")],
        ),
        (state(failed(), problem="acme.yaml:3: no"), [("contract", "")]),
    ],
)  # fmt: skip
def test_what_is_amiss(found: TenantState, expected: Sequence[tuple[str, str]]) -> None:
    assert told(found) == set(expected)


def test_failures_in_a_row_and_kinds_that_are_muted_are_the_contracts() -> None:
    patient = Alerts(failures=3)
    assert told(state(failed(failures=2)), patient) == set()
    [found] = findings(state(failed(failures=3, told="no LMS\nat all")), patient).violations
    assert found.told == "the incremental pull failed (3 times in a row): no LMS at all"
    assert told(state(failed()), Alerts(muted=[AlertKind.RUN_FAILED])) == set()


@pytest.mark.parametrize(
    ("found", "unknown"),
    [
        (state(run()), []),
        # A run that failed early says nothing of what an earlier one found, but of what it saw itself.
        (state(failed()), ["rejected", "credential", "drift", "plan_waits", "schema_changed"]),
        (state(failed(checks=QUIET[:3])), ["rejected", "credential", "drift", "plan_waits"]),
        # Where a plan waits nothing was sent.
        (state(run(checks=saying(CheckTold(PLAN, "approved", passed=False)))), ["rejected"]),
        (state(run(checks=saying(CheckTold(CONTACT, "delivered", passed=False)))), ["rejected"]),
        # That a run of events failed otherwise does not tell that the credential works again.
        (state(run(at=AT - 60), failed(Reading.EVENTS)), ["credential"]),
        (state(run(), failed(Reading.EVENTS, at=AT - 60)), []),
        (state(run(), paused=Since(AT, "moving")), ["stale", "queue"]),
        (state(problem="no"), sorted(set(AlertKind) - {"contract"})),
    ],
)
def test_what_the_newest_run_did_not_come_to_tell_is_not_over(found: TenantState, unknown: Sequence[str]) -> None:
    told = findings(found, LIMITS)
    subjects = {AlertKind.SCHEMA_CHANGED: "crm", AlertKind.CREDENTIAL: "refused", AlertKind.QUEUE: "age"}
    assert {kind for kind in AlertKind if not told.is_known(kind, subjects.get(kind, ""))} == set(unknown)


def test_a_plan_that_a_switch_holds_back_does_not_wait_for_apply() -> None:
    unsent = saying(CheckTold(PLAN, "approved", passed=False))
    [found] = findings(state(run(checks=unsent), switches="dry run, switched on by cli:ann"), LIMITS).violations
    assert (found.kind, found.subject) == (AlertKind.PLAN_WAITS, "approval")
    assert "dry run, switched on by cli:ann" in found.told
    assert "lms-crm switches clear --tenant acme" in found.todo


def test_what_a_contract_leaves_out_is_as_all_tenants_have_it_and_channels_add_up() -> None:
    def alerts(*names: str, **given: object) -> Alerts:
        channels = [{"name": name, "to": "slack", "url": f"env:{name.upper()}"} for name in names]
        return Alerts.model_validate({"channels": channels, **given})

    fleet = alerts("ops", "chat", drift_records=7, reminder_hours=24)
    own = alerts("people", "chat", drift_records=9, reminder_hours=None).over(fleet)

    assert [channel.name for channel in own.channels] == ["ops", "people", "chat"]
    assert (own.drift_records, own.reminder_hours, own.failures) == (9, None, 1)
    with pytest.raises(ValueError, match="two channels are called ops"):
        alerts("ops", "ops")


def test_a_token_that_says_when_it_ends_is_known_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_CRM_KEY", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    store = OperationalStore(tmp_path)
    Vault.opened(store).keep("acme", "crm-token", "canary", datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    Vault.opened(store).keep("other", "crm-token", "canary", AT)
    Vault.opened(store).keep("acme", "former-token", "canary", AT)
    token = jwt.encode({"exp": datetime(2026, 12, 24, tzinfo=UTC)}, "x" * 32)
    monkeypatch.setenv("LMS_TOKEN", token)
    monkeypatch.setenv("CRM_TOKEN", "a.b.c")
    contract = Contract.model_validate(
        {
            "version": 2,
            "tenant": "acme",
            "source": {"adapter": "changes", "url": "https://lms.example", "token": "env:LMS_TOKEN"},
            "destination": {"adapter": "hubspot", "api_version": "2026-09", "access_token": "env:CRM_TOKEN"},
            "clients": [{"id": "teacher", "secret": "vault:crm-token", "scopes": ["status"]}],
            "objects": {"contact": {"to": "contacts", "match_key": "lms_user_id", "fields": {"email": "email"}}},
        }
    )

    assert [(each.what, each.on) for each in expiries(contract, store)] == [
        ("the credential vault:crm-token", date(2026, 12, 1)),
        ("the credential source.token", date(2026, 12, 24)),
        ("support of the HubSpot API 2026-09", date(2028, 3, 1)),
    ]
    assert token not in str(expiries(contract, store))
