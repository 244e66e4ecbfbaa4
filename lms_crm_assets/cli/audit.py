"""`lms-crm audit`: who or what changed what in the CRM, and what people did beside the runs."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import orjson
import typer
from rich import box
from rich.table import Table

from lms_crm_assets.audit import COLUMNS, Asked, AuditRow, plain_fields, shown, trail
from lms_crm_assets.cli import completion
from lms_crm_assets.cli.console import output_console
from lms_crm_assets.cli.export_files import Format, FormatOption, cell, exporting, target
from lms_crm_assets.cli.options import SHOWN_ROWS, JsonLines, Limit, ShowValues, Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.progress import counted
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.published import reading

_SHORT_ID = 8

audit_app = typer.Typer(
    help="Who or what changed which CRM record, from what to what, when, by which run.", no_args_is_help=True
)
Object = Annotated[CrmObject | None, typer.Option("--object", "-o", help="Of this object only.")]
Record = Annotated[str | None, typer.Option("--record", "-r", help="Of the record with this LMS id only.")]
Since = Annotated[
    datetime | None,
    typer.Option(
        help="Since then only (UTC).",
        metavar="DAY or DAYTHH:MM[:SS]",
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"],
    ),
]
Run = Annotated[
    str | None,
    typer.Option("--run", help="Of this run only: its id, or how it begins.", autocompletion=completion.runs),
]


@audit_app.command("list")
def list_audit(
    tenant: Tenant,
    *,
    record: Record = None,
    obj: Object = None,
    since: Since = None,
    run: Run = None,
    limit: Limit = None,
    show_values: ShowValues = False,
    as_json: JsonLines = False,
) -> None:
    """The newest changes first, a line a field.

    Example: [bold]lms-crm audit list --tenant acme --record 5 --object contact[/bold]
    """
    most = limit if limit is not None or as_json else SHOWN_ROWS
    asked = Asked(obj, record, _in_utc(since), run)
    with _found(tenant, asked, newest_first=True, limit=most, masked=not show_values) as found:
        if as_json:
            for row in found:
                typer.echo(orjson.dumps(_plain(row)).decode())
            return
        output_console().print(_table(found))


@audit_app.command()
def export(
    tenant: Tenant,
    *,
    record: Record = None,
    obj: Object = None,
    since: Since = None,
    run: Run = None,
    fmt: FormatOption = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write there, for nobody else to read; else to stdout.")
    ] = None,
) -> None:
    """All of it with whole values, the oldest first, for auditors. Holds learner data.

    Example: [bold]lms-crm audit export --tenant acme --format ndjson --output audit.ndjson[/bold]
    """
    with (
        _found(tenant, Asked(obj, record, _in_utc(since), run)) as found,
        target(output) as file,
        exporting(tenant, output) as step,
    ):
        number = (_write_csv if fmt is Format.CSV else _write_ndjson)(file, counted(found, step, "lines"))
    AuditLog(_store()).note(person(), "audit.exported", tenant, f"{number} lines")
    if output is not None:
        typer.echo(f"{output}: {number:,} {'line' if number == 1 else 'lines'}; it holds learner data")


@contextmanager
def _found(
    tenant: str, asked: Asked, *, newest_first: bool = False, limit: int | None = None, masked: bool = False
) -> Iterator[Iterator[AuditRow]]:
    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    deeds = AuditLog(_store()).deeds(tenant, asked.since.timestamp() if asked.since else 0.0)
    with reading(settings, tenant) as con:
        rows = trail(con, deeds, asked, newest_first=newest_first, limit=limit)
        plain = plain_fields(contract)
        yield (shown(row, plain) for row in rows) if masked else rows


def _store() -> OperationalStore:
    return OperationalStore.at(Settings.from_environ().state_dir)


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _plain(row: AuditRow) -> dict[str, Any]:
    return dict(zip(COLUMNS, row, strict=True))


def _table(rows: Iterable[AuditRow]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("at (UTC)", "who", "what", "record", "field", "old → new", "outcome", "run"):
        table.add_column(name, overflow="fold")
    for row in rows:
        record = f"{row.object} {row.external_id}" if row.object else (row.subject or "")
        changed = f"{row.old or '(empty)'} → {row.new or '(empty)'}" if row.field else (row.reason or "")
        outcome = f"{row.status} {row.code}" if row.code else (row.status or "")
        table.add_row(
            f"{row.at:%Y-%m-%d %H:%M:%S}",
            row.actor or "",
            row.action,
            record,
            row.field or "",
            changed,
            outcome,
            (row.sync_run_id or "")[:_SHORT_ID],
        )
    return table


def _write_csv(file: TextIO, found: Iterable[AuditRow]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    number = 0
    for number, row in enumerate(found, 1):  # noqa: B007 - it is the count
        writer.writerow([row.at.isoformat(), *map(cell, row[1:])])
    return number


def _write_ndjson(file: TextIO, found: Iterable[AuditRow]) -> int:
    number = 0
    for number, row in enumerate(found, 1):  # noqa: B007 - it is the count
        file.write(orjson.dumps(_plain(row), option=orjson.OPT_APPEND_NEWLINE).decode())
    return number
