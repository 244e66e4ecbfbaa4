"""What is amiss with a tenant: a pure function of how it stands and of the thresholds that count for it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lms_crm_assets.alerts.state import Reading, RunTold, TenantState
from lms_crm_assets.contract.alerts import AlertKind, Alerts

_CREDENTIAL_ERRORS = {"CredentialError", "PermissionMissingError"}
_SCHEMA_ERRORS = {"SchemaChangedError"}
_LONGEST_LINE = 400
_CODES_TOLD = 5
# What the checks of the schemas speak of.
_SCHEMAS = {"discovery/crm_schema": "crm", "discovery/lms_schema": "lms"}
# Checks that hold a run back and have an alert of their own.
_TOLD_ELSEWHERE = {"guardrails", "fits_contract"}
_NAMES = {
    Reading.FULL: "the full reconciliation",
    Reading.PULL: "the incremental pull",
    Reading.EVENTS: "the run of events",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is amiss. `kind` and `subject` tell it from others; `told` and `todo` are for people.

    Neither holds learner data or a secret: counts, codes, names of objects and fields.
    """

    kind: AlertKind
    subject: str
    told: str
    todo: str
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is amiss, and of what nothing is known now: what was amiss there before still is, as far as we know.

    An `unknown` pair is a kind and a subject; the subject `*` stands for all of the kind.
    """

    violations: tuple[Violation, ...]
    unknown: frozenset[tuple[AlertKind, str]]

    def is_known(self, kind: AlertKind, subject: str) -> bool:
        """Whether what is not among the violations is over."""
        return (kind, subject) not in self.unknown and (kind, "*") not in self.unknown


def findings(state: TenantState, limits: Alerts) -> Findings:
    """What is amiss with the tenant; kinds that are muted are over."""
    if state.problem:
        found: Iterable[Violation] = [_unreadable(state)]
        unknown: set[tuple[AlertKind, str]] = {(kind, "*") for kind in AlertKind if kind is not AlertKind.CONTRACT}
    else:
        unknown = {*_unknown(state.comparing), *_unknown_of_all(state)}
        found = _all(state, limits)
    one_each = {(each.kind, each.subject): each for each in found if each.kind not in limits.muted}
    return Findings(tuple(one_each.values()), frozenset(pair for pair in unknown if pair[0] not in limits.muted))


def _all(state: TenantState, limits: Alerts) -> Iterator[Violation]:
    for run in state.newest.values():
        yield from _failed(state, run, limits)
    if (newest := state.comparing) is not None:
        yield from _told_by_checks(state, newest, limits)
    if state.paused is None:
        yield from _stale(state)
        yield from _queue(state, limits)
    yield from _parked(state, limits)
    yield from _running_out(state, limits)
    yield from _held(state, limits)


def _unknown(newest: RunTold | None) -> Iterator[tuple[AlertKind, str]]:
    """What the newest run did not come to tell."""
    if newest is None:
        return
    if not newest.succeeded:
        yield AlertKind.REJECTED, "*"
    elif any(not check.passed and "undelivered" not in check.figures for check in newest.said("delivered")) or any(
        not check.passed for check in newest.said("approved")
    ):
        yield AlertKind.REJECTED, "*"  # nothing was sent, so nothing new is known
    if not newest.said("approved"):
        yield AlertKind.PLAN_WAITS, "*"
        yield AlertKind.DRIFT, "*"
    for asset, side in _SCHEMAS.items():
        if not any(check.asset == asset for check in newest.said("as_accepted")):
            yield AlertKind.SCHEMA_CHANGED, side
    if not newest.said("fits_contract"):
        yield AlertKind.SCHEMA_CHANGED, "contract"


def _unknown_of_all(state: TenantState) -> Iterator[tuple[AlertKind, str]]:
    """What is over only when runs of each kind come to their end, and what nobody expects of a tenant that is paused."""
    newest = max(state.newest.values(), key=lambda run: run.ended_at, default=None)
    if any(run is not None and not run.succeeded for run in (newest, state.comparing)):
        yield AlertKind.CREDENTIAL, "*"
        yield AlertKind.SCHEMA_CHANGED, "under way"
    if state.paused is not None:
        yield AlertKind.STALE, "*"
        yield AlertKind.QUEUE, "age"
        yield AlertKind.QUEUE, "depth"


def _unreadable(state: TenantState) -> Violation:
    return Violation(
        AlertKind.CONTRACT,
        "",
        f"the contract can't be read: {_line(state.problem)}",
        f"mend tenants/{state.tenant}.yaml; lms-crm tenants validate --tenant {state.tenant} tells every mistake",
    )


def _failed(state: TenantState, run: RunTold, limits: Alerts) -> Iterator[Violation]:
    # A credential that works, works for every run; what a pull reads is less than what a full run does.
    anyone = run.error in _CREDENTIAL_ERRORS | _SCHEMA_ERRORS
    healed = any(
        other.succeeded and other.ended_at > run.ended_at and (anyone or _covers(other.reading, run.reading))
        for other in state.newest.values()
    )
    if run.succeeded or healed or run.failures < limits.failures:
        return
    often = f" ({run.failures} times in a row)" if run.failures > 1 else ""
    why = f": {_line(run.told)}" if run.told else ""
    told = f"{_NAMES[run.reading]} failed{often}{why}"
    stopping = {check.name for check in run.checks if check.stops}
    if run.error in _CREDENTIAL_ERRORS:
        todo = f"renew the credential or grant what it lacks, then lms-crm tenants validate --tenant {state.tenant}"
        yield Violation(AlertKind.CREDENTIAL, "refused", told, todo, run.run_id)
    elif run.error in _SCHEMA_ERRORS:
        todo = f"lms-crm crm schema --tenant {state.tenant} shows what changed"
        yield Violation(AlertKind.SCHEMA_CHANGED, "under way", told, todo, run.run_id)
    elif not stopping or stopping - _TOLD_ELSEWHERE:
        if stopping and not run.told:
            told += f": stopped by {', '.join(sorted(stopping))}"
        todo = "look at the run; what may pass by itself is tried again by the next one"
        yield Violation(AlertKind.RUN_FAILED, run.reading, told, todo, run.run_id)


def _covers(reading: Reading, other: Reading) -> bool:
    """Whether a run that reads this also reads what the other one would have."""
    order = list(Reading)
    return order.index(reading) <= order.index(other)


def _told_by_checks(state: TenantState, run: RunTold, limits: Alerts) -> Iterator[Violation]:
    tenant = state.tenant
    refused = sum(check.figures.get("undelivered", 0) for check in run.said("delivered"))
    withheld = sum(check.figures.get("refused", 0) for check in run.said("destination_rules"))
    if refused + withheld >= limits.rejected_records:
        todo = f"lms-crm dead-letters list --tenant {tenant} --refused; what was withheld: lms-crm quarantine list --tenant {tenant}"
        yield Violation(AlertKind.REJECTED, "", _not_taken(run, refused, withheld), todo, run.run_id)
    if run.drifted is not None and run.drifted >= limits.drift_records:
        told = f"{run.drifted:,} records were changed in the CRM in fields that the LMS owns"
        todo = f"find out who edits them; or give these fields another owner in the contract. lms-crm plan --tenant {tenant} shows them"
        yield Violation(AlertKind.DRIFT, "", told, todo, run.run_id)
    for check in run.said("as_accepted"):
        if not check.passed and check.asset in _SCHEMAS:
            side = _SCHEMAS[check.asset]
            told = f"the {side.upper()}'s schema is not as it was accepted"
            todo = (
                f"lms-crm crm schema --tenant {tenant}; when it is meant to be so: lms-crm crm accept --tenant {tenant}"
            )
            yield Violation(AlertKind.SCHEMA_CHANGED, side, told, todo, run.run_id)
    if any(check.stops for check in run.said("fits_contract")):
        todo = f"lms-crm tenants validate --tenant {tenant} tells what to mend"
        told = "the CRM can't hold what the contract sends: nothing is sent"
        yield Violation(AlertKind.SCHEMA_CHANGED, "contract", told, todo, run.run_id)
    todo = f"read it with lms-crm plan --tenant {tenant}, then lms-crm apply"
    if any(not check.passed for check in run.said("guardrails")):
        told = "a guardrail stopped the plan: nothing was sent"
        yield Violation(AlertKind.PLAN_WAITS, "guardrails", told, f"{todo} --despite-guardrails", run.run_id)
    elif any(not check.passed for check in run.said("approved")) and state.switches:
        told = f"not all of the plan is sent, or nothing, and switches are set: {_line(state.switches)}"
        todo = f"lms-crm switches clear --tenant {tenant} when it shall go on; lms-crm plan --tenant {tenant} shows what waits"
        yield Violation(AlertKind.PLAN_WAITS, "approval", told, todo, run.run_id)
    elif any(not check.passed for check in run.said("approved")):
        yield Violation(AlertKind.PLAN_WAITS, "approval", "a plan waits for a person", todo, run.run_id)


def _not_taken(run: RunTold, refused: int, withheld: int) -> str:
    codes: dict[str, int] = {}
    for check in run.said("delivered"):
        for code, number in check.codes.items():
            codes[code] = codes.get(code, 0) + number
    first = sorted(codes.items(), key=lambda pair: -pair[1])[:_CODES_TOLD]
    named = f" ({', '.join(f'{number:,} × {code}' for code, number in first)})" if first else ""
    parts = [f"{refused:,} records were not taken by the CRM{named}"] if refused else []
    parts += [f"{withheld:,} were not sent, since the CRM would refuse them"] if withheld else []
    return "; ".join(parts)


def _stale(state: TenantState) -> Iterator[Violation]:
    fresh = state.freshness
    todo = f"look at the newest runs of {state.tenant}; lms-crm reconcile --tenant {state.tenant} runs it now"
    if fresh.is_stale:
        since = f"since {_minute(fresh.agreed_at)}" if fresh.agreed_at else "yet"
        since += f", the first was at {_minute(fresh.begun_at)}" if fresh.begun_at else ""
        told = f"no run brought everything over {since}; promised are {fresh.promised_minutes} minutes"
        yield Violation(AlertKind.STALE, "", told, todo)
    if fresh.misses_full:
        when = f" since {_minute(fresh.full_at)}" if fresh.full_at else ""
        yield Violation(AlertKind.STALE, "full", f"no full reconciliation brought everything over{when}", todo)


def _queue(state: TenantState, limits: Alerts) -> Iterator[Violation]:
    depth, tenant = state.depth, state.tenant
    waiting = depth.pending + depth.leased
    if waiting >= limits.queue_events:
        todo = "is lms-crm worker or the Dagster daemon at work? The next scheduled pull takes them as well"
        yield Violation(AlertKind.QUEUE, "depth", f"{waiting:,} events wait in the inbox", todo)
    if depth.oldest_at is not None:
        minutes = (state.now.timestamp() - depth.oldest_at) / 60
        if minutes > limits.queue_minutes:
            todo = f"lms-crm events list --tenant {tenant} shows what waits; is lms-crm worker or the Dagster daemon at work?"
            yield Violation(AlertKind.QUEUE, "age", f"the oldest event waits for {minutes:,.0f} minutes", todo)


def _parked(state: TenantState, limits: Alerts) -> Iterator[Violation]:
    depth, tenant = state.depth, state.tenant
    if depth.parked >= limits.parked_events:
        todo = f"lms-crm events list --tenant {tenant} --state parked tells why; lms-crm events replay tries them again"
        yield Violation(AlertKind.QUEUE, "parked", f"{depth.parked:,} events are tried no more", todo)


def _running_out(state: TenantState, limits: Alerts) -> Iterator[Violation]:
    if state.quota is not None:
        used, allowed = state.quota
        if used > allowed * limits.quota_share:
            told = f"{used:,} of the {allowed:,} calls that the CRM allows a day are used"
            todo = "runs stop at guardrails.quota_share and go on the next day: find out who else calls, or buy more"
            yield Violation(AlertKind.QUOTA, "", told, todo)
    for each in state.expiries:
        if each.on <= state.now.date() + timedelta(days=limits.expiry_days):
            ended = "ended" if each.on < state.now.date() else "ends"
            yield Violation(AlertKind.EXPIRY, each.what, f"{each.what} {ended} on {each.on}", each.todo)


def _held(state: TenantState, limits: Alerts) -> Iterator[Violation]:
    if state.switched is not None:
        told = f"webhooks wait for the scheduled pulls: {state.switched.reason}"
        yield Violation(AlertKind.SWITCHED_TO_PULL, "", told, "it returns by itself after three good windows")
    if state.paused is not None:
        hours = (state.now.timestamp() - state.paused.at) / 3600
        if hours > limits.paused_hours:
            told = f"paused for {hours:,.0f} hours: {_line(state.paused.reason)}"
            todo = f"lms-crm switches clear --tenant {state.tenant} lets it go on"
            yield Violation(AlertKind.PAUSED, "", told, todo)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _line(text: str) -> str:
    """A text as one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
