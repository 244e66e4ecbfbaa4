"""`lms-crm quarantine`: what is refused, why, and what to do; and all of it as a file for whoever mends it."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from itertools import islice
from pathlib import Path
from typing import Annotated, TextIO

import orjson
import typer
from rich import box
from rich.table import Table

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.cli.console import output_console
from lms_crm_assets.cli.export_files import Format, FormatOption, cell, exporting, target
from lms_crm_assets.cli.options import SHOWN_ROWS, JsonLines, Limit, ShowValues, Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.progress import counted
from lms_crm_assets.refusals import KINDS, Layer, Refusal, Wanted, refusals, shown
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.published import reading

quarantine_app = typer.Typer(
    help="Rows and records that are refused, by our checks, for the CRM's schema, or by the CRM.", no_args_is_help=True
)


def _kind(given: str | None) -> str | None:
    if given is not None and given not in KINDS:
        raise typer.BadParameter(f"use one of {', '.join(KINDS)}")
    return given


LayerOption = Annotated[Layer | None, typer.Option("--layer", "-l", help="Refused there only.")]
Kind = Annotated[
    str | None,
    typer.Option("--kind", "-k", callback=_kind, help="Of this entity of the LMS, or object of the CRM, only."),
]
Code = Annotated[str | None, typer.Option("--code", "-c", help="With this code only, ours or the CRM's.")]
Warnings = Annotated[bool, typer.Option("--warnings", help="Also what passed with a warning.")]


@quarantine_app.command("list")
def list_refused(
    tenant: Tenant,
    *,
    layer: LayerOption = None,
    kind: Kind = None,
    code: Code = None,
    warnings: Warnings = False,
    limit: Limit = None,
    show_values: ShowValues = False,
    as_json: JsonLines = False,
) -> None:
    """What is refused at present, since when, and what to do. Personal values are masked.

    Example: [bold]lms-crm quarantine list --tenant acme --code LMS-104[/bold]
    """
    with _found(tenant, Wanted(layer, kind, code, warnings), masked=not show_values) as found:
        if as_json:
            for refusal in islice(found, limit):
                typer.echo(orjson.dumps(asdict(refusal)))
            return
        chosen = sorted(islice(found, limit or SHOWN_ROWS), key=_place)
        left = sum(1 for _ in found)
    if not chosen:
        unknown = f"; {code} is no code of ours, see docs/error-codes.md" if code and code not in CATALOGUE else ""
        typer.echo(f"{tenant} has nothing refused" + (" that fits" if layer or kind or code else "") + unknown)
        return
    console = output_console()
    console.print(_table(chosen))
    for told in dict.fromkeys((each.code, each.rule, each.meaning, each.remedy) for each in chosen):
        console.print("{} {}: {} {}".format(*told), markup=False, highlight=False, soft_wrap=True)
    if left:
        options = {"layer": layer, "kind": kind, "code": code}
        same = "".join(f" --{name} {value}" for name, value in options.items() if value) + " --warnings" * warnings
        typer.echo(f"… and {left:,} more: --limit, --json, or lms-crm quarantine export --tenant {tenant}{same}")


@quarantine_app.command()
def export(
    tenant: Tenant,
    *,
    layer: LayerOption = None,
    kind: Kind = None,
    code: Code = None,
    warnings: Warnings = False,
    fmt: FormatOption = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there, for nobody else to read; else to stdout.")
    ] = None,
) -> None:
    """All that is refused, with its rows and nothing masked, for whoever mends it. Holds learner data.

    Example: [bold]lms-crm quarantine export --tenant acme --format ndjson --output refused.ndjson[/bold]
    """
    with (
        _found(tenant, Wanted(layer, kind, code, warnings), masked=False) as found,
        target(output) as file,
        exporting(tenant, output) as step,
    ):
        number = (_write_csv if fmt is Format.CSV else _write_ndjson)(file, counted(found, step, "refusals"))
    if output is not None:
        typer.echo(f"{output}: {number:,} {'refusal' if number == 1 else 'refusals'}")


@contextmanager
def _found(tenant: str, wanted: Wanted, *, masked: bool) -> Iterator[Iterator[Refusal]]:
    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    with reading(settings, tenant) as con:
        found = refusals(con, contract, wanted)
        yield (shown(each, contract) for each in found) if masked else found


def _place(refusal: Refusal) -> tuple[str, str, str, int, str, str]:
    key = refusal.source_id or ""
    return refusal.code, refusal.rule, refusal.kind, len(key), key, refusal.column or ""


def _table(chosen: Iterable[Refusal]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("code", "rule", "kind", "LMS id", "column", "value", "first seen", "attempts"):
        table.add_column(name, justify="right" if name == "attempts" else "left", overflow="fold")
    for each in chosen:
        table.add_row(
            each.code if each.severity == "error" else f"{each.code} (passed)",
            each.rule,
            each.kind,
            each.source_id or "",
            each.column or "",
            (each.value if each.crm_code is None else each.crm_code) or "",
            f"{each.first_seen_at:%Y-%m-%d %H:%M}",
            "" if each.attempts is None else str(each.attempts),
        )
    return table


def _write_csv(file: TextIO, found: Iterable[Refusal]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(field.name for field in fields(Refusal))
    number = 0
    for number, refusal in enumerate(found, 1):  # noqa: B007 - it is the count
        writer.writerow(map(cell, astuple(refusal)))
    return number


def _write_ndjson(file: TextIO, found: Iterable[Refusal]) -> int:
    number = 0
    for number, refusal in enumerate(found, 1):  # noqa: B007 - it is the count
        file.write(orjson.dumps(asdict(refusal), option=orjson.OPT_APPEND_NEWLINE).decode())
    return number
