"""A tenant's warehouse in a DuckLake: its tables' catalog in Postgres, its rows in Parquet files that several machines reach.

Each tenant has a schema of its own in the database, and a folder of its own under the data path. One process at a time
writes a tenant's, as with a file, which the runs rely on; different tenants' are written at once, and readers wait for
nobody. The right to write is a session's advisory lock, gone with its process.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import duckdb
import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError, FatalError, PermissionMissingError, RetryableError, UnreachableError
from lms_crm_assets.warehouse.busy import busy
from lms_crm_assets.warehouse.extensions import load
from lms_crm_assets.warehouse.sql import literal

_HOW = (
    "LMS_CRM_WAREHOUSE is no DuckLake's address: write it as"
    " ducklake:postgresql://user@host:5432/database?data_path=/folder/that/all/machines/reach, with special characters of a"
    " password as %40 and the like (docs/warehouse.md)"
)
# A machine that vanishes without a word is noticed within a minute, and its right to write is free.
_SESSION = {
    "application_name": "lms-crm warehouse",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_PREFIX = "lms_"
_LONGEST = 63
"""Bytes of a name in Postgres; it cuts longer ones off."""

_SECRET = "warehouse_catalog"  # noqa: S105 - what the secret is called
Session = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Lake:
    """One tenant's; `url` is the catalog's, `data_path` the folder that all tenants' files lie in."""

    tenant: str
    url: SecretStr = field(repr=False)
    data_path: str
    folder: Path
    catalog: str = "warehouse"

    @classmethod
    def of(cls, text: str, tenant: str, folder: Path) -> Self:
        """Read `ducklake:postgresql://…?data_path=…`; `FatalError`, which doesn't quote it, where it isn't one."""
        parts = urlsplit(text.removeprefix("ducklake:").removeprefix("postgres:"))
        options = dict(parse_qsl(parts.query))
        data_path = options.pop("data_path", "").rstrip("/")
        url = urlunsplit(parts._replace(query=urlencode(options)))
        if parts.scheme not in {"postgresql", "postgres"} or not _is_address(url):
            raise FatalError(_HOW)
        if "://" in data_path or not Path(data_path).is_absolute():
            raise FatalError(
                "LMS_CRM_WAREHOUSE has no data_path, or one that is no absolute path of a folder: the tables' files lie"
                " there, and all machines that run tenants reach it under this path (docs/warehouse.md)"
            )
        if len(_PREFIX + tenant) > _LONGEST:
            raise FatalError(f"{tenant} is too long a name for a DuckLake: at most {_LONGEST - len(_PREFIX)} letters")
        return cls(tenant, SecretStr(url), data_path, folder)

    @property
    def name(self) -> str:
        """The tenant's name: the database is named where it matters."""
        return self.tenant

    @property
    def schema(self) -> str:
        """The tenant's schema in the catalog's database."""
        return _PREFIX + self.tenant

    @property
    def files(self) -> Path:
        """The tenant's own folder; in it, one of Parquet files a generation, see `generations`."""
        return Path(self.data_path) / self.tenant

    @property
    def scratch(self) -> Path:
        """Where DuckDB may write what doesn't fit its memory."""
        return self.folder / f"{self.tenant}.tmp"

    def __str__(self) -> str:
        return f"DuckLake of {self.tenant} in {self._where}"

    def exists(self) -> bool:
        """Whether the catalog has the tenant's schema."""
        return self._is_there(self.schema)

    def tenants(self) -> list[str]:
        """All tenants that the catalog has."""
        with self.session() as session:
            rows = session.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'ducklake_snapshot'").fetchall()
        return sorted(schema.removeprefix(_PREFIX) for (schema,) in rows if schema.startswith(_PREFIX))

    def identity(self) -> tuple[int, int]:
        """What tells it from one that took its place: DuckLake keeps what it read of a catalog for as long as it is attached."""
        with self.session() as session:
            found = session.execute("SELECT oid FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone()
        return (0, int(found[0]) if found else 0)

    def hold(self) -> Callable[[], None]:
        """The right to write it, until what it gives is called; `RetryableError` at once while another process has it."""
        with ExitStack() as stack:
            session = stack.enter_context(self.session())
            taken = session.execute("SELECT pg_try_advisory_lock(%s)", (_key(self.schema),)).fetchall()
            if taken == [(True,)]:
                return stack.pop_all().close
        raise busy(self.name)

    def attach(self, con: duckdb.DuckDBPyConnection, *, read_only: bool = False) -> None:
        """Attach it, made where it isn't yet."""
        self.attach_as(con, self.catalog, self.schema, read_only=read_only)

    def attach_as(self, con: duckdb.DuckDBPyConnection, catalog: str, schema: str, *, read_only: bool = False) -> None:
        """Attach what a schema of the database has; where there is none it is made, with a folder of its own for files."""
        con.execute("SET enable_progress_bar = false")
        for extension in ("postgres_scanner", "ducklake"):
            load(con, extension)
        parts = conninfo_to_dict(self.url.get_secret_value())
        # DuckDB shows a database's address in its messages and lists: the password goes in as a secret.
        password = f", PASSWORD {literal(str(parts.pop('password')))}" if "password" in parts else ""
        con.execute(f"CREATE OR REPLACE SECRET {_SECRET} (TYPE postgres{password})")
        options = [
            f"METADATA_SCHEMA {literal(schema)}",
            f"METADATA_PARAMETERS MAP {{'SECRET': {literal(_SECRET)}}}",
            *([] if self._is_there(schema) else [f"DATA_PATH {literal(f'{self.files}/{secrets.token_hex(4)}/')}"]),
            # Rows in the catalog itself are read three times as slowly as a small file, and learners are none of its business.
            "DATA_INLINING_ROW_LIMIT 0",
            *(["READ_ONLY"] if read_only else []),
        ]
        address = literal(f"ducklake:postgres:{make_conninfo('', **(_SESSION | parts))}")
        try:
            con.execute(f"ATTACH {address} AS {catalog} ({', '.join(options)})")
        except duckdb.Error as exc:
            # The catalog's own trouble has a clearer name when it is met directly.
            with self.session():
                pass
            raise FatalError(
                f"the {self} can't be attached: it was made by another version of DuckLake (docs/warehouse.md)"
            ) from exc

    def is_made(self, schema: str) -> bool:
        """Whether the tables of that text were made in it, by whichever process."""
        with self.session() as session:
            found = session.execute(
                "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", (self.schema,)
            ).fetchone()
        return found is not None and found[0] == _fingerprint(schema)

    def note_made(self, schema: str) -> None:
        """Note it beside the schema."""
        with self.session() as session:
            comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
            session.execute(comment.format(sql.Identifier(self.schema), sql.Literal(_fingerprint(schema))))

    def table(self, name: str) -> sql.Identifier:
        """A table of its catalog, for a statement."""
        return sql.Identifier(self.schema, name)

    def _is_there(self, schema: str) -> bool:
        with self.session() as session:
            query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'ducklake_snapshot'"
            return session.execute(query, (schema,)).fetchone() is not None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection to the catalog's database for a moment; each statement is a transaction."""
        session = self._connected()
        try:
            yield session
        except errors.InsufficientPrivilege as exc:
            said = exc.diag.message_primary
            raise PermissionMissingError(f"{self._where}: {said}; the grants are in docs/warehouse.md") from exc
        except psycopg.OperationalError as exc:
            raise RetryableError(f"the connection to {self._where} broke off") from exc
        finally:
            session.close()

    def _connected(self) -> Session:
        try:
            conninfo = make_conninfo(self.url.get_secret_value(), **_SESSION)
            return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError as exc:
            refused = self._refusal(str(exc))
        # Outside of the block, so that it doesn't hold the driver's error, which knows the password.
        raise refused

    def _refusal(self, text: str) -> FatalError | RetryableError:
        line = text.rsplit("failed: ", 1)[-1].strip().splitlines()[0].removeprefix("FATAL:").strip()
        if "too many" in line or "connection slots" in line or "starting up" in line or "shutting down" in line:
            return RetryableError(f"{self._where} takes no connection at the moment ({line})")
        if "authentication" in line or "password" in line or line.startswith("role "):
            return CredentialError(f"{self._where} refuses the user of LMS_CRM_WAREHOUSE ({line})")
        if line.startswith("database ") and line.endswith("does not exist"):
            return FatalError(f"{self._where} does not exist: make it, or mend LMS_CRM_WAREHOUSE (docs/warehouse.md)")
        return UnreachableError(f"{self._where} can't be reached ({line}): is it running, and LMS_CRM_WAREHOUSE right?")

    @property
    def _where(self) -> str:
        parts = conninfo_to_dict(self.url.get_secret_value())
        host = parts.get("host") or os.environ.get("PGHOST") or "the local socket"
        return f"the Postgres database {parts.get('dbname') or parts.get('user')} at {host}"


def _is_address(url: str) -> bool:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return False
    # Of a password that is not percent-encoded the rest ends up in these.
    return all(not set(str(parts.get(part, ""))) & set("@?#") for part in ("host", "port", "dbname"))


def _key(name: str) -> int:
    return int.from_bytes(blake2b(f"lms-crm warehouse {name}".encode(), digest_size=8).digest(), signed=True)


def _fingerprint(text: str) -> str:
    return f"lms-crm tables {blake2b(text.encode(), digest_size=8).hexdigest()}"
