"""`lms-crm credentials …`: the secrets of a tenant's contract, without ever showing one."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from lms_crm_assets.cli.console import Exit, complain, output_console, print_json
from lms_crm_assets.cli.contract_files import tenants_folder
from lms_crm_assets.cli.options import JsonLines, JsonObject, Tenant
from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.errors import CredentialError, LmsCrmError, RetryableError
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.rotation import reseal
from lms_crm_assets.ops.secrets import missing_secrets, references_in
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Kept, Vault, kept_in
from lms_crm_assets.progress import progress
from lms_crm_assets.settings import Settings

credentials_app = typer.Typer(help="Keep, list, check and re-encrypt credentials.", no_args_is_help=True)

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
    *,
    as_json: JsonObject = False,
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
    is_named = any(ref == f"vault:{name}" for _, ref in references_in(contract))
    if as_json:
        key = vault.ring.present.id
        print_json({"tenant": tenant, "name": f"vault:{name}", "key": key, "named_by_contract": is_named})
        return
    typer.echo(f"kept as vault:{name} of {tenant}, sealed with the key {vault.ring.present.id}")
    if not is_named:
        typer.echo(f"the contract of {tenant} does not name vault:{name} yet")


@credentials_app.command("list")
def list_credentials(tenant: Tenant, *, as_json: JsonLines = False) -> None:
    """The credentials of a tenant: where each lies, under which key and since when; never a value.

    Example: [bold]lms-crm credentials list --tenant acme[/bold]
    """
    rows = list(_rows(load_contract(tenants_folder(), tenant), _store()))
    if as_json:
        for row in rows:
            print_json(asdict(row))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("of", "name", "source", "state", "key", "saved", "expires"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*asdict(row).values())
    output_console().print(table, highlight=False, markup=False)


@credentials_app.command()
def rotate(*, as_json: JsonObject = False) -> None:
    """Seal everything with the present key that is not: secrets of all tenants and what was delivered for them.

    Runs and the receiver may go on. It can be stopped and repeated; the former key may go when nothing is left.
    Example: [bold]lms-crm credentials rotate[/bold]
    """
    store = _store()
    vault = Vault.opened(store)
    with progress("Sealing anew"):
        secrets, events = reseal(vault, Inbox.at(Settings.from_environ().state_dir))
    for tenant in tenant_names(tenants_folder()):
        AuditLog(store).note(person(), "credentials.rotated", tenant, f"to the key {vault.ring.present.id}")
    left = secrets.left + events.left
    if as_json:
        done = {"secrets": secrets.done, "events": events.done}
        print_json({"key": vault.ring.present.id, **done, "left": {key or "": count for key, count in left.items()}})
    else:
        typer.echo(f"sealed anew with the key {vault.ring.present.id}: {secrets.done} secrets, {events.done} events")
    for key, count in left.items():
        named = f"the key {key}, which is not there" if key else "a key that is not there"
        complain(f"{count} are sealed with {named}: put it as a second line into the file that LMS_CRM_KEY_FILE names")
    raise typer.Exit(Exit.MEND if left else Exit.OK)


@credentials_app.command()
def check(tenant: Tenant, *, as_json: JsonLines = False) -> None:
    """Whether each credential of the contract is there and the other side accepts it, a line each; exit code 1 if not.

    Example: [bold]lms-crm credentials check --tenant acme[/bold]
    """
    from lms_crm_assets.crm.adapters import crm_adapter  # noqa: PLC0415 - the vendors' clients take a second
    from lms_crm_assets.lms.adapters import lms_adapter  # noqa: PLC0415 - as above

    contract, store = load_contract(tenants_folder(), tenant), _store()
    probes: dict[str, Callable[[], Any]] = {
        "source": lambda: _probe(lms_adapter(contract, store)),
        "destination": lambda: _probe(crm_adapter(contract, store)),
    }
    by_side: dict[str, list[tuple[str, str]]] = {}
    for of, ref in references_in(contract):
        by_side.setdefault(of.partition(".")[0], []).append((of, ref))
    all_missing, worst = missing_secrets(contract, store), Exit.OK
    for side, refs in by_side.items():
        missing = {of: all_missing[of] for of, _ in refs if of in all_missing}
        refused = _trouble(probes[side]) if side in probes and not missing else None
        for of, ref in refs:
            trouble = missing.get(of) or refused
            said = str(trouble or _fine(contract, side, asked=side in probes and not missing))
            if as_json:
                print_json({"of": of, "name": ref, "accepted": trouble is None, "says": said})
            else:
                typer.echo(f"{of} ({ref}): {said}")
        for trouble in [*missing.values(), refused]:
            if trouble is not None:
                worst = Exit.LATER if isinstance(trouble, RetryableError) and worst != Exit.MEND else Exit.MEND
    raise typer.Exit(worst)


def _fine(contract: Contract, side: str, *, asked: bool) -> str:
    if asked:
        end = contract.source if side == "source" else contract.destination
        return f"accepted by {end.adapter} at {end.url}"
    if side in {"source", "destination"}:
        return "there; the other side was not asked, since another one is missing"
    return "there; whether it is the right one shows with the first delivery"


def _probe(adapter: Any) -> None:
    from lms_crm_assets.preflight import told_apart  # noqa: PLC0415 - the vendors' clients take a second

    try:
        with told_apart():
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
    missing, keys = missing_secrets(contract, store), _keys()
    kept = {each.name: each for each in kept_in(store, contract.tenant) if each.name is not None}
    named = set()
    for of, ref in references_in(contract):
        source, _, place = ref.partition(":")
        if source == "vault":
            named.add(place)
            yield _kept(of, ref, kept[place], keys) if place in kept else Row(of, ref, source, "missing")
        else:
            saved = _moment(Path(place).stat().st_mtime) if source == "file" and Path(place).exists() else ""
            yield Row(of, ref, source, "missing" if of in missing else "there", saved=saved)
    for each in kept_in(store, contract.tenant):
        if each.name is None:
            yield _kept("handed out by the other side", each.kind.partition(" ")[0], each, keys)
        elif each.name not in named:
            yield _kept("not named by the contract", f"vault:{each.name}", each, keys)


def _kept(of: str, name: str, each: Kept, keys: frozenset[str]) -> Row:
    ends = _moment(each.expires_at) if each.expires_at is not None else ""
    # What was sealed before keys had ids tells by opening alone.
    opens = each.key is None or each.key in keys
    state = "there" if opens else "sealed with a key that is not there"
    return Row(of, name, "vault", state, each.key or "without id", _moment(each.saved_at), ends)


def _keys() -> frozenset[str]:
    """The ids of the keys that are there; none of them is shown."""
    try:
        return frozenset(key.id for key in KeyRing.of_environment("a secret of the vault has").keys)
    except CredentialError:
        return frozenset()


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
