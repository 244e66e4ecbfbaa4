"""Backing up a state folder and restoring it, without an LMS or a CRM."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import duckdb
import pytest

from lms_crm_assets.backup.manifest import Manifest
from lms_crm_assets.backup.restoring import restore
from lms_crm_assets.backup.saving import back_up
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.audit import AuditLog
from lms_crm_assets.ops.lanes import Lane, Place
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.suppression import PRIVACY, Suppression
from lms_crm_assets.ops.switches import Name, SwitchBoard
from lms_crm_assets.ops.vault import Vault
from lms_crm_assets.privacy.receipt import Receipt
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.receiver_server import ENVIRON


@pytest.fixture
def state(tmp_path: Path) -> Settings:
    """Two tenants with a warehouse each, an operational store, a journal of a killed delivery."""
    settings = Settings(tmp_path / "tenants", tmp_path / "state")
    settings.tenants_dir.mkdir()
    for tenant in ("acme", "globex"):
        (settings.tenants_dir / f"{tenant}.yaml").write_text(f"tenant: {tenant}\n", encoding="utf-8")
        write(settings, tenant, "before")
    with closing(OperationalStore(settings.state_dir)) as store, store.transaction() as run:
        run("INSERT INTO heartbeats (name, at) VALUES ('before', 1)")
    (settings.state_dir / "sync" / "acme").mkdir(parents=True)
    (settings.state_dir / "sync" / "acme" / "contact.run.ndjson").write_text("{}\n", encoding="utf-8")
    return settings


def write(settings: Settings, tenant: str, text: str) -> None:
    with connect(locate(settings, tenant)) as con:
        con.execute("CREATE OR REPLACE TABLE staging.note AS SELECT $1 AS text", [text])


def held(settings: Settings, tenant: str) -> str:
    with connect(locate(settings, tenant)) as con:
        return str(con.execute("FROM staging.note").fetchall()[0][0])


def beats(settings: Settings) -> list[str]:
    with closing(apsw.Connection(str(settings.state_dir / "ops.sqlite"))) as con:
        return [name for (name,) in con.execute("SELECT name FROM heartbeats")]


def taken(settings: Settings, folder: Path) -> Manifest:
    return back_up(settings, folder, lambda _current, _done, _total: None, in_postgres=False)


@contextmanager
def forgotten(state_dir: Path) -> Iterator[Suppression]:
    """The list of those who were forgotten, closed again: what is open is not replaced."""
    with closing(OperationalStore(state_dir, schema=PRIVACY)) as store, closing(OperationalStore(state_dir)) as vault:
        yield Suppression(store, vault, ENVIRON)


def are_kept_away(state_dir: Path, *learners: str) -> bool:
    with forgotten(state_dir) as found:
        marks = found.marks("acme")
        return all(marks.hold("learners", each) for each in learners)


def test_what_was_backed_up_comes_back_and_the_rest_is_set_aside(state: Settings, tmp_path: Path) -> None:
    manifest = taken(state, tmp_path / "backup")
    write(state, "acme", "after")
    write(state, "newcomer", "after")
    (state.state_dir / "sync" / "acme" / "contact.run.ndjson").unlink()
    (state.tenants_dir / "globex.yaml").write_text("tenant: globex  # changed\n", encoding="utf-8")
    (state.tenants_dir / "acme.yaml").unlink()

    done = restore(state, tmp_path / "backup", force=True)

    assert manifest.tenants == done.tenants == ["acme", "globex"]
    assert (held(state, "acme"), beats(state)) == ("before", ["before"])
    assert (state.state_dir / "sync" / "acme" / "contact.run.ndjson").exists()
    assert not (state.state_dir / "warehouse" / "newcomer.duckdb").exists()
    assert done.set_aside is not None
    with closing(duckdb.connect(done.set_aside / "warehouse" / "newcomer.duckdb", read_only=True)) as con:
        assert con.execute("FROM staging.note").fetchall() == [("after",)]
    # A contract that is there is a person's; one that is missing is not.
    assert done.contracts_kept == ["globex.yaml"]
    assert (state.tenants_dir / "acme.yaml").read_text(encoding="utf-8") == "tenant: acme\n"
    with connect(locate(state, "acme")) as con:
        assert con.execute("SELECT count(*) FROM sync.restored").fetchall() == [(5,)]


def test_whom_somebody_had_forgotten_stays_away(state: Settings, tmp_path: Path) -> None:
    taken(state, tmp_path / "before")
    with forgotten(state.state_dir) as found:
        found.add("acme", [("learners", "7")])
    taken(state, tmp_path / "backup")
    with forgotten(state.state_dir) as found:
        found.add("acme", [("learners", "8")])

    restore(Settings(state.tenants_dir, tmp_path / "other"), tmp_path / "backup")
    assert are_kept_away(tmp_path / "other", "7")

    restore(state, tmp_path / "backup", force=True)
    assert are_kept_away(state.state_dir, "7", "8")
    # Of a backup that knows neither the list nor its key.
    restore(state, tmp_path / "before", force=True)
    assert are_kept_away(state.state_dir, "7", "8")
    assert beats(state) == ["before"]


@pytest.mark.parametrize("first_forgotten", ["before", "after"])
def test_what_a_restore_must_not_take_back_stays(
    state: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_forgotten: str
) -> None:
    monkeypatch.setenv("LMS_CRM_KEY", base64.b64encode(bytes(32)).decode())

    def act(moment: str) -> None:
        with (
            closing(OperationalStore(state.state_dir)) as store,
            closing(OperationalStore(state.state_dir, schema=PRIVACY)) as privacy,
        ):
            vault, list_ = Vault.opened(store), Suppression(privacy, store, os.environ)
            vault.keep("acme", "crm-token", f"entered {moment}")
            AuditLog(store).note("cli:ann", "credentials.set", "acme", moment)
            if moment in {first_forgotten, "after"}:
                list_.add("acme", [("learners", moment)])
            if moment == "after":
                SwitchBoard(store).set("acme", {Name.PAUSE: ""}, "cli:ann", "bad mapping")

    act("before")
    taken(state, tmp_path / "backup")
    act("after")

    done = restore(state, tmp_path / "backup", force=True)

    assert done.warnings == []
    with (
        closing(OperationalStore(state.state_dir)) as store,
        closing(OperationalStore(state.state_dir, schema=PRIVACY)) as privacy,
    ):
        marks = Suppression(privacy, store, os.environ).marks("acme")
        assert {key for key in ("before", "after") if marks.hold("learners", key)} == {first_forgotten, "after"}
        assert SwitchBoard(store).of("acme").paused
        assert Vault.opened(store).named("acme", "crm-token").get_secret_value() == "entered after"
        deeds = [(deed.action, deed.subject) for deed in AuditLog(store).deeds("acme")]
    assert deeds == [("credentials.set", "before"), ("credentials.set", "after"), ("switches.set", "pause")]


def test_who_was_forgotten_and_the_receipt_come_back_after_the_state_folder_is_lost(
    state: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_CRM_KEY", base64.b64encode(bytes(32)).decode())
    with (
        closing(OperationalStore(state.state_dir)) as store,
        closing(OperationalStore(state.state_dir, schema=PRIVACY)) as privacy,
    ):
        Suppression(privacy, store, os.environ).add("acme", [("learners", "4711")])
    Receipt("acme", "0123456789abcdef", "2026-11-27T20:15:00", "cli:ann", "left").keep(state.state_dir)
    taken(state, tmp_path / "backup")
    shutil.rmtree(state.state_dir)

    restore(state, tmp_path / "backup")

    with (
        closing(OperationalStore(state.state_dir)) as store,
        closing(OperationalStore(state.state_dir, schema=PRIVACY)) as privacy,
    ):
        assert Suppression(privacy, store, os.environ).marks("acme").hold("learners", "4711")
    assert [file.stat().st_mode & 0o077 for file in (state.state_dir / "receipts").iterdir()] == [0]


def test_one_tenants_warehouse_alone(state: Settings, tmp_path: Path) -> None:
    taken(state, tmp_path / "backup")
    for tenant in ("acme", "globex"):
        write(state, tenant, "after")
    (state.state_dir / "warehouse" / "acme.duckdb").write_bytes(b"a damaged file" * 1000)

    restore(state, tmp_path / "backup", tenant="acme", force=True)

    assert (held(state, "acme"), held(state, "globex")) == ("before", "after")


def test_nobody_but_the_owner_reads_a_backup(state: Settings, tmp_path: Path) -> None:
    taken(state, tmp_path / "backup")

    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0
    assert [file for file in (tmp_path / "backup" / "state").rglob("*.*") if file.stat().st_mode & 0o077] == []


def test_a_backup_with_a_changed_byte_or_without_its_end_is_refused(state: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    taken(state, folder)
    file = folder / "state" / "warehouse" / "globex.duckdb"
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)

    with pytest.raises(FatalError, match=r"is damaged \(state/warehouse/globex.duckdb\).*nothing was changed"):
        restore(state, folder, force=True)

    (folder / "manifest.json").unlink()
    with pytest.raises(FatalError, match="is no backup, or one that was broken off"):
        restore(state, folder, force=True)


def test_a_path_that_leads_out_of_the_backup_is_refused(state: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    taken(state, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["entries"][0]["path"] = "state/../../elsewhere"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    with pytest.raises(FatalError, match="is damaged"):
        restore(state, folder, force=True)


def test_nothing_is_replaced_unasked_or_under_somebody(state: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    taken(state, folder)
    write(state, "acme", "after")

    with pytest.raises(FatalError, match=r"holds a state already .*--force"):
        restore(state, folder)
    with (
        closing(Place(state.state_dir / "locks" / "acme", "acme", Lane.FULL)),
        pytest.raises(FatalError, match="a run of acme is under way: stop all of it first"),
    ):
        restore(state, folder, force=True)
    hold = f"import apsw, sys; c = apsw.Connection({str(state.state_dir / 'ops.sqlite')!r}); c.execute('PRAGMA journal_mode = WAL'); "
    hold += "list(c.execute('SELECT * FROM heartbeats')); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(FatalError, match=r"has ops\.sqlite open"):
            restore(state, folder, force=True)
        other.communicate()
    assert held(state, "acme") == "after"


def test_a_damaged_warehouse_is_found_when_it_is_backed_up(state: Settings, tmp_path: Path) -> None:
    file = state.state_dir / "warehouse" / "acme.duckdb"
    content = bytearray(file.read_bytes())
    content[12288:] = bytes(len(content) - 12288)  # behind the headers
    file.write_bytes(content)

    with pytest.raises(FatalError, match=r"acme\.duckdb is damaged.*runbook"):
        taken(state, tmp_path / "backup")
    with pytest.raises(FatalError, match="is no backup"):
        restore(state, tmp_path / "backup", force=True)


def test_a_folder_that_is_in_use_is_not_written_to(state: Settings, tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="is not empty"):
        taken(state, tmp_path)
    with pytest.raises(FatalError, match="nothing to back up"):
        taken(Settings(state.tenants_dir, tmp_path / "empty"), tmp_path / "backup")
