"""The machine's side: folders, the key, Dagster's home, the operational store, room on the disk."""

import difflib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import apsw
import duckdb
from pydantic import SecretStr

from lms_crm_assets.contract.loading import tenant_names
from lms_crm_assets.doctor.verdict import Verdict, fail, ok, warn
from lms_crm_assets.errors import FatalError, LmsCrmError
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OPS
from lms_crm_assets.settings import VARIABLES, Settings
from lms_crm_assets.warehouse.connection import held_still
from lms_crm_assets.warehouse.location import Remote, locate

_MIB = 1 << 20
# Of the key that `lms-crm sandbox` prints.
_SANDBOX_KEY_ID = "649b77b2"
# A full pull lands as files and is then loaded, and DuckDB writes beside what it replaces.
_TIMES_THE_WAREHOUSES = 2
_PREFIX = "LMS_CRM_"
_ALIKE = 0.8
_OF_ANOTHER = "run this as the user whose runs made it, or give this user the right"
_LEAST_FREE, _FULL = 1024 * _MIB, 200 * _MIB


def settings_stand(settings: Settings, environ: Mapping[str, str]) -> Iterator[Verdict]:
    """What the environment names: each is there, and may be used."""
    yield _tenants_dir(settings.tenants_dir)
    yield _state_dir(settings.state_dir)
    yield from _key(environ)
    yield from _strangers(environ, settings.tenants_dir)
    yield _dagster_home(environ)
    yield _store(settings, environ)


def room(settings: Settings) -> Verdict:
    """Whether the disk of the state folder holds another run or two."""
    free = shutil.disk_usage(_nearest(settings.state_dir)).free
    files = settings.state_dir.glob("warehouse/*.duckdb") if is_there(settings.state_dir) else ()
    held = sum(file.stat().st_size for file in files)
    wanted = max(_LEAST_FREE, _TIMES_THE_WAREHOUSES * held)
    says = f"{free // _MIB:,} MiB free where the state is, warehouses hold {held // _MIB:,} MiB"
    remedy = "make room: delete old backups and set-aside states, or move LMS_CRM_STATE_DIR (docs/runbook.md, The disk is full)"
    if free < _FULL:
        return fail("disk", says, remedy)
    return (
        warn("disk", f"{says}; a full run may need {wanted // _MIB:,}", remedy) if free < wanted else ok("disk", says)
    )


def warehouse(settings: Settings, tenant: str) -> Verdict:
    """Whether the tenant's warehouse opens, read only."""
    try:
        file = locate(settings, tenant)
        if not isinstance(file, Path):
            return _remote(file)
    except LmsCrmError as exc:
        return fail("warehouse", str(exc), "mend LMS_CRM_WAREHOUSE: docs/warehouse.md")
    if not is_there(file):
        return ok("warehouse", "none yet: the first reconciliation makes it")
    if not os.access(file, os.R_OK | os.W_OK) or not file.is_file():
        return fail("warehouse", f"{file} can't be read and written by this user", _OF_ANOTHER)
    try:
        with held_still(file):
            return ok("warehouse", f"{file.stat().st_size // _MIB:,} MiB, opens")
    except FatalError as exc:
        return fail("warehouse", str(exc), f"lms-crm restore DIR --tenant {tenant} --force, then reconcile")
    except LmsCrmError:
        return ok("warehouse", f"{file.stat().st_size // _MIB:,} MiB, open in a run")


def _remote(location: Remote) -> Verdict:
    if not location.exists():
        return ok("warehouse", "none yet: the first reconciliation makes it")
    with duckdb.connect() as con:
        location.attach(con, read_only=True)
    return ok("warehouse", f"{location}, opens")


def is_reconciled(settings: Settings, tenant: str) -> bool:
    """Whether the tenant has a warehouse, as far as this user can see."""
    try:
        location = locate(settings, tenant)
        return is_there(location) if isinstance(location, Path) else location.exists()
    except LmsCrmError:
        return False


def is_there(path: Path) -> bool:
    """Whether this user can see that it is: one that lies in a folder of somebody else's is none, and no error."""
    return os.access(path, os.F_OK)


def _tenants_dir(folder: Path) -> Verdict:
    if is_there(folder) and not os.access(folder, os.R_OK | os.X_OK):
        return fail("tenants", f"{folder.absolute()} can't be read by this user", _OF_ANOTHER)
    if not is_there(folder) or not folder.is_dir():
        return fail(
            "tenants",
            f"there is no folder {folder.absolute()}",
            "go to the project's folder, or set LMS_CRM_TENANTS_DIR",
        )
    names = tenant_names(folder)
    if not names:
        return fail(
            "tenants", f"no contract in {folder.absolute()}", "copy an example: README.md, Connect your own systems"
        )
    return ok("tenants", f"{len(names)} in {folder.absolute()}: {', '.join(names)}")


def _state_dir(folder: Path) -> Verdict:
    where = _nearest(folder)
    if is_there(folder) and not folder.is_dir():
        return fail("state", f"{folder.absolute()} is no folder", "set LMS_CRM_STATE_DIR to a folder")
    if not os.access(where, os.W_OK | os.X_OK):
        return fail("state", f"{where} can't be written", "give this user the right, or set LMS_CRM_STATE_DIR")
    if not is_there(folder):
        return ok("state", f"{folder.absolute()} will be made")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IWOTH:
        return warn("state", f"{folder.absolute()} may be written by everybody ({mode:o})", f"chmod 700 {folder}")
    return ok("state", f"{folder.absolute()}, writable")


def _key(environ: Mapping[str, str]) -> Iterator[Verdict]:
    file = environ.get("LMS_CRM_KEY_FILE")
    try:
        present = KeyRing.of_environment("what is sealed has", environ).present
    except LmsCrmError as exc:
        if file or environ.get("LMS_CRM_KEY"):
            yield fail("key", str(exc), "mend the file that LMS_CRM_KEY_FILE names" if file else "mend LMS_CRM_KEY")
        else:
            yield warn(
                "key",
                "there is none: webhooks and tokens that rotate need one",
                "head -c 32 /dev/urandom | base64 > FILE; chmod 400 FILE; export LMS_CRM_KEY_FILE=FILE",
            )
        return
    if present.id == _SANDBOX_KEY_ID:
        remedy = "for data of real learners make one of your own: docs/credentials.md"
        yield warn("key", "it is the sandbox's, which lms-crm prints for everybody", remedy)
        return
    if not file:
        yield ok("key", "from LMS_CRM_KEY; a file of LMS_CRM_KEY_FILE is out of a process list's reach")
        return
    mode = stat.S_IMODE(Path(file).stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield warn("key", f"{file} may be read by others than its owner ({mode:o})", f"chmod 400 {file}")
    else:
        yield ok("key", f"{file}, for its owner alone")


def _strangers(environ: Mapping[str, str], contracts: Path) -> Iterator[Verdict]:
    """Variables that look like ours and are read by nobody: mistyped ones. What a contract names is no stranger."""
    found = {name for name in environ if name.startswith(_PREFIX)} - set(VARIABLES)
    if not found:
        return
    known = {name.removeprefix(_PREFIX): name for name in VARIABLES}
    named = " ".join(file.read_text(encoding="utf-8", errors="replace") for file in _files(contracts))
    for name in sorted(name for name in found if not re.search(rf"\b{name}\b", named)):
        near = difflib.get_close_matches(name.removeprefix(_PREFIX), known, n=1, cutoff=_ALIKE)
        remedy = f"write {known[near[0]]}, or unset it" if near else "unset it; docs/settings.md has all that are read"
        yield warn("settings", f"nothing reads {name}", remedy)


def _files(contracts: Path) -> Iterator[Path]:
    return (file for file in contracts.glob("*.yaml") if file.is_file() and os.access(file, os.R_OK))


def _dagster_home(environ: Mapping[str, str]) -> Verdict:
    home = environ.get("DAGSTER_HOME")
    if home is None:
        if Path("dagster.yaml").is_file():
            return ok("dagster", f"DAGSTER_HOME is not set: commands take {Path.cwd()}")
        return fail("dagster", "there is no dagster.yaml here", "go to the project's folder, or set DAGSTER_HOME")
    folder = Path(home)
    if not folder.is_absolute() or not folder.is_dir():
        return fail("dagster", f"DAGSTER_HOME={home} is no absolute path of a folder", "set it to the project's folder")
    if not (folder / "dagster.yaml").is_file():
        return warn(
            "dagster", f"no dagster.yaml in {folder}", "copy the project's: it keeps one run a tenant at a time"
        )
    return ok("dagster", f"DAGSTER_HOME={folder}")


def _store(settings: Settings, environ: Mapping[str, str]) -> Verdict:
    url = environ.get("LMS_CRM_STORE_URL", "").strip()
    if url:
        from lms_crm_assets.ops.postgres import Postgres  # noqa: PLC0415 - the driver takes a tenth of a second to load

        try:
            where = Postgres(SecretStr(url), OPS, builds=False).where
        except LmsCrmError as exc:
            return fail("store", str(exc), "docs/operational-store.md")
        return ok("store", where)
    file = settings.state_dir / "ops.sqlite"
    if not is_there(file):
        return ok("store", "none yet: the first command that calls out makes it")
    try:
        con = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            con.set_busy_timeout(5000)
            found = con.execute("PRAGMA quick_check").fetchall()
        finally:
            con.close()
    except apsw.Error as exc:
        return fail("store", f"{file} can't be read ({type(exc).__name__})", "docs/runbook.md, A damaged file")
    if found != [("ok",)]:
        return fail("store", f"{file} is damaged", "docs/runbook.md, A damaged file")
    return ok("store", f"{file}, sound")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    found = folder.absolute()
    while not is_there(found):
        found = found.parent
    return found
