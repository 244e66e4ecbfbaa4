"""The operational store, wherever it lies: transactions, locks, versions of its tables, and its SQL."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lms_crm_assets import interrupt
from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.ops.store import OPS, OperationalStore, Schema
from tests.postgres import Place

THINGS = Schema(
    "things",
    (
        """CREATE TABLE things (
            number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, size BIGINT, at DOUBLE PRECISION, body BLOB
        )""",
    ),
)
INSERT = "INSERT INTO things (name, size, at, body) VALUES (?, ?, ?, ?)"


def test_values_come_back_as_they_were_given(place: Place) -> None:
    store = place.store(schema=THINGS)
    given = ("100 % of 'ä'?", 1 << 53, 1_795_000_000.123456, bytes(range(256)))
    with store.transaction() as run:
        assert run(INSERT + " RETURNING number", given) == [(1,)]
        assert run(INSERT + " ON CONFLICT (name) DO UPDATE SET size = excluded.size RETURNING number", given) == [(1,)]

    assert store.read("SELECT name, size, at, body FROM things WHERE name = ? AND name <> '?%'", given[:1]) == [given]
    assert store.read("SELECT name FROM things WHERE name LIKE '100 %?'") == [given[:1]]


def test_what_fails_leaves_nothing_behind(place: Place) -> None:
    store = place.store(schema=THINGS)

    def fail() -> None:
        with store.transaction() as run:
            run(INSERT, ("a", 1, 1.0, b""))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert store.read("SELECT 1 FROM things") == []

    with store.transaction() as run:
        run(INSERT, ("b", 1, 1.0, b""))
    assert store.read("SELECT name FROM things") == [("b",)]


@pytest.mark.parametrize("on", [None, "one name"])
def test_a_decision_on_rows_that_are_not_there_yet_is_made_once(place: Place, on: str | None) -> None:
    stores = [place.store(schema=THINGS) for _ in range(2)]
    together = threading.Barrier(16)

    def claim(n: int) -> bool:
        together.wait()
        with stores[n % 2].transaction(on=on) as run:
            if run("SELECT 1 FROM things"):
                return False
            run(INSERT, (f"claim {n}", 1, 1.0, b""))
            return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(16))) == 1


def test_whole_and_named_transactions_wait_for_each_other(place: Place) -> None:
    store, other = place.store(schema=THINGS), place.store(schema=THINGS)
    with store.transaction() as run:
        run(INSERT, ("a", 0, 1.0, b""))

    def count(n: int) -> None:
        with (store, other)[n % 2].transaction(on=None if n % 3 else "a") as run:
            ((size,),) = run("SELECT size FROM things WHERE name = 'a'")
            run("UPDATE things SET size = ? WHERE name = 'a'", (size + 1,))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(60)))
    assert store.read("SELECT size FROM things") == [(60,)]


def test_of_all_that_ask_one_is_alone_inside(place: Place) -> None:
    store, other = place.store(), place.store()
    with store.alone("acme / refresh", 0, "busy"):
        for waiting in (store, other):
            with (
                pytest.raises(RetryableError, match="somebody is inside"),
                waiting.alone("acme / refresh", 0, "somebody is inside"),
            ):
                pytest.fail("both inside")
        with other.alone("globex / refresh", 0, "busy"), other.transaction(durable=True) as run:
            run("INSERT INTO turns (name, at) VALUES ('x', 1)")
    with other.alone("acme / refresh", 0, "busy"):
        pass


def test_a_person_who_wants_to_stop_does_not_wait(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place.store()
    with store.alone("acme", 0, "busy"):
        monkeypatch.setattr(interrupt, "check", lambda: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception, match="stopped"), store.alone("acme", 60, "busy"):
            pass


def test_an_older_version_is_brought_up_to_date_and_keeps_its_rows(place: Place) -> None:
    with place.store(schema=THINGS).transaction() as run:
        run(INSERT, ("a", 1, 1.0, b""))
    newer = Schema("things", (*THINGS.steps, "ALTER TABLE things ADD COLUMN colour TEXT"))

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: place.store(schema=newer), range(4)))

    assert stores[-1].read("SELECT name, colour FROM things") == [("a", None)]
    with pytest.raises(
        FatalError, match=r"newer version of lms-crm \(its things tables are version 2, this one knows 1\)"
    ):
        place.store(schema=THINGS)


def test_schemas_are_built_by_many_at_once_and_live_side_by_side(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda n: place.store(schema=(OPS, THINGS)[n % 2]), range(8)))

    assert stores[0].read("SELECT 1 FROM pace") == []
    assert stores[1].read("SELECT 1 FROM things") == []


def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def open_it(folder: Path) -> OperationalStore:
        together.wait()
        return OperationalStore(folder, schema=THINGS)

    with ThreadPoolExecutor(8) as pool:
        for n in range(25):
            for store in pool.map(open_it, [tmp_path / str(n)] * 8):
                assert store.read("SELECT 1 FROM things") == []
                store.close()


def test_a_second_opening_leaves_the_locks_of_the_first(tmp_path: Path) -> None:
    first = OperationalStore(tmp_path, schema=THINGS)
    with first.transaction() as run:
        run(INSERT, ("a", 1, 1.0, b""))
    second = OperationalStore(tmp_path, schema=THINGS)

    # Whoever gets this lock believes itself to be the file's last user, and takes its log away.
    outside = """
import fcntl, sys
shared_bytes = 0x40000002
with open(sys.argv[1], "r+b") as opened:
    try:
        fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, shared_bytes)
    except OSError:
        print("held")
"""
    told = subprocess.run(
        [sys.executable, "-c", outside, str(tmp_path / "things.sqlite")], check=True, capture_output=True, text=True
    )

    assert told.stdout == "held\n"
    for store in (first, second):
        store.close()


def test_a_store_from_before_versions_is_taken_over(tmp_path: Path) -> None:
    former = OperationalStore(tmp_path, schema=Schema(OPS.name, OPS.steps[:1]))
    with former.transaction() as run:
        run("DROP TABLE lms_crm_schemas")
        run("DROP TABLE quotas")
        run("CREATE TABLE quotas (name TEXT PRIMARY KEY, used INTEGER, allowed INTEGER, told_at REAL) WITHOUT ROWID")
        run("INSERT INTO quotas VALUES ('crm', 1, 2, 3.0)")
    former.close()

    assert OperationalStore(tmp_path).read("SELECT * FROM quotas") == [("crm", 1, 2, 3.0)]


def test_a_table_of_somebody_else_is_not_touched(place: Place) -> None:
    store = place.store(schema=THINGS)
    with store.transaction() as run:
        run("CREATE TABLE credentials (tenant TEXT, password TEXT)")
    store.close()
    if place.url is None:
        (place.folder / "things.sqlite").rename(place.folder / "ops.sqlite")

    with pytest.raises(
        FatalError, match=r"table credentials with other columns than lms-crm's \(kind, password, saved_at, sealed\)"
    ):
        place.store()


def test_a_folder_in_the_stores_place_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "things.sqlite").mkdir()

    with pytest.raises(IsADirectoryError, match=r"things\.sqlite"):
        OperationalStore(tmp_path, schema=THINGS)


def test_a_store_of_somebody_else_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OperationalStore(tmp_path, schema=THINGS).close()
    # Root may read everything, as tests in a container do.
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(PermissionError, match=r"things\.sqlite"):
        OperationalStore(tmp_path, schema=THINGS)
