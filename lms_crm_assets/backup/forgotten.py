"""The list of forgotten learners outlives a restore: the present one is as good as the backup's, and mostly newer.

Whoever is on either of them stays away. The key that their marks are made with lies in the vault, which comes from the backup.
"""

from contextlib import closing, suppress
from pathlib import Path

import apsw

from lms_crm_assets.ops.suppression import VAULT_KIND

FILE = "privacy.sqlite"
"""The list's file in a state folder; `ops.sqlite` beside it holds its keys."""

_KEYS = "ops.sqlite"


def is_kept(file: Path) -> bool:
    """Whether a list is there that can be read, and so stays where it is."""
    if file.name != FILE or not file.exists():
        return False
    try:
        with closing(apsw.Connection(str(file))) as con:
            con.execute("SELECT tenant, mark, person, since FROM forgotten").fetchall()
    except apsw.Error:
        return False
    return True


def add_marks(present: Path, backup: Path) -> None:
    """Add the backup's marks to the list that is there."""
    _add(present, backup, "forgotten (tenant, mark, person, since)", "tenant, mark, person, since FROM added.forgotten")


def add_keys(state_dir: Path, set_aside: Path) -> None:
    """Give the restored vault the keys of lists that are younger than the backup, sealed as they are."""
    columns = "tenant, kind, sealed, saved_at, expires_at"
    if (former := set_aside / _KEYS).exists() and (state_dir / _KEYS).exists():
        # A damaged one may be why somebody restores: then the next run says which key is missing.
        with suppress(apsw.Error):
            chosen = f"{columns} FROM added.credentials WHERE kind = '{VAULT_KIND}'"
            _add(state_dir / _KEYS, former, f"credentials ({columns})", chosen)


def _add(target: Path, source: Path, into: str, chosen: str) -> None:
    with closing(apsw.Connection(str(target))) as con:
        con.execute("ATTACH ? AS added", (str(source),))
        con.execute(f"INSERT OR IGNORE INTO {into} SELECT {chosen}")
