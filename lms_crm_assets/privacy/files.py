"""Files of the state folder that hold learner data beside the warehouse: what landed, copies, spools, shares of runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from lms_crm_assets.ops.lanes import Lane, is_taken
from lms_crm_assets.report.making import FOLDER as REPORTS
from lms_crm_assets.warehouse.publishing import FOLDER as COPIES
from lms_crm_assets.warehouse.publishing import Shelf

_LANDING = "landing"


def erase_files(state_dir: Path, tenant: str, *, dry_run: bool) -> dict[str, int]:
    """Remove them, while no run of the tenant is at work; gives how many by folder. Reports are made anew when asked for.

    The journals of `sync` were folded into the warehouse before: those that are left are of objects that nobody maps.
    """
    counts = {}
    for purpose, found in _of_tenant(state_dir, tenant):
        if found:
            counts[purpose] = len(found)
        for file in found if not dry_run else ():
            file.unlink(missing_ok=True)
    if not dry_run:
        Shelf(state_dir / COPIES, tenant).clear()
    return counts


def _of_tenant(state_dir: Path, tenant: str) -> Iterator[tuple[str, list[Path]]]:
    """What lies in each folder, but for the ids of jobs under way in the CRM."""
    for purpose in (_LANDING, "events", COPIES, "sync", "warehouse", REPORTS):
        folder = state_dir / purpose / (f"{tenant}.tmp" if purpose == "warehouse" else tenant)
        yield purpose, [file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".jobs"]


def purge_files(
    state_dir: Path, tenant: str, older_than: float, reports_older_than: float, *, dry_run: bool
) -> dict[str, int]:
    """Remove what dead runs left before that moment (seconds since 1970), and old reports. The copy is `publish`'s to renew.

    What a run has that is at work now is younger, and its lane's folder is left alone.
    """
    counts: dict[str, int] = {}
    busy = [lane for lane in Lane if is_taken(state_dir / "locks" / tenant, lane)]
    for purpose, files in _of_tenant(state_dir, tenant):
        if purpose == COPIES or (busy and purpose not in {_LANDING, REPORTS}):
            continue
        for file in files:
            if purpose == _LANDING and any(lane.value in file.parts for lane in busy):
                continue
            # Journals wait for the next run, however long that takes.
            oldest = reports_older_than if purpose == REPORTS else older_than
            if _changed_at(file) < oldest and not (purpose == "sync" and file.suffix == ".ndjson"):
                counts[purpose] = counts.get(purpose, 0) + 1
                if not dry_run:
                    file.unlink(missing_ok=True)
    return counts


def purge_set_aside(state_dir: Path, older_than: float, *, dry_run: bool) -> int:
    """Remove the former states that restores set aside before that moment; gives how many."""
    found = [each for each in (state_dir / "set-aside").glob("*") if _changed_at(each) < older_than]
    for folder in found if not dry_run else ():
        shutil.rmtree(folder, ignore_errors=True)
    return len(found)


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # it went meanwhile
        return float("inf")
