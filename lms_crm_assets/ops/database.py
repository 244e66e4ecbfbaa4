"""What an operational store asks of the database behind it, and the tables that it finds there.

SQL is written once, in words that SQLite and Postgres both know: `?` for a value, `INSERT … ON CONFLICT … DO UPDATE`,
`RETURNING`, the types TEXT, BIGINT, DOUBLE PRECISION and BLOB, `INTEGER PRIMARY KEY AUTOINCREMENT` for a row's number; no
scalar `max`, no rowid, no `INSERT OR REPLACE`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import apsw

from lms_crm_assets.errors import FatalError

Run = Callable[..., list[tuple[Any, ...]]]
"""Runs SQL with its values, and gives the rows."""

VERSIONS = "lms_crm_schemas"
"""The table that tells how far each schema is built."""


@dataclass(frozen=True)
class Schema:
    """Tables that belong together; `name` is the SQLite file's, and what Postgres's locks are named after.

    `steps` build the tables, each upon those before it. A step that was released is not changed any more: what differs
    comes as a new one (`ALTER TABLE …`), so that a store of an older version is brought up to date when it is opened.
    """

    name: str
    steps: tuple[str, ...]

    def columns(self) -> Mapping[str, list[str]]:
        """The columns of each table once all steps are done."""
        built = apsw.Connection(":memory:")
        for step in self.steps:
            built.execute(step)
        tables = [name for (name,) in built.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            table: [column for (column,) in built.execute("SELECT name FROM pragma_table_info(?)", (table,))]
            for table in tables
            if not table.startswith("sqlite_")
        }
        built.close()
        return found


class Database(Protocol):
    """One process's way to the database; its methods may be called from several threads."""

    clock_ahead_seconds: float
    """How far the clock that all processes go by is ahead of this machine's."""

    def transaction(self, *, on: str | None, durable: bool) -> AbstractContextManager[Run]:
        """See `OperationalStore.transaction`."""
        ...

    def read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        ...

    def lock(self, name: str) -> AbstractContextManager[Callable[[], bool]]:
        """Gives a function that tries to take the lock of that name; once taken it is held until the block ends."""
        ...

    def scrub(self) -> None:
        """Take the bytes of deleted rows off the disk, as far as the database lets us."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


def built(run: Run, schema: Schema, columns_of: Callable[[str], set[str]], where: str) -> bool:
    """Whether the schema's tables are there as this version needs them; `FatalError` when they are a newer version's."""
    if not columns_of(VERSIONS):
        return False
    found = run(f"SELECT version FROM {VERSIONS} WHERE name = ?", (schema.name,))
    if found and found[0][0] > len(schema.steps):
        raise FatalError(
            f"{where} was written by a newer version of lms-crm (its {schema.name} tables are version {found[0][0]}, this"
            f" one knows {len(schema.steps)}): upgrade this machine too"
        )
    return bool(found) and found[0][0] == len(schema.steps)


def build(run: Run, schema: Schema, columns_of: Callable[[str], set[str]], where: str) -> None:
    """Bring the schema's tables up to date, inside a transaction that nobody builds beside.

    The tables of a store that is older than versions are taken over when they have the columns; `FatalError` when a table
    of that name has others, which nobody may touch.
    """
    if built(run, schema, columns_of, where):
        return  # somebody else was quicker
    run(f"CREATE TABLE IF NOT EXISTS {VERSIONS} (name TEXT PRIMARY KEY, version BIGINT NOT NULL)")
    found = run(f"SELECT version FROM {VERSIONS} WHERE name = ?", (schema.name,))
    done = found[0][0] if found else 0
    if not done:
        _check_foreign(schema, columns_of, where)
    for step in schema.steps[done:]:
        run(step)
    run(
        f"INSERT INTO {VERSIONS} (name, version) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        (schema.name, len(schema.steps)),
    )


def _check_foreign(schema: Schema, columns_of: Callable[[str], set[str]], where: str) -> None:
    first = Schema(schema.name, schema.steps[:1])
    for table, columns in first.columns().items():
        present = columns_of(table)
        if present and present != set(columns):
            wrong = ", ".join(sorted(present ^ set(columns)))
            raise FatalError(
                f"{where} holds a table {table} with other columns than lms-crm's ({wrong}): it is somebody else's, or of an"
                " unreleased version; give lms-crm a place of its own, or drop that table"
            )
