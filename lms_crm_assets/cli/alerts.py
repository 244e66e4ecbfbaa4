"""`lms-crm alerts`: what is amiss, since when and who was told; and whether the channels work."""

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from lms_crm_assets.alerts.channels import send
from lms_crm_assets.alerts.look import KEPT_SECONDS
from lms_crm_assets.alerts.message import Message
from lms_crm_assets.alerts.register import Alert, Register
from lms_crm_assets.cli import completion
from lms_crm_assets.cli.console import Exit, complain, output_console, print_json
from lms_crm_assets.cli.options import JsonLines, OfTenant
from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.loading import FLEET_ALERTS, contract_file, load_contract, load_fleet_alerts
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings

alerts_app = typer.Typer(help="What is amiss, since when, and who was told.", no_args_is_help=True)


@alerts_app.command("list")
def list_alerts(
    tenant: OfTenant = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what was over within the last 90 days.")] = False,
    as_json: JsonLines = False,
) -> None:
    """What is amiss now, the oldest first, as the newest look found it.

    Example: [bold]lms-crm alerts list --tenant acme[/bold]
    """
    settings = Settings.from_environ()
    if tenant is not None:
        contract_file(settings.tenants_dir, tenant)
    store = OperationalStore.at(settings.state_dir)
    found = Register(store).find(tenant, recovered_since=store.clock() - KEPT_SECONDS if everything else None)
    if as_json:
        for alert in found:
            print_json(_plain(alert))
        return
    if not found:
        typer.echo("nothing is amiss, as far as was looked" + ("" if everything else "; --all lists what is over"))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("since (UTC)", *(["until (UTC)"] if everything else []), "tenant", "alert", "what", "told"):
        table.add_column(name, no_wrap=name.endswith("(UTC)"))
    for alert in found:
        until = [_moment(alert.recovered_at) if alert.recovered_at else ""] if everything else []
        kind = f"{alert.kind} ({alert.subject})" if alert.subject else alert.kind
        told = ", ".join(_told(alert)) or "nobody"
        table.add_row(_moment(alert.since), *until, *map(escape, (alert.tenant, kind, alert.told, told)))
    output_console().print(table)
    typer.echo("What each means and what to do: docs/alerts.md; --json tells it too")


@alerts_app.command("test")
def try_channels(
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            "-t",
            help="The channels of this tenant too, not only those of all.",
            autocompletion=completion.tenants,
        ),
    ] = None,
    *,
    as_json: JsonLines = False,
) -> None:
    """Send a test message to each channel, and say what became of it. Exit code 1 when one did not take it.

    Example: [bold]lms-crm alerts test --tenant acme[/bold]
    """
    settings = Settings.from_environ()
    policy = load_fleet_alerts(settings.tenants_dir)
    if tenant is not None:
        policy = load_contract(settings.tenants_dir, tenant).alerts.over(policy)
    if not policy.channels:
        place = f"{settings.tenants_dir}/{FLEET_ALERTS}"
        where = (
            f"neither {place} nor the contract of {tenant} names a channel" if tenant else f"{place} names no channel"
        )
        complain(f"{where}: see docs/alerts.md")
        raise typer.Exit(Exit.MEND)
    secret = secrets_of(tenant, OperationalStore.at(settings.state_dir)) if tenant else resolve
    failed = False
    for channel in policy.channels:
        try:
            note = send(channel, _test_message(tenant), secret)
            trouble = None
        except LmsCrmError as exc:
            failed, note, trouble = True, None, str(exc)
        if as_json:
            told = {"channel": channel.name, "to": channel.to, "sent": trouble is None}
            print_json({**told, "note": note or None, "trouble": trouble})
        else:
            typer.echo(f"{'✗' if trouble else '✓'} {channel.name} ({channel.to}): {trouble or note or 'sent'}")
    raise typer.Exit(Exit.MEND if failed else 0)


def _test_message(tenant: str | None) -> Message:
    now = time.time()
    return Message(
        id=f"msg_{secrets.token_hex(16)}",
        event="alert.test",
        tenant=tenant or "all tenants",
        kind="test",
        subject="",
        told="this is what an alert looks like; nothing is amiss",
        todo="nothing, the channel works",
        since=now,
        at=now,
    )


def _told(alert: Alert) -> list[str]:
    """Who heard of it, and who did not take it."""
    return [
        f"{channel} (failed: {trouble})" if (trouble := alert.trouble_with(channel)) else channel
        for channel in sorted(alert.told_to)
    ]


def _plain(alert: Alert) -> dict[str, Any]:
    return {
        "tenant": alert.tenant,
        "kind": alert.kind,
        "subject": alert.subject or None,
        "since": _iso(alert.since),
        "recovered_at": _iso(alert.recovered_at),
        "text": alert.told,
        "todo": alert.todo,
        "run_id": alert.run_id or None,
        "channels": {
            channel: {
                what: {"sent_at": _iso(told.sent_at), "tries": told.tries, "trouble": told.trouble or None}
                for what, told in messages.items()
            }
            for channel, messages in alert.told_to.items()
        },
    }


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _iso(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
