"""`lms-crm events`: what was delivered to the receiver, what became of it, and working on it once more."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from lms_crm_assets.cli.console import Exit, complain, output_console, print_json
from lms_crm_assets.cli.options import JsonLines, JsonObject, OfTenant
from lms_crm_assets.contract.loading import contract_file, load_contract
from lms_crm_assets.contract.webhooks import TokenVerifier
from lms_crm_assets.errors import ContractError
from lms_crm_assets.hints.canvas import claims
from lms_crm_assets.masking import masked, safe_key, shortened
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.inbox import Event, Inbox, State
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings

_SHOWN_ROWS = 100
_REPLAY_PAGE = 500

events_app = typer.Typer(help="What was delivered to the receiver, and what became of it.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Option("--id", help="A number of the list, or a delivery id; repeatable.")]
Since = Annotated[str | None, typer.Option("--since", help="Received from this moment on (ISO 8601; UTC by default).")]
Until = Annotated[str | None, typer.Option("--until", help="Received before this moment.")]
StateOption = Annotated[State | None, typer.Option("--state", "-s", help="In this state only.")]

# What tells which kind of change it is, of which record; never who somebody is. Everything else is masked.
_PLAIN_MEMBERS = frozenset(
    ["eventname", "component", "action", "target", "objecttable", "crud", "edulevel", "courseid", "timecreated", "event_name", "event_time", "resource", "created_at", "subscriptionType", "propertyName", "changeSource", "occurredAt", "eventType", "type", "objectid", "relateduserid", "userid", "contextid", "contextlevel", "objectId", "eventId", "subscriptionId", "portalId", "appId", "attemptNumber", "id", "tenant_id", "metadata"]
)  # fmt: skip
_SECRET_MEMBERS = frozenset({"token", "secret", "password", "sessionid", "authorization"})
_SESSION = re.compile(r"(<(?:\w+:)?SessionId>)[^<]*(</)")
_SECRET = "(a secret)"  # noqa: S105 - what stands for one


@events_app.command("list")
def list_events(
    tenant: OfTenant = None,
    *,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    state: StateOption = None,
    as_json: JsonLines = False,
) -> None:
    """Which events were received, the oldest first, and where they stand.

    Example: [bold]lms-crm events list --tenant acme --state parked[/bold]
    """
    found = _found(tenant, ids, since, until, state)
    if as_json:
        for event in found:
            typer.echo(json.dumps(_plain(event)))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("number", "tenant", "side", "delivery id", "received (UTC)", "about", "state", "attempts", "note"):
        table.add_column(name, justify="right" if name in {"number", "attempts"} else "left")
    for event in itertools.islice(found, _SHOWN_ROWS):
        table.add_row(
            str(event.number),
            event.tenant,
            event.side,
            _short_id(event.delivery_id),
            f"{datetime.fromtimestamp(event.received_at, UTC):%Y-%m-%d %H:%M:%S}",
            _in_short(_about(event)),
            event.state,
            str(event.attempts),
            shortened(event.note) if event.note else "",
        )
    if not table.row_count:
        if any((tenant, ids, since, until, state)):
            typer.echo("there are no such events: lms-crm events list, without options, shows those that there are")
        else:
            typer.echo("no event was delivered yet: docs/receiver.md tells how an LMS and a CRM deliver theirs")
        return
    output_console().print(table)
    if next(found, None) is not None:
        typer.echo(f"… and more than these {_SHOWN_ROWS}: narrow with --since, --until or --state, or use --json")
    typer.echo("What one of them says: lms-crm events show --id <number>")


@events_app.command()
def show(
    ids: Annotated[list[str], typer.Option("--id", help="A number of the list, or a delivery id; repeatable.")],
    *,
    tenant: OfTenant = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Learner data too; never secrets.")] = False,
    as_json: JsonLines = False,
) -> None:
    """What an event says. Learner data is masked.

    Example: [bold]lms-crm events show --id 1234[/bold]
    """
    found = list(_found(tenant, ids, None, None, None))
    if not found:
        complain(f"there is no event {', '.join(ids)}: lms-crm events list")
        raise typer.Exit(Exit.MEND)
    for event in found:
        body = _shown(event, reveal=reveal)
        if as_json:
            typer.echo(json.dumps({**_plain(event), "body": body}))
            continue
        received = datetime.fromtimestamp(event.received_at, UTC)
        typer.echo(f"event {event.number} of {event.tenant}'s {event.side.upper()}: {event.state}")
        typer.echo(f"  delivery id {event.delivery_id}")
        typer.echo(f"  received {received:%Y-%m-%d %H:%M:%S} UTC, {event.content_type}, {len(event.body):,} bytes")
        typer.echo(f"  about {_in_short(_about(event), _SHOWN_ROWS)}")
        typer.echo(f"  taken {event.attempts} times; {event.note or 'no note'}")
        # orjson refuses the lone surrogates that some send.
        typer.echo(json.dumps(body, indent=2))


@events_app.command("replay")
def replay_events(
    tenant: OfTenant = None,
    *,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    state: StateOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    as_json: JsonObject = False,
) -> None:
    """Let done and parked events be worked on once more. Say which.

    Example: [bold]lms-crm events replay --tenant acme --state parked --dry-run[/bold]
    """
    if not any((ids, since, until, state)):
        complain("say which events: --id, --since, --until or --state")
        raise typer.Exit(Exit.WORDS)
    if state in {State.PENDING, State.LEASED}:
        complain(f"{state} events are worked on anyway: replay done or parked ones")
        raise typer.Exit(Exit.WORDS)
    of: dict[int, str] = {
        event.number: event.tenant
        for event in _found(tenant, ids, since, until, state)
        if event.state in {State.DONE, State.PARKED}
    }
    closed = list(of)
    if not closed:
        complain("there is no such event that is done or parked: lms-crm events list")
        raise typer.Exit(Exit.MEND)
    what = "event" if len(closed) == 1 else "events"
    if dry_run and as_json:
        print_json({"events": len(closed), "dry_run": True})
        return
    if dry_run:
        typer.echo(f"{len(closed):,} {what} would be worked on once more; nothing was changed")
        return
    inbox = _inbox()
    again = sum(inbox.replay(closed[start : start + _REPLAY_PAGE]) for start in range(0, len(closed), _REPLAY_PAGE))
    log = AuditLog(OperationalStore.at(Settings.from_environ().state_dir))
    for name, number in Counter(of.values()).items():
        log.note(person(), "events.replayed", name, f"{number} events")
    if as_json:
        print_json({"events": again, "dry_run": False})
        return
    typer.echo(f"{again:,} {what} will be worked on once more")


def _inbox() -> Inbox:
    return Inbox.at(Settings.from_environ().state_dir)


def _found(
    tenant: str | None, ids: list[str] | None, since: str | None, until: str | None, state: State | None
) -> Iterator[Event]:
    if tenant is not None:
        contract_file(Settings.from_environ().tenants_dir, tenant)
    wanted: list[int | str] = []
    for each in ids or []:
        # A sender's delivery id may be a number too.
        wanted.extend([int(each), each] if each.isascii() and each.isdigit() and len(each) < 19 else [each])  # noqa: PLR2004 - BIGINT
    moments = _moment("--since", since), _moment("--until", until)
    return _inbox().find(tenant, wanted, *moments, state)


def _moment(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        complain(f"{option} is no moment: write it like 2026-11-27 or 2026-11-27T07:30")
        raise typer.Exit(Exit.WORDS) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _about(event: Event) -> list[str]:
    """The rows and records that an event touches, by their ids, and what can't be told; nothing without a contract."""
    from lms_crm_assets.hints import touched  # noqa: PLC0415 - other commands need none of it

    try:
        contract = load_contract(Settings.from_environ().tenants_dir, event.tenant)
    except ContractError:
        return []
    hints = touched(contract, event.side, event.content_type, event.body)
    named = sorted(hints.lms, key=lambda each: (each[0], len(each[1]), each[1])) + sorted(hints.crm)
    return [*(f"{kind} {safe_key(key)}" for kind, key in named), *hints.unknown]


def _in_short(about: list[str], most: int = 2) -> str:
    more = f" and {len(about) - most:,} more" if len(about) > most else ""
    return ", ".join(about[:most]) + more if about else "nothing that is known"


def _short_id(delivery_id: str) -> str:
    return delivery_id if len(delivery_id) <= 40 else f"{delivery_id[:39]}…"  # noqa: PLR2004 - fits the table


def _plain(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "tenant": event.tenant,
        "side": event.side,
        "delivery_id": event.delivery_id,
        "received_at": datetime.fromtimestamp(event.received_at, UTC).isoformat(),
        "state": event.state,
        "about": (about := _about(event))[:_SHOWN_ROWS],
        "touches": len(about),
        "attempts": event.attempts,
        "note": event.note,
        "content_type": event.content_type,
    }


def _shown(event: Event, *, reveal: bool) -> Any:
    """The body for a person: secrets never, learner data on demand."""
    if event.content_type == "text/xml":
        text = _SESSION.sub(rf"\g<1>{_SECRET}\g<2>", event.body.decode("utf-8", "replace"))
        return text if reveal else f"({len(event.body):,} bytes of XML; --reveal shows them)"
    body = (claims(event.body) if event.content_type == "application/jwt" else None) or event.body
    return _masked(json.loads(body), "", _secret_members(event.tenant), reveal=reveal)


def _masked(value: Any, name: str, secret_members: frozenset[str], *, reveal: bool) -> Any:
    if name.lower() in secret_members:
        return _SECRET
    if isinstance(value, dict):
        return {inner: _masked(each, inner, secret_members, reveal=reveal) for inner, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name, secret_members, reveal=reveal) for each in value]
    if reveal or value is None or isinstance(value, bool):
        return value
    if name in _PLAIN_MEMBERS:
        return safe_key(value) if isinstance(value, str) else value
    return masked(value) if isinstance(value, str) else "(a number)"


def _secret_members(tenant: str) -> frozenset[str]:
    """The members of a body that hold secrets, also when the contract can't be read any more."""
    try:
        verifiers = load_contract(Settings.from_environ().tenants_dir, tenant).webhooks.lms
    except ContractError:
        return _SECRET_MEMBERS
    return _SECRET_MEMBERS | {each.member.lower() for each in verifiers if isinstance(each, TokenVerifier)}
