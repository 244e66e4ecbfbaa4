"""What a run leaves for readers: a copy at a path that stays, which never changes under whoever reads it."""

import os
import threading
import time
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr

from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse import publishing
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from lms_crm_assets.warehouse.publishing import Shelf, copy_path, publish

QUERY = "SELECT count(*) FROM quarantine"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # So that how quick a test is decides nothing.
    monkeypatch.setattr(publishing, "BYTES_A_SECOND", 1e15)
    return Settings(tmp_path / "tenants", tmp_path / "state")


def _add(settings: Settings, tenant: str = "acme", code: str = "LMS-104") -> None:
    location = locate(settings, tenant)
    with connect(location) as con:
        con.execute("INSERT INTO staging.quarantine (entity, code) VALUES ('learners', $1)", [code])


def _read(settings: Settings, query: str, tenant: str = "acme") -> list[tuple[object, ...]]:
    with duckdb.connect(copy_path(settings.state_dir, tenant), read_only=True) as con:
        return con.execute(query).fetchall()


def test_a_tenant_without_a_warehouse_has_no_copy(settings: Settings) -> None:
    assert not publish(settings, "acme")
    assert not settings.state_dir.exists()


def test_a_new_copy_takes_the_place_of_the_former_one_under_whoever_reads_it(settings: Settings) -> None:
    _add(settings)
    assert publish(settings, "acme")
    path = copy_path(settings.state_dir, "acme")
    former = path.open("rb")
    size = path.stat().st_size
    with former:
        _add(settings)
        assert publish(settings, "acme")
        assert _read(settings, QUERY) == [(2,)]
        assert os.fstat(former.fileno()).st_size == size
        assert former.read(64)[8:12] == b"DUCK"
        assert os.fstat(former.fileno()).st_nlink == 0, "nothing but its reader holds the former one"
    assert not publish(settings, "acme"), "of an unchanged warehouse nothing is copied"
    [same] = (path.parent / "acme").iterdir()
    assert same.samefile(path), "one file under two names"


def test_while_the_copy_is_open_runs_go_on_and_publish(settings: Settings) -> None:
    _add(settings)
    publish(settings, "acme")
    with duckdb.connect(copy_path(settings.state_dir, "acme"), read_only=True) as reader:
        _add(settings)
        assert publish(settings, "acme")
        assert reader.execute(QUERY).fetchall() == [(1,)]


def test_it_is_for_its_owner_to_read_alone(settings: Settings) -> None:
    _add(settings)
    publish(settings, "acme")
    path = copy_path(settings.state_dir, "acme")

    assert path.stat().st_mode & 0o777 == 0o400
    assert (path.parent / "acme").stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_of_a_large_warehouse_not_every_run_makes_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _add(settings)
    publish(settings, "acme")
    # As if it were of terabytes.
    monkeypatch.setattr(publishing, "BYTES_A_SECOND", 0.1)
    _add(settings)

    assert not publish(settings, "acme")
    assert _read(settings, QUERY) == [(1,)]
    assert publish(settings, "acme", at_once=True)
    assert _read(settings, QUERY) == [(2,)]

    _add(settings)
    [copy] = (settings.state_dir / "published" / "acme").iterdir()
    old = time.time() - copy.stat().st_size / 0.1
    os.utime(copy, (old, old))
    assert publish(settings, "acme")


def test_a_step_of_the_other_lane_is_waited_for_but_not_for_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add(settings)
    opened, leave = threading.Event(), threading.Event()

    def other_lane() -> None:
        with connect(locate(settings, "acme")):
            opened.set()
            leave.wait(10)

    step = threading.Thread(target=other_lane)
    step.start()
    opened.wait(10)
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 0.1)
    assert not publish(settings, "acme")
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 10.0)
    threading.Timer(0.1, leave.set).start()
    assert publish(settings, "acme")
    step.join()


def test_what_a_killed_process_left_half_made_goes(settings: Settings) -> None:
    _add(settings)
    publish(settings, "acme")
    folder = settings.state_dir / "published" / "acme"
    old, young = folder / "old.half.wal", folder / "young.half"
    for file in (old, young):
        file.touch()
    os.utime(old, (1, 1))
    _add(settings)
    publish(settings, "acme")

    assert (old.exists(), young.exists()) == (False, True)
    Shelf(settings.state_dir / "published", "acme").clear()
    assert [file for file in (settings.state_dir / "published").rglob("*") if file.is_file()] == []


def test_a_copy_that_is_being_made_is_taken_away_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _add(settings)
    shelf, add_views = Shelf(settings.state_dir / "published", "acme"), publishing._add_views
    done = threading.Event()

    def clear() -> None:
        shelf.clear()
        done.set()

    cleared = threading.Thread(target=clear)

    def cleared_meanwhile(file: Path) -> None:
        cleared.start()
        assert not done.wait(0.2)
        add_views(file)

    monkeypatch.setattr(publishing, "_add_views", cleared_meanwhile)
    assert publish(settings, "acme")
    cleared.join()

    assert [file for file in (settings.state_dir / "published").rglob("*") if file.is_file()] == []


def test_the_path_that_stays_catches_up_after_a_kill_between_the_two_renames(settings: Settings) -> None:
    _add(settings)
    publish(settings, "acme")
    path = copy_path(settings.state_dir, "acme")
    former = path.with_name("former")
    os.link(path, former)
    _add(settings)
    publish(settings, "acme")
    # As a process leaves it that is killed when the new copy has the name of its state, but not yet the other one.
    former.replace(path)
    assert _read(settings, QUERY) == [(1,)]

    assert publish(settings, "acme")
    assert _read(settings, QUERY) == [(2,)]


def test_the_views_have_plain_names_and_say_what_they_mean(settings: Settings) -> None:
    location = locate(settings, "acme")
    with connect(location) as con:
        con.execute("CREATE TABLE staging.course (source_id VARCHAR, code VARCHAR, title VARCHAR, row_hash UBIGINT)")
        con.execute("INSERT INTO staging.course VALUES ('c', 'A-1', 'Algebra', 1)")
        con.execute(
            "INSERT INTO delta.plan_rows (plan_id, object, external_id, action, class, changes) VALUES"
            " ('p', 'contact', '1', 'update', 'conflict', [{field: 'firstname', old: 'A', new: 'Ada', owner: 'enforce',"
            " written: true, class: 'ours'}, {field: 'city', old: 'X', new: 'Y', owner: 'observe', written: false,"
            " class: 'drift'}]), ('p', 'enrollment', '9', 'archive', 'ours', [])"
        )
        con.execute(
            "INSERT INTO delta.refused (object, external_id, code, severity) VALUES"
            " ('contact', '1', 'LMS-305', 'error'), ('contact', '2', 'LMS-306', 'warn')"
        )
        con.execute(
            "INSERT INTO sync.rejections (object, external_id, operation, code, message) VALUES"
            " ('contact', '3', 'upsert', 'INVALID_EMAIL', 'no')"
        )
    _add(settings)
    _add(settings, code="LMS-201")
    publish(settings, "acme")

    assert _read(settings, "FROM courses") == [("c", "A-1", "Algebra")]
    assert _read(settings, "SELECT layer, kind, code FROM quarantine ORDER BY ALL") == [
        ("business", "learners", "LMS-201"),
        ("delivery", "contact", "INVALID_EMAIL"),
        ("destination", "contact", "LMS-305"),
        ("schema", "learners", "LMS-104"),
    ]
    changes = "SELECT external_id, action, class, field, new FROM plan_changes ORDER BY external_id, field DESC"
    assert _read(settings, changes) == [
        ("1", "update", "ours", "firstname", "Ada"),
        ("1", "update", "drift", "city", "Y"),
        ("9", "archive", "ours", None, None),
    ]
    said = _read(settings, "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    assert {name for name, _ in said} >= {"courses", "ledger", "outcomes", "plans", "quarantine", "runs"}
    assert "learners" not in {name for name, _ in said}, "no run has made its table"
    assert [name for name, comment in said if not comment] == []


def test_a_warehouse_that_moved_into_a_lake_leaves_no_copy_of_the_file(settings: Settings) -> None:
    _add(settings)
    publish(settings, "acme")
    moved = Settings(settings.tenants_dir, settings.state_dir, SecretStr("md:lms_crm_{tenant}"))
    assert not publish(moved, "acme")
    assert not copy_path(settings.state_dir, "acme").exists()
