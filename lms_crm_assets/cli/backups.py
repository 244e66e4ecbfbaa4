"""`lms-crm backup` and `restore`: the whole state in one folder, and back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lms_crm_assets.cli import completion
from lms_crm_assets.cli.console import print_json
from lms_crm_assets.cli.options import JsonObject
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.progress import progress
from lms_crm_assets.settings import Settings

if TYPE_CHECKING:
    from lms_crm_assets.backup.restoring import Restored

_MIB = 1 << 20


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for this backup.")],
    *,
    as_json: JsonObject = False,
) -> None:
    """Copy warehouses, inbox, operational store, the list of forgotten learners and contracts to a folder, while runs go on.

    The key of LMS_CRM_KEY_FILE is not in it: keep that elsewhere, for without it what is sealed opens for nobody.
    Example: [bold]lms-crm backup /backups/2026-11-27[/bold]
    """
    from lms_crm_assets.backup.saving import back_up  # noqa: PLC0415 - DuckDB takes its time to load

    in_postgres = bool(os.environ.get("LMS_CRM_STORE_URL", "").strip())
    with progress("Backing up") as step:
        manifest = back_up(Settings.from_environ(), folder, step, in_postgres=in_postgres)
    if as_json:
        told = {"taken_at": manifest.taken_at.isoformat(), "store": manifest.store, "rows": dict(manifest.rows)}
        print_json({"folder": folder, **told, "files": len(manifest.entries), "bytes": manifest.size})
        return
    for tenant, rows in manifest.rows.items():
        typer.echo(f"{tenant}: {rows:,} rows")
    typer.echo(
        f"{len(manifest.entries)} files, {manifest.size / _MIB:,.1f} MiB in {folder}, with their sha256 in manifest.json"
    )
    if in_postgres:
        typer.echo(
            "The operational store and the inbox are in Postgres and not in it: take its dump now, for example with"
            " pg_dump --format=custom --file=lms_crm.dump <database>"
        )
    typer.echo(
        "The key of LMS_CRM_KEY_FILE and the secrets that contracts refer to are not in it: keep them elsewhere."
    )


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a backup.")],
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            "-t",
            help="Only this tenant's warehouse; all else stays as it is.",
            autocompletion=completion.tenants,
        ),
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Set a state that is there aside, and restore.")] = False,
    as_json: JsonObject = False,
) -> None:
    """Put a backup back, once everything is stopped. Reconcile afterwards: the CRM is newer than the backup.

    Example: [bold]lms-crm restore /backups/2026-11-27[/bold]
    """
    from lms_crm_assets.backup.restoring import restore as put_back  # noqa: PLC0415 - as above

    with progress("Restoring"):
        done = put_back(Settings.from_environ(), folder, tenant=tenant, force=force)
    log = AuditLog(OperationalStore.at(Settings.from_environ().state_dir))
    for name in done.tenants:
        log.note(person(), "state.restored", name, f"as of {done.manifest.taken_at:%Y-%m-%dT%H:%MZ}")
    if as_json:
        print_json(
            {
                "taken_at": done.manifest.taken_at.isoformat(),
                "tenants": done.tenants,
                "set_aside": done.set_aside,
                "contracts_kept": done.contracts_kept,
                "warnings": done.warnings,
            }
        )
        return
    _show(done, folder, whole=tenant is None)


def _show(done: "Restored", folder: Path, *, whole: bool) -> None:
    typer.echo(f"restored as of {done.manifest.taken_at:%Y-%m-%d %H:%M} UTC: {', '.join(done.tenants) or 'no tenant'}")
    if done.set_aside is not None:
        typer.echo(f"The former state is in {done.set_aside}: delete it when all is well, it holds learner data.")
    for warning in done.warnings:
        typer.echo(warning)
    for name in done.contracts_kept:
        typer.echo(f"{name} differs from the backup's and was left alone: compare it with {folder / 'tenants' / name}")
    if done.manifest.store == "postgres" and whole:
        typer.echo("The operational store was in Postgres: restore its dump of the same time too (pg_restore).")
    typer.echo(
        "Data of learners who were forgotten since then is back in it: lms-crm forget them once more, before all else."
    )
    typer.echo("What was written since then is in the CRM, but not in the ledger. Next, for each tenant:")
    for name in done.tenants:
        typer.echo(f"  lms-crm reconcile --tenant {name}")
