"""`lms-crm backup` and `restore`: the whole state in one folder, and back."""

import os
from pathlib import Path
from typing import Annotated

import typer

from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings

_MIB = 1 << 20


def backup(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for this backup.")]) -> None:
    """Copy warehouses, inbox, operational store, the list of forgotten learners and contracts to a folder, while runs go on.

    The key of LMS_CRM_KEY_FILE is not in it: keep that elsewhere, for without it what is sealed opens for nobody.
    Example: [bold]lms-crm backup /backups/2026-11-27[/bold]
    """
    from lms_crm_assets.backup.saving import back_up  # noqa: PLC0415 - DuckDB takes its time to load

    in_postgres = bool(os.environ.get("LMS_CRM_STORE_URL", "").strip())
    manifest = back_up(Settings.from_environ(), folder, typer.echo, in_postgres=in_postgres)
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
        str | None, typer.Option("--tenant", "-t", help="Only this tenant's warehouse; all else stays as it is.")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Set a state that is there aside, and restore.")] = False,
) -> None:
    """Put a backup back, once everything is stopped. Reconcile afterwards: the CRM is newer than the backup.

    Example: [bold]lms-crm restore /backups/2026-11-27[/bold]
    """
    from lms_crm_assets.backup.restoring import restore as put_back  # noqa: PLC0415 - as above

    done = put_back(Settings.from_environ(), folder, tenant=tenant, force=force)
    typer.echo(f"restored as of {done.manifest.taken_at:%Y-%m-%d %H:%M} UTC: {', '.join(done.tenants) or 'no tenant'}")
    if done.set_aside is not None:
        typer.echo(f"The former state is in {done.set_aside}: delete it when all is well, it holds learner data.")
    for warning in done.warnings:
        typer.echo(warning)
    for name in done.contracts_kept:
        typer.echo(f"{name} differs from the backup's and was left alone: compare it with {folder / 'tenants' / name}")
    if done.manifest.store == "postgres" and tenant is None:
        typer.echo("The operational store was in Postgres: restore its dump of the same time too (pg_restore).")
    typer.echo(
        "Data of learners who were forgotten since then is back in it: lms-crm forget them once more, before all else."
    )
    typer.echo("What was written since then is in the CRM, but not in the ledger. Next, for each tenant:")
    for name in done.tenants:
        typer.echo(f"  lms-crm reconcile --tenant {name}")
    log = AuditLog(OperationalStore.at(Settings.from_environ().state_dir))
    for name in done.tenants:
        log.note(person(), "state.restored", name, f"as of {done.manifest.taken_at:%Y-%m-%dT%H:%MZ}")
