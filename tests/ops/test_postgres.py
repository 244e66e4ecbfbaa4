"""What only a store in Postgres can meet: servers that stop, passwords, grants, other machines' clocks."""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from pydantic import SecretStr

from lms_crm_assets.errors import (
    CredentialError,
    LmsCrmError,
    PermissionMissingError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops import postgres as module
from lms_crm_assets.ops.quota import Quota
from lms_crm_assets.ops.store import OperationalStore
from tests.postgres import PASSWORD, Place, Server

TELL = "INSERT INTO turns (name, at) VALUES (?, 1)"


@pytest.fixture
def shared(postgres: Server, database: str, tmp_path: Path) -> Place:
    """The Postgres place; its stores are closed by the tests' end."""
    return Place(tmp_path, SecretStr(postgres.url(database)))


@pytest.fixture
def store(shared: Place) -> OperationalStore:
    return shared.store()


@pytest.fixture(autouse=True)
def _closed(shared: Place) -> object:
    yield
    for store in shared.opened:
        store.close()


def end_connections(server: Server, database: str) -> None:
    server.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )


def told(raises: type[LmsCrmError], call: Callable[[], object]) -> str:
    """What a person reads; nothing of it, and of what a traceback would show, is the password."""
    with pytest.raises(raises) as raised:
        call()
    found: BaseException | None = raised.value
    while found is not None:
        assert not isinstance(found, psycopg.Error)
        shown = traceback.TracebackException.from_exception(found, capture_locals=True)
        ours = [str(frame.locals) for frame in shown.stack if "lms_crm_assets" in frame.filename]
        assert "canary" not in " ".join([str(found), *ours])
        found = found.__context__
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_connection_that_ended_while_nobody_used_it_is_not_noticed(
    store: OperationalStore, postgres: Server, database: str
) -> None:
    end_connections(postgres, database)
    with store.transaction() as run:
        run(TELL, ("crm",))
    end_connections(postgres, database)

    assert store.read("SELECT name FROM turns") == [("crm",)]


def test_a_connection_that_breaks_within_a_transaction_is_trouble_that_passes(
    store: OperationalStore, postgres: Server, database: str
) -> None:
    def broken() -> None:
        with store.transaction() as run:
            run(TELL, ("lost",))
            end_connections(postgres, database)
            run(TELL, ("never",))

    with pytest.raises(RetryableError, match="broke off"):
        broken()
    assert store.read("SELECT name FROM turns") == []


def test_what_is_durable_outlives_a_crash_of_the_server(store: OperationalStore, postgres: Server) -> None:
    with store.transaction(durable=True) as run:
        run(TELL, ("kept",))
    postgres.crash()
    with pytest.raises(
        UnreachableError, match=r"can't be reached \(.*\): is it running, and is LMS_CRM_STORE_URL right"
    ):
        store.read("SELECT name FROM turns")
    postgres.start()

    assert ("kept",) in store.read("SELECT name FROM turns")


def test_a_lock_that_others_hold_too_long_is_told(
    store: OperationalStore, shared: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)

    def wait() -> None:
        with shared.store().transaction(on="acme"):
            pytest.fail("both inside")

    with store.transaction(), pytest.raises(RetryableError, match="stays locked by another process"):
        wait()


def test_whoever_breaks_the_promise_of_a_name_is_told_to_try_again(store: OperationalStore, shared: Place) -> None:
    with store.transaction() as run:
        run("INSERT INTO quotas (name) VALUES ('a'), ('b')")
    caller = subprocess.Popen(
        [sys.executable, "-c", _CROSSING, str(shared.folder)], stdout=subprocess.PIPE, text=True, env=shared.environ()
    )

    def cross() -> None:
        with store.transaction(on="a") as run:
            run("UPDATE quotas SET used = 1 WHERE name = 'a'")
            assert caller.stdout is not None
            assert caller.stdout.readline() == "holds b\n"
            run("UPDATE quotas SET used = 1 WHERE name = 'b'")

    with caller, pytest.raises(RetryableError, match="deadlock"):
        cross()


_CROSSING = """
import sys
from pathlib import Path
from lms_crm_assets.ops.store import OperationalStore
with OperationalStore.at(Path(sys.argv[1])).transaction(on="b") as run:
    run("SET LOCAL deadlock_timeout = '1h'")  # the other one finds out
    run("UPDATE quotas SET used = 1 WHERE name = 'b'")
    print("holds b", flush=True)
    run("UPDATE quotas SET used = 1 WHERE name = 'a'")
"""


def test_a_transaction_that_went_on_after_a_failure_is_not_taken_for_done(store: OperationalStore) -> None:
    def careless() -> None:
        with store.transaction() as run:
            run(TELL, ("crm",))
            with pytest.raises(LmsCrmError, match="nothing_of_this_name"):
                run("SELECT 1 FROM nothing_of_this_name")

    with pytest.raises(RetryableError, match="undid a transaction"):
        careless()


def test_the_database_s_own_defaults_change_nothing(postgres: Server, database: str, shared: Place) -> None:
    for default in ("isolation = 'serializable'", "read_only = on"):
        postgres.run(f'ALTER DATABASE "{database}" SET default_transaction_{default}')
    try:
        stores = [shared.store(), shared.store()]
        for n in range(20):
            Quota(stores[n % 2], "crm").told(n, 100)
        assert stores[0].read("SELECT used FROM quotas") == [(19,)]
    finally:
        postgres.run(f'ALTER DATABASE "{database}" RESET ALL')


def test_all_machines_go_by_the_server_s_clock(shared: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 3600)
    store = shared.store()
    assert abs(store.clock() - right()) < 5
    monkeypatch.setattr(time, "time", lambda: right() + 60)  # somebody sets it
    with store.transaction():
        pass

    assert abs(store.clock() - right()) < 5


def test_a_process_that_is_killed_lets_go(shared: Place) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(shared.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=shared.environ(),
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "inside\n"
        with pytest.raises(RetryableError, match="busy"), shared.store().alone("acme", 0, "busy"):
            pytest.fail("both inside")
        holder.kill()
    with shared.store().alone("acme", 30, "busy"):
        pass


_HOLDER = """
import sys
from pathlib import Path
from lms_crm_assets.ops.store import OperationalStore
with OperationalStore.at(Path(sys.argv[1])).alone("acme", 0, "busy"):
    print("inside", flush=True)
    sys.stdin.readline()
"""


class TestAddresses:
    """What a person is told of an address, and never of a password."""

    def opened(self, shared: Place, url: str) -> OperationalStore:
        return Place.store(Place(shared.folder, SecretStr(url), shared.opened))

    def test_a_password_comes_by_the_address_a_file_or_libpq_s_variables(
        self, postgres: Server, database: str, shared: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at = f"127.0.0.1:{postgres.port}/{database}"
        assert self.opened(shared, f"postgresql://tests:{quote(PASSWORD, safe='')}@{at}").read("SELECT 1") == [(1,)]
        with monkeypatch.context() as patched:
            patched.setenv("PGPASSWORD", PASSWORD)
            assert self.opened(shared, f"postgresql://tests@{at}").read("SELECT 1") == [(1,)]
        file = shared.folder / "password"
        file.write_text(f"{PASSWORD}\n")
        monkeypatch.setenv("LMS_CRM_STORE_PASSWORD_FILE", str(file))
        assert self.opened(shared, f"postgresql://tests@{at}").read("SELECT 1") == [(1,)]
        file.unlink()
        assert "can't be read" in told(CredentialError, lambda: self.opened(shared, f"postgresql://tests@{at}"))

    def test_a_refused_password_a_missing_database_and_a_dead_address_are_one_line(
        self, postgres: Server, database: str, shared: Place, unused_port: int
    ) -> None:
        at, secret = f"127.0.0.1:{postgres.port}", quote(PASSWORD, safe="")
        for wrong in (f"tests:canary@{at}", f"tests@{at}", f"stranger:{secret}@{at}"):
            line = told(CredentialError, partial(self.opened, shared, f"postgresql://{wrong}/{database}"))
            assert line.startswith(f"the Postgres database {database} at {at} refuses the user")
        line = told(WrongAddressError, lambda: self.opened(shared, f"postgresql://tests:{secret}@{at}/nowhere"))
        assert line.startswith(f"the Postgres database nowhere at {at} does not exist: make it")
        dead = f"postgresql://tests:{secret}@127.0.0.1:{unused_port}/x"
        line = told(UnreachableError, lambda: self.opened(shared, dead))
        assert line.startswith(
            f"the Postgres database x at 127.0.0.1:{unused_port} can't be reached (Connection refused)"
        )

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://tests:canary/1@host/ops",
            "postgresql://tests:canary@canary@host/ops",
            "postgresql://tests:12/canary@host/ops",
            "postgresql://tests@host/ops?pasword=canary",
            "postgresql://tests:%zzcanary@host/ops",
            "postgresql://tests:canary@host:port/ops",
            "mysql://tests:canary@host/ops",
            "host=host password=canary",
            "canary",
        ],
    )
    def test_what_is_no_address_is_not_quoted(self, url: str, shared: Place) -> None:
        assert "is no address of a Postgres database" in told(WrongAddressError, lambda: self.opened(shared, url))

    def test_a_user_who_may_use_the_tables_needs_no_more_once_they_are_made(
        self, postgres: Server, database: str, shared: Place
    ) -> None:
        postgres.run("DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN")
        url = postgres.url(database, "clerk")
        with pytest.raises(PermissionMissingError, match="the user clerk may not do what is needed") as raised:
            self.opened(shared, url)
        assert "docs/operational-store.md" in str(raised.value)

        shared.store()
        postgres.run("GRANT USAGE ON SCHEMA public TO clerk", database)
        with pytest.raises(PermissionMissingError, match="permission denied for table"):
            self.opened(shared, url)
        postgres.run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk", database)
        Quota(self.opened(shared, url), "crm").told(1, 2)
        postgres.run(
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM clerk; REVOKE USAGE ON SCHEMA public FROM clerk; DROP ROLE clerk",
            database,
        )
