"""fleet_health: every tenant's state on one page, so that one tenant's failure is not hidden by another's success."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from lms_crm_assets.alerts.state import FRESH, NEVER, NO_FULL, STALE, CheckTold, RunTold, TenantState
from lms_crm_assets.defs.alerting import forget_old_alerts, look_at
from lms_crm_assets.defs.edge import table
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.tenant_states import known_inbox, tenant_states
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.rotation import reseal
from lms_crm_assets.ops.vault import Vault
from lms_crm_assets.report.making import report_file

_SWITCHED = "pull: "
# A minute's work at most; the next look goes on.
_SEALED_AT_ONCE = 10_000
_COLUMNS = {
    "tenant": "The tenant",
    "state": f"{FRESH}, {STALE}, {NEVER}, {NO_FULL} of late, or that the contract can't be read",
    "agreed_at": "When a run last ended with everything sent and taken (a plan that waits does not count)",
    "full_at": "The same of a full reconciliation, which also sees what others changed in the CRM",
    "age_minutes": "How long ago that is",
    "promised_minutes": "The contract's sla.freshness_minutes",
    "mode": "How changes arrive: the contract's word, or why backpressure has switched it to pull",
    "switches": "Which feature switches a person has set: lms-crm switches show",
    "events_waiting": "Events in the inbox whose outcome is not known yet",
    "oldest_event_seconds": "For how long the oldest of them waits",
    "events_parked": "Events that are tried no more: lms-crm events list --state parked",
    "refused": "What the checks of the newest run refused or the CRM did not take: rows of the LMS and records",
    "failing_checks": "The checks of the newest run that did not pass; see the run, or lms-crm quarantine list",
    "run": "The newest run that compared; look_at has links",
}
# Behind a check that stopped its run.
_BLOCKING = " (nothing was sent)"
# Where a run ended before any check could tell.
_FAILED = "the run failed, see why"
_REFUSED = ("invalid", "refused", "undelivered")
# So many tenants are linked to, those with something amiss first, and so many checks of each.
_LINKED, _LINKED_CHECKS = 50, 3


@dg.asset(
    group_name="fleet_health",
    description="""The page to open in the morning: every tenant, when its LMS and CRM last agreed, and what is amiss.

- `look_at`: each tenant's newest run, the checks of it that did not pass, and its report; what needs somebody comes first.
- `tenants`: the figures; *Show schema* says what each column means.
- The checks below name the tenants: `fresh`, `checks_pass`, `inbox`, `alerts_sent`. All green: nothing is to be done.

It is made anew every quarter of an hour, when what is amiss is told to the channels of alerts too. *Materialize* does it now.
""",
    check_specs=[
        dg.AssetCheckSpec(
            "fresh",
            asset="fleet_health",
            description="Each tenant had a successful run within its contract's sla.freshness_minutes.",
        ),
        dg.AssetCheckSpec(
            "inbox",
            asset="fleet_health",
            description="No event is parked, and no tenant is switched to pull because events or the CRM's answers pile up.",
        ),
        dg.AssetCheckSpec(
            "checks_pass",
            asset="fleet_health",
            description="Every check of each tenant's newest run passed: nothing was refused, withheld or left to a person. "
            "The badge of a tenant's own check shows the tenant that ran last alone.",
        ),
        dg.AssetCheckSpec(
            "alerts_sent",
            asset="fleet_health",
            description="Every channel took its messages; what it did not take is sent again.",
        ),
    ],
)
def fleet_health(context: dg.AssetExecutionContext, tenants: TenantsResource) -> dg.MaterializeResult:
    """Compare each tenant's last successful run with what its contract promises."""
    left = _seal_anew(tenants, inbox) if (inbox := known_inbox(tenants)) is not None else 0
    states = list(tenant_states(context.instance, tenants, tenants.names(), datetime.now(UTC)))
    rows = [_row(state) for state in states]
    troubles = look_at(tenants, states)
    forget_old_alerts(tenants)
    words = {row["state"] for row in rows}
    amiss = [f"{row['tenant']} ({row['state']})" for row in rows if row["state"] != FRESH]
    return dg.MaterializeResult(
        metadata={
            **({"look_at": _links(states, Path(tenants.state_dir))} if states else {}),
            "dagster/row_count": len(rows),
            "not_fresh": len(amiss),
            "events_waiting": sum(int(row["events_waiting"] or 0) for row in rows),
            "sealed_with_a_missing_key": left,
            "tenants": table(rows, _COLUMNS),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="fresh",
                passed=not amiss,
                severity=dg.AssetCheckSeverity.WARN if words <= {FRESH, NEVER} else dg.AssetCheckSeverity.ERROR,
                description=f"Not as fresh as promised: {', '.join(amiss)}. Look at their newest runs."
                if amiss
                else "Every tenant is as fresh as promised.",
            ),
            _inbox_check(rows),
            _checks_check(rows),
            dg.AssetCheckResult(
                check_name="alerts_sent",
                passed=not troubles,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"Not told: {'; '.join(troubles)}. Try with lms-crm alerts test."
                if troubles
                else "Every channel took its messages.",
            ),
        ],
    )


def _inbox_check(rows: Sequence[Mapping[str, str | int | None]]) -> dg.AssetCheckResult:
    parked = [f"{row['tenant']} ({row['events_parked']} parked)" for row in rows if row["events_parked"]]
    switched = [f"{row['tenant']} ({row['mode']})" for row in rows if str(row["mode"]).startswith(_SWITCHED)]
    amiss = [*switched, *parked]
    return dg.AssetCheckResult(
        check_name="inbox",
        passed=not amiss,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Look at: {', '.join(amiss)}. `lms-crm events list --state parked` shows parked events."
        if amiss
        else f"No event is parked; {sum(int(row['events_waiting'] or 0) for row in rows)} wait for their outcome.",
        metadata={"switched_to_pull": len(switched), "tenants_with_parked_events": len(parked)},
    )


def _checks_check(rows: Iterable[Mapping[str, str | int | None]]) -> dg.AssetCheckResult:
    failing = [row for row in rows if row["failing_checks"]]
    named = "; ".join(f"{row['tenant']} ({row['failing_checks']})" for row in failing)
    return dg.AssetCheckResult(
        check_name="checks_pass",
        passed=not failing,
        severity=dg.AssetCheckSeverity.ERROR
        if any(mark in str(row["failing_checks"]) for row in failing for mark in (_BLOCKING, _FAILED))
        else dg.AssetCheckSeverity.WARN,
        description=f"Did not pass: {named}." if failing else "Every check of each tenant's newest run passed.",
    )


def _seal_anew(tenants: TenantsResource, inbox: Inbox) -> int:
    """While there is a former key, some of what is under it goes under the present one; gives what no key opens."""
    ring = inbox.ring
    if len(ring.keys) == 1:
        return 0
    found = reseal(Vault(tenants.store(), ring), inbox, _SEALED_AT_ONCE)
    return sum(each.left.total() for each in found)


def _row(state: TenantState) -> dict[str, str | int | None]:
    fresh, newest, depth = state.freshness, state.comparing, state.depth
    return {
        "tenant": state.tenant,
        "state": "its contract can't be read" if state.problem else fresh.word,
        "agreed_at": _shown(fresh.agreed_at),
        "full_at": _shown(fresh.full_at),
        "age_minutes": fresh.age_minutes,
        "promised_minutes": fresh.promised_minutes,
        "mode": f"{_SWITCHED}{state.switched.reason}" if state.switched else state.mode,
        "switches": state.switches,
        "refused": _refused(newest.checks) if newest else 0,
        "failing_checks": ", ".join(_failing(newest)) if newest else "",
        "events_waiting": depth.pending + depth.leased,
        "oldest_event_seconds": None if depth.oldest_at is None else int(state.now.timestamp() - depth.oldest_at),
        "events_parked": depth.parked,
        "run": newest.run_id if newest else None,
    }


def _links(states: Iterable[TenantState], state_dir: Path) -> dg.MarkdownMetadataValue:
    """Links to what the tenants' newest runs told; cells of tables hold none."""
    lines = []
    for state in sorted(states, key=_is_well)[:_LINKED]:
        run = state.comparing
        told = [f"**{state.tenant}**: {'its contract can not be read' if state.problem else state.freshness.word}"]
        if run is not None:
            failed = [check for check in run.checks if not check.passed]
            page = report_file(state_dir, state.tenant, run.run_id).absolute()
            told.append(
                f"[{run.reading} run of {_shown(datetime.fromtimestamp(run.ended_at, UTC))}](/runs/{run.run_id})"
            )
            told += [
                f"[{check.asset} {check.name}](/assets/{check.asset}?view=checks&checkDetail={check.name})"
                for check in failed[:_LINKED_CHECKS]
            ]
            told += [f"and {len(failed) - _LINKED_CHECKS} more"] if len(failed) > _LINKED_CHECKS else []
            told += [f"report `{page}`"] if page.is_file() else []
        lines += [f"- {told[0]}", *(f"  - {each}" for each in told[1:])]
    return dg.MetadataValue.md("\n".join(lines))


def _is_well(state: TenantState) -> bool:
    run = state.comparing
    return not state.problem and state.freshness.word == FRESH and run is not None and all(c.passed for c in run.checks)


def _failing(run: RunTold) -> list[str]:
    failed = [
        f"{check.asset} {check.name}{_BLOCKING if check.stops else ''}" for check in run.checks if not check.passed
    ]
    return failed if failed or run.succeeded else [_FAILED]


def _refused(checks: Iterable[CheckTold]) -> int:
    """The sum of what single assets refused; two checks of one asset tell the same number of rows."""
    by_asset = {
        (check.asset, name): check.figures[name] for check in checks for name in _REFUSED if name in check.figures
    }
    return sum(by_asset.values())


def _shown(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M UTC}" if moment else None


fleet_job = dg.define_asset_job(
    "look_after_fleet", selection=[fleet_health], description="Look at every tenant's freshness."
)

fleet_watch = dg.ScheduleDefinition(
    name="fleet_watch",
    job=fleet_job,
    cron_schedule="*/15 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every quarter of an hour.",
)
