"""Putting a backup back: verified before anything is touched, and what it replaces is set aside, not deleted.

The CRM is newer than a restored ledger. The warehouses are marked so that the next run takes what the CRM holds for what
was written last (`delta.restored`), and sends only what still differs.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import duckdb

from lms_crm_assets.backup.carrying import carry_over
from lms_crm_assets.backup.manifest import Entry, Manifest, synced
from lms_crm_assets.backup.places import CONTRACTS, STATE, Places
from lms_crm_assets.backup.users import users
from lms_crm_assets.delta.restored import note_restored
from lms_crm_assets.errors import FatalError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect, held_still
from lms_crm_assets.warehouse.copying import copy_file
from lms_crm_assets.warehouse.copying_out import copy_in, copy_out
from lms_crm_assets.warehouse.generations import drop_lake
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.publishing import FOLDER

_SET_ASIDE = "set-aside"


@dataclass(frozen=True)
class Restored:
    """What was put back. `set_aside`: where the former state is, None where there was none.

    `contracts_kept`: contracts that are there already and say something else than those of the backup. `warnings`: what of
    the former state could not be kept, in plain words.
    """

    manifest: Manifest
    tenants: list[str]
    set_aside: Path | None
    contracts_kept: list[str]
    warnings: list[str]


def restore(settings: Settings, folder: Path, *, tenant: str | None = None, force: bool = False) -> Restored:
    """Put a backup, or one tenant's warehouse of it, into the state folder.

    Of a whole state that is replaced what must not be taken back is kept, see `carrying`.
    `FatalError`, with nothing changed, when the backup is damaged, something still runs, or there is a state already and
    `force` doesn't allow to replace it.
    """
    places, manifest = Places(settings), Manifest.load(folder)
    if tenant is not None and tenant not in manifest.tenants:
        raise FatalError(f"{folder} has no warehouse of {tenant} (it has: {', '.join(manifest.tenants) or 'none'})")
    chosen = [entry for entry in manifest.entries if tenant is None or _is_of(entry, tenant)]
    manifest.check(folder, chosen)
    tenants = manifest.tenants if tenant is None else [tenant]
    replaced = list(_replaced(places, tenants, whole=tenant is None))
    lakes = _lakes(places, {*tenants, *(places.tenants() if tenant is None else [])})
    stores = places.stores() if tenant is None else []
    if (replaced or lakes) and not force:
        there = replaced[0].name if replaced else f"the {lakes[0]}"
        raise FatalError(
            f"{settings.state_dir.absolute()} holds a state already ({there} …): --force sets it aside and restores"
        )
    if busy := list(users(places, {*tenants, *(places.tenants() if tenant is None else [])}, stores)):
        raise FatalError(f"{'; '.join(busy)}: stop all of it first")
    with _disk_troubles(settings.state_dir):
        aside = _set_aside(settings.state_dir, replaced, lakes)
        kept = _put_back(settings, folder, chosen)
        _move_in(places, tenants)
        for name in tenants:
            try:
                with connect(places.warehouse(name)) as con:
                    note_restored(con)
            except duckdb.Error as exc:
                raise FatalError(
                    f"{name}'s warehouse was written by DuckDB {manifest.duckdb}, which this one ({duckdb.__version__})"
                    " can't open: install the version that requirements.lock of then named"
                ) from exc
        whole = tenant is None and aside is not None and manifest.store == "sqlite"
        warnings = carry_over(aside, settings.state_dir) if whole and aside is not None else []
    return Restored(manifest, tenants, aside, kept, warnings)


def _is_of(entry: Entry, tenant: str) -> bool:
    parts = PurePosixPath(entry.path).parts
    return parts[:3] == (STATE, "sync", tenant) or parts == (STATE, "warehouse", f"{tenant}.duckdb")


def _replaced(places: Places, tenants: Sequence[str], *, whole: bool) -> Iterator[Path]:
    """What the backup takes the place of, or what belongs to that."""
    for tenant in sorted({*tenants, *(places.tenants() if whole else [])}):
        yield from places.of_tenant(tenant)
    if whole:
        for store in places.stores():
            yield from sorted(store.parent.glob(f"{store.name}*"))


def _lakes(places: Places, tenants: Iterable[str]) -> list[Lake]:
    """The warehouses that are in a lake, and that the backup takes the place of."""
    found = (places.warehouse(tenant) for tenant in sorted(tenants))
    return [each for each in found if isinstance(each, Lake) and each.exists()]


def _move_in(places: Places, tenants: Sequence[str]) -> None:
    """Bring what was put back as files to where the warehouses lie."""
    for tenant in tenants:
        location = places.warehouse(tenant)
        if not isinstance(location, Path):
            file = places.settings.state_dir / "warehouse" / f"{tenant}.duckdb"
            copy_in(file, location)
            file.unlink()


def _set_aside(state_dir: Path, replaced: Sequence[Path], lakes: Sequence[Lake]) -> Path | None:
    """Move what is replaced into a folder beside it, of lakes a copy as a file; gives that folder."""
    if not replaced and not lakes:
        return None
    folder = state_dir / _SET_ASIDE / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{time.monotonic_ns() % 1000:03}"
    for path in replaced:
        target = folder / path.relative_to(state_dir)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite takes a file's -wal and -shm away when the last one closes it.
        with suppress(FileNotFoundError):
            path.rename(target)
    for lake in lakes:
        target = folder / "warehouse" / f"{lake.tenant}.duckdb"
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with held_still(lake):
            copy_out(lake, target)
            drop_lake(lake)
    # Copies for readers, of a state that is no more.
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    return folder


def _put_back(settings: Settings, folder: Path, entries: Sequence[Entry]) -> list[str]:
    """Copy the files; gives the contracts that are there already with another content."""
    kept = []
    for entry in entries:
        kind, *inside = PurePosixPath(entry.path).parts
        source = folder / entry.path
        if kind == STATE:
            target = settings.state_dir.joinpath(*inside)
        elif kind == CONTRACTS:
            target = settings.tenants_dir.joinpath(*inside)
            if target.exists():
                if target.read_bytes() != source.read_bytes():
                    kept.append(target.name)
                continue
        else:
            raise FatalError(f"{folder} is of another kind of backup: it holds {entry.path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, target)
        synced(target)
    return kept


@contextmanager
def _disk_troubles(state_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise FatalError(
            f"restoring to {state_dir} broke off ({os.strerror(exc.errno or 0)}): mend that and restore once more with --force"
        ) from exc
