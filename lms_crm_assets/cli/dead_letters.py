"""`lms-crm dead-letters`: records that the CRM refused too often, why, and sending them again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any

import duckdb
import orjson
import typer
from rich import box
from rich.table import Table

from lms_crm_assets.cli.console import Exit, complain, output_console, print_json
from lms_crm_assets.cli.options import JsonLines, JsonObject, ShowValues, Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.masking import safe_key
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from lms_crm_assets.sync.rejections import Rejection, rejections, replay
from lms_crm_assets.veil import MESSAGE
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate

_SHOWN_ROWS = 100

dead_letters_app = typer.Typer(
    help="Records that the CRM refused too often, and that no run sends any more.", no_args_is_help=True
)
Object = Annotated[CrmObject | None, typer.Option("--object", "-o", help="Of this object only.")]
Code = Annotated[str | None, typer.Option("--code", "-c", help="Refused with this code only.")]
Key = Annotated[str | None, typer.Option("--key", "-k", help="The record with this LMS id only.")]


@dead_letters_app.command("list")
def list_letters(
    tenant: Tenant,
    *,
    obj: Object = None,
    code: Code = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Also those that were refused last time and are sent again.")
    ] = False,
    as_json: JsonLines = False,
    show_values: ShowValues = False,
) -> None:
    """Which records are dead letters, since when, and with which code.

    Example: [bold]lms-crm dead-letters list --tenant acme --code STRING_TOO_LONG[/bold]
    """
    with _warehouse(tenant) as (con, most):
        found = rejections(con, most, obj=obj, code=code, only_dead=not refused)
        if as_json:
            for letter in found:
                typer.echo(orjson.dumps(_plain(letter, show_values=show_values)))
            return
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for name in ("object", "LMS id", "operation", "code", "attempts", "state", "first refused", "last refused"):
            table.add_column(name, justify="right" if name == "attempts" else "left")
        for letter in islice(found, _SHOWN_ROWS):
            table.add_row(
                letter.object,
                safe_key(letter.external_id),
                letter.operation,
                letter.code or "",
                f"{letter.attempts} of {most}",
                "dead letter" if letter.is_dead else "sent again",
                f"{letter.first_rejected_at:%Y-%m-%d %H:%M}",
                f"{letter.last_rejected_at:%Y-%m-%d %H:%M}",
            )
        left = sum(1 for _ in found)
    if not table.row_count:
        if refused:
            typer.echo(f"{tenant} has no refused records")
        else:
            typer.echo(f"{tenant} has no dead letters; --refused lists what was refused and is sent again")
        return
    output_console().print(table)
    if left:
        typer.echo(f"… and {left:,} more: --json lists all")
    typer.echo(f"What the CRM said: lms-crm dead-letters show --tenant {tenant} --key <LMS id>")


@dead_letters_app.command()
def show(
    tenant: Tenant,
    *,
    key: Annotated[str, typer.Option("--key", "-k")],
    as_json: JsonLines = False,
    show_values: ShowValues = False,
) -> None:
    """When and with which code the CRM refused a record; with --show-values what it said, which may quote its data.

    Example: [bold]lms-crm dead-letters show --tenant acme --key 1234[/bold]
    """
    with _warehouse(tenant) as (con, most):
        found = list(rejections(con, most, external_id=key))
    if not found:
        complain(f"{tenant} has no refused record with the LMS id {key}")
        raise typer.Exit(Exit.MEND)
    for letter in found:
        if as_json:
            typer.echo(orjson.dumps(_plain(letter, show_values=show_values)))
            continue
        state = "a dead letter" if letter.is_dead else "sent again by the next run"
        typer.echo(f"{letter.object} {letter.external_id} ({letter.operation}): {state}")
        typer.echo(f"  refused {letter.attempts} of {most} times with {letter.code or 'no code'}")
        typer.echo(f"  from {letter.first_rejected_at:%Y-%m-%d %H:%M} to {letter.last_rejected_at:%Y-%m-%d %H:%M} UTC")
        said = letter.message if show_values or not letter.message else MESSAGE
        typer.echo(f"  the CRM said: {said or 'nothing'}")


@dead_letters_app.command("replay")
def replay_letters(
    tenant: Tenant,
    *,
    obj: Object = None,
    code: Code = None,
    key: Key = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters of the tenant.")] = False,
    as_json: JsonObject = False,
) -> None:
    """Let the next run send dead letters again. Say which, or `--all`.

    Example: [bold]lms-crm dead-letters replay --tenant acme --code FIELD_CUSTOM_VALIDATION_EXCEPTION[/bold]
    """
    if not everything and obj is None and code is None and key is None:
        complain("say which dead letters: --object, --code, --key, or --all")
        raise typer.Exit(Exit.WORDS)
    with _warehouse(tenant) as (con, most):
        number = replay(con, most, obj=obj, code=code, external_id=key)
    if not number and not everything:
        complain(f"{tenant} has no such dead letter: lms-crm dead-letters list --tenant {tenant}")
        raise typer.Exit(Exit.MEND)
    if number:
        which = [("object", obj), ("code", code), ("key", safe_key(key) if key else None)]
        subject = f"{number} dead letters" + "".join(f", {name} {value}" for name, value in which if value)
        AuditLog(OperationalStore.at(Settings.from_environ().state_dir)).note(
            person(), "dead-letters.replayed", tenant, subject
        )
    if as_json:
        print_json({"tenant": tenant, "replayed": number})
        return
    if not number:
        typer.echo(f"{tenant} has no dead letters; --refused of the list shows what is sent again by itself")
        return
    what = "dead letter is" if number == 1 else "dead letters are"
    typer.echo(f"{number:,} {what} sent again by the next run: lms-crm reconcile --tenant {tenant}")


@contextmanager
def _warehouse(tenant: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, int]]:
    """The tenant's warehouse, and after how many refusals a record is a dead letter."""
    settings = Settings.from_environ()
    most = load_contract(settings.tenants_dir, tenant).delivery.max_attempts
    with connect(locate(settings, tenant)) as con:
        yield con, most


def _plain(letter: Rejection, *, show_values: bool) -> dict[str, Any]:
    return asdict(letter) if show_values else {**asdict(letter), "message": letter.message and MESSAGE}
