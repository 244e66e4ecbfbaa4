"""The published copy: readers never wait for a run, and never see half of one."""

import subprocess
import sys
from pathlib import Path

import pytest

from lms_crm_assets.errors import RetryableError
from lms_crm_assets.warehouse import published
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.published import Published

QUERY = "SELECT count(*) FROM staging.quarantine"


@pytest.fixture
def copies(tmp_path: Path) -> Published:
    return Published(lambda tenant: tmp_path / f"{tenant}.duckdb", tmp_path / "published")


def _add(folder: Path, tenant: str = "acme") -> None:
    with connect(folder / f"{tenant}.duckdb") as con:
        con.execute("INSERT INTO staging.quarantine (entity) VALUES ('learners')")


def _count(copies: Published, tenant: str = "acme", *, at_once: bool = True) -> int:
    if at_once:
        for known in copies._tenants.values():
            known.not_before = 0.0
    con = copies.connection(tenant)
    assert con is not None
    with con:
        return int(con.execute(QUERY).fetchall()[0][0])


def test_there_is_no_copy_before_the_first_run(copies: Published) -> None:
    assert copies.connection("acme") is None


def test_a_newer_state_is_seen_and_an_open_reader_keeps_the_older_one(copies: Published, tmp_path: Path) -> None:
    _add(tmp_path)
    reader = copies.connection("acme")
    assert reader is not None
    for expected in (2, 3, 4):
        _add(tmp_path)
        assert _count(copies) == expected
    assert reader.execute(QUERY).fetchall() == [(1,)]
    folder = tmp_path / "published" / "acme"
    assert len(list(folder.iterdir())) == 1
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o400}


def test_a_copy_is_not_made_for_each_request(copies: Published, tmp_path: Path) -> None:
    _add(tmp_path)
    assert _count(copies) == 1
    _add(tmp_path)
    assert _count(copies, at_once=False) == 1


def test_while_a_run_holds_the_warehouse_the_last_copy_serves(
    copies: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "_FIRST_PATIENCE_SECONDS", 0.1)
    for tenant in ("acme", "new"):
        _add(tmp_path, tenant)
    assert _count(copies) == 1
    run = (
        "import duckdb, sys; held = [duckdb.connect(f) for f in sys.argv[1:]];"
        "held[0].execute('DELETE FROM staging.quarantine'); print('held', flush=True); sys.stdin.read()"
    )
    files = [str(tmp_path / "acme.duckdb"), str(tmp_path / "new.duckdb")]
    with subprocess.Popen(
        [sys.executable, "-c", run, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert _count(copies) == 1
        with pytest.raises(RetryableError):
            copies.connection("new")
        process.kill()
        process.wait()
    assert _count(copies) == 0, "what a killed run had committed counts"
    assert _count(copies, "new") == 1


def test_another_process_finds_the_copy(copies: Published, tmp_path: Path) -> None:
    _add(tmp_path)
    assert _count(copies) == 1
    other = Published(copies._locate, copies._folder)
    assert _count(other) == 1
    copies.close()
    other.close()
