"""`lms-crm tenants …`: looking at the contracts, and at how they fit the CRM."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from lms_crm_assets.cli.console import Exit, print_json
from lms_crm_assets.cli.contract_files import AnyEnviron, tenants_folder
from lms_crm_assets.cli.options import JsonLines, JsonObject, Tenant
from lms_crm_assets.contract.deprecations import Deprecation, deprecations
from lms_crm_assets.contract.document import Document
from lms_crm_assets.contract.loading import contract_file, load_contract, load_with_lines, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.overview import MappedField, mapped_fields
from lms_crm_assets.crm.acceptance import Finding, Severity, unmapped
from lms_crm_assets.crm.discovery import CrmField
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import ContractError
from lms_crm_assets.neighbours import REMEDY, neighbours
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings

tenants_app = typer.Typer(help="Look at the tenants' contracts.", no_args_is_help=True)


@tenants_app.command("list")
def list_tenants(*, as_json: JsonLines = False) -> None:
    """The tenants that have a contract.

    Example: [bold]lms-crm tenants list[/bold]
    """
    names = tenant_names(tenants_folder())
    if not names:
        raise ContractError(
            f"there are no contracts in {tenants_folder().absolute()}: go to the project's folder, or set LMS_CRM_TENANTS_DIR"
        )
    for name in names:
        if as_json:
            print_json({"tenant": name, "file": tenants_folder() / f"{name}.yaml"})
        else:
            typer.echo(name)


@tenants_app.command("validate")
def validate(tenant: Tenant, *, as_json: JsonObject = False) -> None:
    """Check a contract, that both sides answer, and that the CRM can hold what it names.

    Every trouble is one line with the file, the line and what to do, and a note what is deprecated. Exit code 1 when one
    of them is an error.
    Example: [bold]lms-crm tenants validate --tenant acme[/bold]
    """
    from lms_crm_assets.crm.examine import examine  # noqa: PLC0415 - the vendors' clients take a second
    from lms_crm_assets.preflight import check_both_sides  # noqa: PLC0415 - as above

    path = contract_file(tenants_folder(), tenant)
    try:
        contract, document = load_with_lines(tenants_folder(), tenant)
    except ContractError as exc:
        if not as_json:
            raise
        nothing: dict[str, Any] = {"findings": [], "unseen": [], "neighbours": [], "notes": []}
        print_json({"tenant": tenant, "valid": False, "mistakes": str(exc).splitlines(), **nothing})
        raise typer.Exit(Exit.MEND) from None
    unseen = check_both_sides(contract, _store())
    findings = [finding for found in examine(contract, _store()).values() for finding in found.findings]
    others = list(neighbours(contract, tenants_folder(), _store()))
    going = list(deprecations(document.content))
    failed = any(finding.severity is Severity.ERROR for finding in findings)
    if as_json:
        told = [{**asdict(f), "file": str(path), "line": document.line_of(f.path)} for f in findings]
        notes = [_note(path, document, each) for each in going]
        print_json(
            {
                "tenant": tenant,
                "valid": not failed,
                "mistakes": [],
                "findings": told,
                "unseen": unseen,
                "neighbours": others,
                "notes": notes,
            }
        )
    else:
        for line in _lines(path, document, findings):
            typer.echo(line)
        for sentence in unseen:
            typer.echo(f"{path}:{document.line_of(('source',))}: warning: source: {sentence}")
        for other in others:
            typer.echo(f"{path}:{document.line_of(('destination',))}: warning: destination: {other}; {REMEDY}")
        if contract.mode != "pull" and not contract.has_inbox:
            typer.echo(
                f"{path}:{document.line_of(('mode',))}: warning: mode: nobody may tell of changes: webhooks.lms and clients"
                " are empty"
            )
        for each in going:
            typer.echo(_note(path, document, each)["text"])
        if not failed:
            but = f"; what the LMS does not show is above, and lms-crm doctor --tenant {tenant} tells what stops runs"
            typer.echo(
                f"{tenant}: the contract is valid, both sides answer, and the CRM can hold what it names{but if unseen else ''}"
            )
        else:
            typer.echo(
                f"What the CRM lacks: lms-crm crm setup --tenant {tenant} shows it, and makes it where that is possible"
            )
    raise typer.Exit(Exit.MEND if failed else Exit.OK)


@tenants_app.command("show")
def show(tenant: Tenant, *, as_json: JsonObject = False) -> None:
    """The contract as it is understood: for each object, CRM field ← source, owner and type.

    Example: [bold]lms-crm tenants show --tenant acme[/bold]
    """
    contract = load_contract(tenants_folder(), tenant, AnyEnviron(os.environ))
    rows = {obj: mapped_fields(contract, obj) for obj in contract.in_order()}
    if as_json:
        mapped = {obj: [asdict(row) for row in found] for obj, found in rows.items()}
        print_json({"contract": contract.model_dump(mode="json", by_alias=True), "mapped": mapped})
        return
    console = _console()
    for line in _summary(contract):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for obj, found in rows.items():
        mapping = contract.objects[obj]
        console.print(_mapped_table(f"{obj} → {mapping.to}  ({mapping.mode})", found))


@tenants_app.command("diff")
def diff(tenant: Tenant, *, as_json: JsonObject = False) -> None:
    """The contract beside the CRM's schema, with the CRM's fields that are not mapped.

    Example: [bold]lms-crm tenants diff --tenant acme[/bold]
    """
    from lms_crm_assets.crm.examine import examine  # noqa: PLC0415 - as above

    contract = load_contract(tenants_folder(), tenant)
    told: dict[str, Any] = {}
    console = _console()
    for obj, found in examine(contract, _store()).items():
        fields = found.schema.fields if found.schema else {}
        free = unmapped(found.spec, found.schema) if found.schema else []
        rows = mapped_fields(contract, obj)
        told[obj] = {
            "to": found.spec.to,
            "exists": found.schema is not None,
            "mapped": [{**asdict(row), "crm": _as_dict(fields.get(row.crm_field))} for row in rows],
            "unmapped": [_as_dict(field) for field in free],
            "findings": [asdict(finding) for finding in found.findings],
        }
        if not as_json:
            console.print(_compared_table(obj, found.spec.to, rows, fields, found.findings, free))
    if as_json:
        print_json({"tenant": tenant, "objects": told})


def _store() -> OperationalStore:
    return OperationalStore.at(Settings.from_environ().state_dir)


def _lines(path: Path, document: Document, findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        if finding.severity is not Severity.NOTE:
            yield f"{path}:{document.line_of(finding.path)}: {finding.severity}: {finding.text}"


def _note(path: Path, document: Document, going: Deprecation) -> dict[str, Any]:
    """What a contract should not say any more; its `text` is the line that people read."""
    line = document.line_of(going.path)
    return {**asdict(going), "file": str(path), "line": line, "text": f"{path}:{line}: note: {going.text}"}


def _summary(contract: Contract) -> Iterator[str]:
    source, destination, guards = contract.source, contract.destination, contract.guardrails
    yield f"{contract.tenant}: {contract.description or 'no description'}"
    yield f"  {source.adapter} at {source.url} → {destination.adapter} at {destination.url}, mode {contract.mode}"
    yield (
        f"  full: {contract.schedules.full} · incremental: {contract.schedules.incremental} (cron, UTC)"
        f" · fresh within {contract.sla.freshness_minutes} minutes · kept {contract.retention_days} days"
    )
    lms, crm = contract.throttle.lms.calls_per_second, contract.throttle.crm.calls_per_10_seconds
    yield (
        f"  asked at most: LMS {f'{lms:g} calls a second' if lms else 'as fast as it answers'}, CRM "
        + (f"{crm:,} calls in 10 seconds" if crm else "at the pace of its adapter")
        + f" · unknown attributes: {contract.unknown_attributes}"
    )
    yield (
        f"  a plan may update {_limit(guards.max_update_share, guards.max_updates)} and archive"
        f" {_limit(guards.max_archive_share, guards.max_archives)} of an object's records, and use"
        f" {guards.quota_share:.0%} of the day's calls; {'sent at once' if guards.auto_apply else 'sent when approved'}"
    )


def _limit(share: float, most: int | None) -> str:
    return f"{share:.0%}" if most is None else f"{share:.0%} (at most {most:,})"


def _mapped_table(title: str, rows: Iterable[MappedField]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for name in ("CRM field", "←", "owner", "type", "details"):
        table.add_column(name, overflow="fold")
    for row in rows:
        personal = "personal" if row.pii else ""
        details = "; ".join(part for part in (row.details, personal) if part)
        table.add_row(row.crm_field, row.source, row.owner, row.type, details)
    return table


def _compared_table(
    obj: CrmObject,
    to: str,
    rows: Iterable[MappedField],
    fields: dict[str, CrmField] | Any,
    findings: Iterable[Finding],
    free: Iterable[CrmField],
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"{obj} → {to}", title_justify="left")
    for name in ("CRM field", "CRM type", "← contract", "type", "finding"):
        table.add_column(name, overflow="fold")
    # A finding of a field or parent stands in its row, another under the table's last one.
    told: dict[str, list[Finding]] = {}
    for finding in findings:
        told.setdefault(finding.path[-1], []).append(finding)
    for row in rows:
        names = ("match_key",) if row.owner == "match key" else (row.crm_field, row.source.partition(" by ")[0])
        own = [finding for name in names for finding in told.pop(name, [])]
        table.add_row(row.crm_field, _crm_type(fields.get(row.crm_field)), row.source, row.type, _said(own) or "ok")
    for finding in (finding for rest in told.values() for finding in rest):
        table.add_row("", "", "", "", _said([finding]))
    for field in free:
        table.add_row(field.name, _crm_type(field), "", "", "not mapped")
    return table


def _said(findings: Iterable[Finding]) -> str:
    return "\n".join(f"{f.severity}: {f.message}; {f.remedy}" for f in findings)


def _crm_type(field: CrmField | None) -> str:
    if field is None:
        return ""
    size = f"({field.length})" if field.length else ""
    marks = [word for word, holds in (("required", field.required), ("unique", field.unique)) if holds]
    return " ".join([f"{field.type}{size}", *marks])


def _as_dict(field: CrmField | None) -> dict[str, Any] | None:
    return None if field is None else asdict(field)


def _console() -> Console:
    """Rich's console; a pipe or a file gets lines long enough for the tables."""
    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, 140))
