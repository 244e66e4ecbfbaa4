"""`lms-crm init`: from two addresses to a contract whose first plan can be read."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich import box
from rich.table import Table

from lms_crm_assets.cli.console import Exit, output_console
from lms_crm_assets.cli.contract_files import AnyEnviron
from lms_crm_assets.contract.loading import parse_contract, tenant_name
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.acceptance import Finding, Severity, accept
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import ContractError, CredentialError, LmsCrmError
from lms_crm_assets.neighbours import REMEDY, neighbours
from lms_crm_assets.ops.secrets import missing_secrets
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.proposal.document import contract_text
from lms_crm_assets.proposal.ends import adapters, completed
from lms_crm_assets.proposal.mapping import ProposedObject, objects_given, propose, usual_names, without_misfits
from lms_crm_assets.settings import Settings

_NOTHING_WRITTEN = "nothing was written yet; --offline writes the contract without asking either side"

Schemas = Mapping[CrmObject, CrmSchema | None]


def init(
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", help="The new tenant's name.")] = None,
    *,
    lms: Annotated[str | None, typer.Option("--lms", help=f"The LMS: {', '.join(adapters('source'))}.")] = None,
    crm: Annotated[str | None, typer.Option("--crm", help=f"The CRM: {', '.join(adapters('destination'))}.")] = None,
    said: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A key of the contract: source.url=https://…, destination.access_token=env:NAME …",
        ),
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option(
            "--object",
            metavar="OBJECT[=NAME]",
            help="Keep this object (and its parents), which the CRM calls NAME: contact, course=My_Course__c … All by default.",
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither side; propose the usual names.")] = False,
    plan: Annotated[bool | None, typer.Option("--plan/--no-plan", help="Show what a first run would write.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: what is not said is an error.")] = False,
) -> None:
    """Set a tenant up: ask for both ends, look at the CRM's fields, propose a mapping, write the contract, show a first plan.

    Nothing is written in the LMS or the CRM. Secrets are never asked for: the contract says where they are kept, by default
    in variables of the environment.
    Example: [bold]lms-crm init --tenant initech --lms moodle --crm hubspot --set source.url=https://lms.initech.com[/bold]
    """
    asks = sys.stdin.isatty() and not yes
    settings = Settings.from_environ()
    tenant = _told("tenant", tenant, "The tenant's name (a word for file names, like acme)", asks=asks)
    path = settings.tenants_dir / f"{tenant_name(tenant)}.yaml"
    if path.exists():
        raise ContractError(f"{path} is there already: choose another name, or take the file away")
    keys = _keys(said or [])
    source = _end(tenant, "source", lms, keys["source"], asks=asks)
    destination = _end(tenant, "destination", crm, keys["destination"], asks=asks)
    called = _called(objects or [])
    wanted = objects_given(source["adapter"], called or None)
    names = usual_names(destination["adapter"], wanted, {obj: name for obj, name in called.items() if name})
    adapter = destination["adapter"]
    proposed = propose(adapter, names, {})
    text = contract_text(tenant, source, destination, proposed)
    try:
        contract = parse_contract(text, path, AnyEnviron(os.environ) if offline else os.environ)
    except ContractError as exc:
        exc.add_note("nothing was written yet; the lines are those that the contract would have")
        raise
    findings: list[Finding] = []
    if not offline:
        proposed, findings = _fitted(contract, path, source, destination, names, settings)
        contract = parse_contract(contract_text(tenant, source, destination, proposed), path, os.environ)
    _show(proposed, findings, asked=not offline)
    if not offline:
        for other in neighbours(contract, settings.tenants_dir, OperationalStore.at(settings.state_dir)):
            typer.echo(f"! {other}; {REMEDY}")
    if asks and not typer.confirm(f"Write {path}?", default=True, err=True):
        raise typer.Exit(Exit.MEND)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(contract_text(tenant, source, destination, proposed, asked=not offline), encoding="utf-8")
    typer.echo(f"Written: {path}")
    _warn_of_contacts(proposed, adapter)
    _go_on(tenant, proposed, offline=offline, plan=plan, asks=asks)


def _warn_of_contacts(proposed: Sequence[ProposedObject], crm: str) -> None:
    """What a first plan can't tell: a contact without the LMS's id is none that it knows."""
    for each in proposed:
        if each.object is CrmObject.CONTACT:
            typer.echo(
                f"! Contacts that {crm} has already are found by {each.match_key} alone, never by their e-mail address: "
                "write the LMS's ids into it before the first run, or that makes them a second time or is refused "
                f'(docs/{crm}.md, "Contacts that are there already")'
            )


def _go_on(tenant: str, proposed: Sequence[ProposedObject], *, offline: bool, plan: bool | None, asks: bool) -> None:
    """The first plan where the CRM has all that it needs, else the next step."""
    if offline:
        typer.echo(f"Next: lms-crm doctor --tenant {tenant}")
        return
    if any(each.lacks for each in proposed):
        typer.echo(
            f"Next: lms-crm crm setup --tenant {tenant} shows what is missing, and makes it where that is possible"
        )
        return
    if plan is None and asks:
        plan = typer.confirm("Show what a first run would write? (Both sides are read; nothing is written.)", err=True)
    if not plan:
        typer.echo(f"Next: lms-crm plan --tenant {tenant} shows what a first run would write")
        return
    from lms_crm_assets.cli.plans import plan as first_plan  # noqa: PLC0415 - Dagster takes a second to import

    first_plan(tenant)


def _fitted(
    contract: Contract,
    path: Path,
    source: Mapping[str, Any],
    destination: Mapping[str, Any],
    names: Mapping[CrmObject, str],
    settings: Settings,
) -> tuple[list[ProposedObject], list[Finding]]:
    """The mapping that fits what the CRM has, and what is still to be said of it."""
    schemas = _discovered(contract, names, settings)
    proposed = propose(destination["adapter"], names, schemas)
    environ = os.environ

    def judged() -> dict[CrmObject, list[Finding]]:
        text = contract_text(contract.tenant, source, destination, proposed)
        fits = parse_contract(text, path, environ)
        return {obj: accept(object_spec(fits, obj), schema) for obj, schema in schemas.items()}

    found = judged()
    proposed = [without_misfits(each, found[each.object]) for each in proposed]
    return proposed, [finding for each in judged().values() for finding in each]


def _discovered(
    contract: Contract, names: Mapping[CrmObject, str], settings: Settings
) -> dict[CrmObject, CrmSchema | None]:
    """What the CRM has of each object, after both sides took the credentials."""
    from lms_crm_assets.crm.adapters import crm_adapter  # noqa: PLC0415 - the vendors' clients take a second
    from lms_crm_assets.preflight import check_both_sides  # noqa: PLC0415 - as above

    store = OperationalStore.at(settings.state_dir)
    if missing := missing_secrets(contract, store):
        refused = CredentialError("; ".join(dict.fromkeys(map(str, missing.values()))))
        refused.add_note(_NOTHING_WRITTEN)
        raise refused
    try:
        unseen = check_both_sides(contract, store)
    except LmsCrmError as exc:
        exc.add_note(_NOTHING_WRITTEN)
        raise exc.with_traceback(None) from None
    for sentence in unseen:
        typer.echo(f"! the LMS: {sentence}")
    crm = crm_adapter(contract, store)
    try:
        return {
            obj: crm.discover(to, [names[parent] for parent in contract.objects[obj].parents])
            for obj, to in names.items()
        }
    finally:
        crm.close()


def _show(proposed: Sequence[ProposedObject], findings: Iterable[Finding], *, asked: bool) -> None:
    console = output_console()

    def there(known: bool) -> str:  # noqa: FBT001 - the one thing it says
        return ("yes" if known else "to be made") if asked else "not asked"

    for each in proposed:
        state = "  (to be made)" if asked and not each.is_there else ""
        table = Table(box=box.SIMPLE_HEAD, title=f"{each.object} → {each.to}{state}", title_justify="left")
        for name in ("CRM field", "←", "owner", "in the CRM"):
            table.add_column(name)
        table.add_row(each.match_key, "source_id", "match key", there(each.has_key))
        for field in each.fields:
            table.add_row(field.crm_field, field.column, field.owner, there(field.is_there))
        console.print(table)
    for finding in findings:
        if finding.severity is Severity.WARNING:
            console.print(f"! {finding.text}", markup=False, highlight=False, soft_wrap=True)


def _end(tenant: str, end: str, adapter: str | None, said: Mapping[str, Any], *, asks: bool) -> dict[str, Any]:
    """One end of the contract, as it was said or asked for."""
    known = adapters(end)
    option = "lms" if end == "source" else "crm"
    question = f"The {option.upper()} ({', '.join(known)})"
    given, adapter = adapter, _told(option, adapter, question, asks=asks)
    while adapter not in known:
        if given or not asks:
            raise typer.BadParameter(f"--{option} is one of {', '.join(known)}")
        adapter = _told(option, None, question, asks=asks)
    values, missing = completed(tenant, end, {"adapter": adapter, **said})
    for name, field in missing:
        if not asks:
            raise typer.BadParameter(f"say --set {end}.{name}=… ({(field.description or name).rstrip('.')})")
        values[name] = typer.prompt(f"{end}.{name}: {field.description}", err=True)
    return values


def _told(option: str, given: str | None, question: str, *, asks: bool) -> str:
    if given:
        return given
    if not asks:
        raise typer.BadParameter(f"say --{option}")
    return str(typer.prompt(question, err=True))


def _keys(said: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`--set source.reports.participants=1` as nested values; words that YAML reads as numbers are numbers."""
    found: dict[str, dict[str, Any]] = {"source": {}, "destination": {}}
    for each in said:
        key, equals, value = each.partition("=")
        end, *path = key.split(".")
        if not equals or end not in found or not path:
            raise typer.BadParameter(
                f"--set {each}: write it like source.url=https://… or destination.api_version=68.0"
            )
        if path == ["adapter"]:
            raise typer.BadParameter(f"--set {each}: say --{'lms' if end == 'source' else 'crm'} instead")
        inner = found[end]
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise typer.BadParameter(f"--set {each}: another --set says that '{name}' is a value, not a section")
        inner[path[-1]] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        loaded = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text
    # 68.0 is a version, and no other text is meant for a number but a whole one.
    return loaded if isinstance(loaded, bool | int) else text


def _called(given: Sequence[str]) -> dict[CrmObject, str]:
    """The objects that a person named, with how the CRM calls them where that was said."""
    return {_object(obj): name for obj, _, name in (each.partition("=") for each in given)}


def _object(name: str) -> CrmObject:
    try:
        return CrmObject(name.strip())
    except ValueError:
        raise typer.BadParameter(f"'{name}' is none of {', '.join(CrmObject)}") from None
