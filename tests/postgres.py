"""A real Postgres for the tests, and the two places where an operational store may lie.

One server a session (and worker), made when the first test asks for it; a database a module; each test finds it empty.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from lms_crm_assets.ops.store import OPS, OperationalStore, Schema

_SUPERUSER = "tests"
PASSWORD = "canary-p@ss:w/rd"
_OWNERS = ("postgres", "nobody")
"""Postgres does not run as root: these are tried."""


@dataclass(frozen=True)
class Server:
    """A running Postgres; its socket lies in `folder`, it listens on loopback too, where it wants passwords."""

    programs: Path
    folder: Path
    port: int
    owner: str | None

    def url(self, database: str, user: str = _SUPERUSER) -> str:
        """Through the socket, which trusts everybody."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def run(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        options = f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=100"
        self.program("pg_ctl", "-D", self._cluster, "-w", "-s", "-l", str(self.folder / "log"), "-o", options, "start")

    def crash(self) -> None:
        """As a power cut would: nothing is written that was not."""
        self.program("pg_ctl", "-D", self._cluster, "-w", "-s", "-m", "immediate", "stop")

    def make(self) -> None:
        options = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", f"--username={_SUPERUSER}"]
        self.program("initdb", "-D", self._cluster, "--auth-local=trust", "--auth-host=scram-sha-256", *options)

    @property
    def _cluster(self) -> str:
        return str(self.folder / "cluster")

    def program(self, name: str, *arguments: str) -> None:
        became: dict[str, Any] = {"user": self.owner, "group": self.owner, "extra_groups": []} if self.owner else {}
        if self.owner == "nobody":
            became["group"] = "nogroup"
        subprocess.run(
            [self.programs / name, *arguments], check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **became
        )


def _programs() -> Path | None:
    """Where `initdb` lies; Debian keeps it out of the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((found.parent for found in versions), key=lambda folder: float(folder.parent.name), default=None)


def _owner() -> str | None:
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - not on every system

    known = {each.pw_name for each in pwd.getpwall()}
    return next((name for name in _OWNERS if name in known), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The session's server; skips where Postgres isn't installed."""
    programs, owner = _programs(), _owner()
    if programs is None:
        pytest.skip("no Postgres on this machine: neither initdb in the PATH nor /usr/lib/postgresql")
    if os.geteuid() == 0 and owner is None:
        pytest.skip("Postgres does not run as root, and this machine has neither a user postgres nor nobody")
    # A socket's path holds a hundred letters; pytest's own folders are longer, and closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="lms-crm-pg-", dir="/tmp"))
    if owner:
        shutil.chown(folder, owner)
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = Server(programs, folder, free.getsockname()[1], owner)
    try:
        server.make()
        server.start()
        server.run(f"ALTER ROLE {_SUPERUSER} PASSWORD '{PASSWORD}'")
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):
            server.crash()
        shutil.rmtree(folder, ignore_errors=True)


_NUMBERS = count(1)


@pytest.fixture(scope="module")
def _database(postgres: Server, request: pytest.FixtureRequest) -> str:
    # Numbered, since a module may be come back to.
    name = f"test_{request.node.name.removesuffix('.py').rpartition('/')[2]}_{next(_NUMBERS)}".lower()
    postgres.run(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture
def database(postgres: Server, _database: str) -> str:
    """The name of an empty database."""
    postgres.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", _database)
    return _database


@dataclass
class Place:
    """Where a test's operational store lies."""

    folder: Path
    url: SecretStr | None
    opened: list[OperationalStore] = field(default_factory=list)

    def store(self, clock: Callable[[], float] | None = None, schema: Schema = OPS) -> OperationalStore:
        """A way to it of its own, as another process has one."""
        self.opened.append(OperationalStore(self.folder, clock, schema=schema, url=self.url))
        return self.opened[-1]

    def environ(self) -> dict[str, str]:
        """What another process needs to find it."""
        return {**os.environ, "LMS_CRM_STORE_URL": self.url.get_secret_value() if self.url else ""}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty place of either kind."""
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = SecretStr(server.url(request.getfixturevalue("database")))
    found = Place(tmp_path, url)
    yield found
    for store in found.opened:
        store.close()
