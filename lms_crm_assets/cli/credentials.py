"""`lms-crm credentials …`: the secrets of a tenant's contract, without ever showing one."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from lms_crm_assets.cli.console import EXIT_LATER, EXIT_MEND, complain, output_console
from lms_crm_assets.cli.contract_files import tenants_folder
from lms_crm_assets.cli.options import Tenant
from lms_crm_assets.contract.credentials import Resolve, references
from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.errors import CredentialError, LmsCrmError, RetryableError
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.rotation import reseal
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Kept, Vault, kept_in
from lms_crm_assets.settings import Settings

credentials_app = typer.Typer(help="Keep, list, check and re-encrypt credentials.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON array on stdout.")]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MOST_CHARACTERS = 65_536


@dataclass(frozen=True)
class Row:
    """One credential as `list` shows it. `of` is the contract's key, `name` where it lies, `key` the id of its key."""

    of: str
    name: str
    source: str
    state: str
    key: str = ""
    saved: str = ""
    expires: str = ""


@credentials_app.command("set", context_settings={"allow_extra_args": True})
def set_credential(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name behind vault: in the contract.")],
    tenant: Tenant,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day on which it ends, where that is known (UTC).")
    ] = None,
) -> None:
    """Keep a secret in the vault. It is asked for, or read from stdin; it is never an argument, which others could see.

    Example: [bold]lms-crm credentials set crm_secret --tenant acme < secret.txt[/bold]
    """
    if context.args:
        raise typer.BadParameter(
            "the secret is no argument, where every process could read it: it is asked for, or stdin"
        )
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            "a name has small letters, digits, _ and -, and begins with a letter", param_hint="NAME"
        )
    contract = load_contract(tenants_folder(), tenant)
    vault = Vault.opened(_store())
    vault.keep(tenant, name, _entered(name), expires.replace(tzinfo=UTC).timestamp() if expires else None)
    AuditLog(vault.store).note(person(), "credentials.set", tenant, f"vault:{name}")
    typer.echo(f"kept as vault:{name} of {tenant}, sealed with the key {vault.ring.present.id}")
    if all(ref != f"vault:{name}" for _, ref in _references(contract)):
        typer.echo(f"the contract of {tenant} does not name vault:{name} yet")


@credentials_app.command("list")
def list_credentials(tenant: Tenant, *, as_json: AsJson = False) -> None:
    """The credentials of a tenant: where each lies, under which key and since when; never a value."""
    rows = list(_rows(load_contract(tenants_folder(), tenant), _store()))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("of", "name", "source", "state", "key", "saved", "expires"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*asdict(row).values())
    output_console().print(table, highlight=False, markup=False)


@credentials_app.command()
def rotate() -> None:
    """Seal everything with the present key that is not: secrets of all tenants and what was delivered for them.

    Runs and the receiver may go on. It can be stopped and repeated; the former key may go when nothing is left.
    """
    store = _store()
    vault = Vault.opened(store)
    secrets, events = reseal(vault, Inbox.at(Settings.from_environ().state_dir))
    for tenant in tenant_names(tenants_folder()):
        AuditLog(store).note(person(), "credentials.rotated", tenant, f"to the key {vault.ring.present.id}")
    typer.echo(f"sealed anew with the key {vault.ring.present.id}: {secrets.done} secrets, {events.done} events")
    left = secrets.left + events.left
    for key, count in left.items():
        named = f"the key {key}, which is not there" if key else "a key that is not there"
        complain(f"{count} are sealed with {named}: put it as a second line into the file that LMS_CRM_KEY_FILE names")
    raise typer.Exit(EXIT_MEND if left else 0)


@credentials_app.command()
def check(tenant: Tenant) -> None:
    """Whether each credential of the contract is there and the other side accepts it, a line each; exit code 1 if not."""
    from lms_crm_assets.crm.adapters import crm_adapter  # noqa: PLC0415 - the vendors' clients take a second
    from lms_crm_assets.lms.adapters import lms_adapter  # noqa: PLC0415 - as above

    contract, store = load_contract(tenants_folder(), tenant), _store()
    secret_of = secrets_of(tenant, store)
    probes: dict[str, Callable[[], Any]] = {
        "source": lambda: _probe(lms_adapter(contract, store)),
        "destination": lambda: _probe(crm_adapter(contract, store)),
    }
    by_side: dict[str, list[tuple[str, str]]] = {}
    for of, ref in _references(contract):
        by_side.setdefault(of.partition(".")[0], []).append((of, ref))
    worst = 0
    for side, refs in by_side.items():
        missing = {of: trouble for of, ref in refs if (trouble := _trouble(partial(secret_of, ref)))}
        refused = _trouble(probes[side]) if side in probes and not missing else None
        for of, ref in refs:
            trouble = missing.get(of) or refused
            typer.echo(f"{of} ({ref}): {trouble or _fine(contract, side, asked=side in probes and not missing)}")
        for trouble in [*missing.values(), refused]:
            if trouble is not None:
                worst = EXIT_LATER if isinstance(trouble, RetryableError) and worst != EXIT_MEND else EXIT_MEND
    raise typer.Exit(worst)


def _fine(contract: Contract, side: str, *, asked: bool) -> str:
    if asked:
        end = contract.source if side == "source" else contract.destination
        return f"accepted by {end.adapter} at {end.url}"
    if side in {"source", "destination"}:
        return "there; the other side was not asked, since another one is missing"
    return "there; whether it is the right one shows with the first delivery"


def _probe(adapter: Any) -> None:
    try:
        adapter.probe()
    finally:
        adapter.close()


def _trouble(work: Callable[[], Any]) -> LmsCrmError | None:
    try:
        work()
    except LmsCrmError as exc:
        return exc
    return None


def _rows(contract: Contract, store: OperationalStore) -> Iterator[Row]:
    secret_of = secrets_of(contract.tenant, store)
    kept = {each.name: each for each in kept_in(store, contract.tenant) if each.name is not None}
    named = set()
    for of, ref in _references(contract):
        source, _, place = ref.partition(":")
        if source == "vault":
            named.add(place)
            yield _kept(of, ref, kept[place]) if place in kept else Row(of, ref, source, "missing")
        else:
            saved = _moment(Path(place).stat().st_mtime) if source == "file" and Path(place).exists() else ""
            yield Row(of, ref, source, "there" if _is_there(secret_of, ref) else "missing", saved=saved)
    for each in kept_in(store, contract.tenant):
        if each.name is None:
            yield _kept("handed out by the other side", each.kind.partition(" ")[0], each)
        elif each.name not in named:
            yield _kept("not named by the contract", f"vault:{each.name}", each)


def _kept(of: str, name: str, each: Kept) -> Row:
    ends = _moment(each.expires_at) if each.expires_at is not None else ""
    return Row(of, name, "vault", "there", each.key or "without id", _moment(each.saved_at), ends)


def _is_there(secret_of: Resolve, ref: str) -> bool:
    try:
        secret_of(ref)
    except CredentialError:
        return False
    return True


def _references(contract: Contract) -> list[tuple[str, str]]:
    return list(references(contract.model_dump(mode="json", by_alias=True)))


def _entered(name: str) -> str:
    if sys.stdin.isatty():
        text = typer.prompt(f"{name} (not shown)", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.read(_MOST_CHARACTERS + 1)
    found = str(text).strip()
    if not found or len(found) > _MOST_CHARACTERS:
        raise CredentialError(f"stdin holds no secret of 1 to {_MOST_CHARACTERS} characters: nothing was kept")
    return found


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"


def _store() -> OperationalStore:
    return OperationalStore.at(Settings.from_environ().state_dir)
