"""A tenant's warehouse in MotherDuck: a database of its own there, written by one process of this state folder at a time.

MotherDuck's ATTACH (motherduck.com/docs/sql-reference/motherduck-sql-reference/attach): its databases have no other name than
their own, and must be there; the first ATTACH of one alone leaves all others alone.
"""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import duckdb

from lms_crm_assets.errors import CredentialError, FatalError
from lms_crm_assets.warehouse.busy import busy
from lms_crm_assets.warehouse.extensions import load
from lms_crm_assets.warehouse.sql import literal, quoted

_TOKENS = ("motherduck_token", "MOTHERDUCK_TOKEN")
_WHICH = "{tenant}"


@dataclass(frozen=True)
class MotherDuck:
    """One tenant's database."""

    tenant: str
    database: str
    folder: Path

    @classmethod
    def of(cls, text: str, tenant: str, folder: Path) -> Self:
        """Read `md:name_{tenant}`; `FatalError`, which doesn't quote it, where it isn't one or holds a token."""
        database = text.removeprefix("md:")
        if "token" in database.casefold() or "?" in database:
            raise FatalError(
                "LMS_CRM_WAREHOUSE takes no options after md:name_{tenant}, and no token, which is shown in many places: set"
                " motherduck_token in the environment"
            )
        if _WHICH not in database or not database.replace(_WHICH, "").replace("_", "a").replace("-", "a").isalnum():
            raise FatalError(
                "LMS_CRM_WAREHOUSE names no MotherDuck database of a tenant's own: write md:lms_crm_{tenant}"
            )
        return cls(tenant, database.replace(_WHICH, tenant), folder)

    @property
    def name(self) -> str:
        """The database's."""
        return self.database

    @property
    def catalog(self) -> str:
        """Its own name: MotherDuck gives its databases no other."""
        return quoted(self.database)

    @property
    def scratch(self) -> Path:
        """Where DuckDB may write what doesn't fit its memory."""
        return self.folder / f"{self.tenant}.tmp"

    def __str__(self) -> str:
        return f"MotherDuck database {self.database}"

    def exists(self) -> bool:
        """Whether this state folder ever opened it: to ask MotherDuck takes a session of a second."""
        return self._lock.exists()

    def tenants(self) -> list[str]:
        """`FatalError`: MotherDuck keeps its own history, see `docs/warehouse.md`."""
        raise FatalError(
            "lms-crm does not back up MotherDuck: its databases have snapshots of their own (docs/warehouse.md)"
        )

    def identity(self) -> tuple[int, int]:
        """The same always."""
        return (0, 1)

    def hold(self) -> Callable[[], None]:
        """Keep other processes of this state folder from writing it; `RetryableError` at once while one does."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._lock.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise busy(self.name) from None
        return lock.close

    def attach(self, con: duckdb.DuckDBPyConnection, *, read_only: bool = False) -> None:
        """Attach it. `CredentialError` without a token, `FatalError` where MotherDuck has no such database for it."""
        if not any(os.environ.get(name) for name in _TOKENS):
            raise CredentialError(
                "LMS_CRM_WAREHOUSE names MotherDuck, and there is no token: set motherduck_token in the environment"
            )
        con.execute("SET enable_progress_bar = false")
        load(con, "motherduck")
        try:
            con.execute(f"ATTACH {literal(f'md:{self.database}')}{' (READ_ONLY)' if read_only else ''}")
        except duckdb.Error as exc:
            told = type(exc).__name__
        else:
            return
        # Outside of the block: what MotherDuck says may quote the token.
        raise FatalError(
            f"MotherDuck does not open {self.database} ({told}): make it with CREATE DATABASE {self.catalog}, and see that the"
            " token is of a user who owns it, for reading and writing (docs/warehouse.md)"
        )

    def is_made(self, schema: str) -> bool:  # noqa: ARG002 - as the others
        """Not known: its tables are made once a process."""
        return False

    def note_made(self, schema: str) -> None:
        """Nothing: as above."""

    @property
    def _lock(self) -> Path:
        return self.folder / f"{self.tenant}.motherduck"
