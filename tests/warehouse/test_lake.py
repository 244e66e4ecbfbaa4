"""A warehouse in a DuckLake: several processes, one state, and nothing left of what was erased."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr

from lms_crm_assets.backup.restoring import restore
from lms_crm_assets.backup.saving import back_up
from lms_crm_assets.errors import CredentialError, FatalError, RetryableError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect, held_still, transaction
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.location import known_tenants, locate
from lms_crm_assets.warehouse.published import reading
from lms_crm_assets.warehouse.rewriting import rewrite
from lms_crm_assets.warehouse.sql import scalar
from lms_crm_assets.warehouse.upkeep import tidy
from tests.postgres import PASSWORD, Server

_WRITER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate

settings = Settings(Path(), Path(sys.argv[1]), SecretStr(sys.stdin.read()))
own, shared = (locate(settings, tenant) for tenant in (sys.argv[2], "shared"))
for _ in range(2):
    with connect(own) as con:
        con.execute("INSERT INTO sync.unconverged VALUES ('contact', $1)", [sys.argv[2]])
    with connect(shared) as con:
        # Right only if nobody writes between the two statements.
        number = con.execute("SELECT coalesce(max(in_lms), 0) FROM staging.builds").fetchall()[0][0]
        con.execute("DELETE FROM staging.builds")
        con.execute("INSERT INTO staging.builds (in_lms) VALUES ($1)", [number + 1])
"""


@pytest.fixture
def settings(lake_url: SecretStr, tmp_path: Path) -> Settings:
    return Settings(tmp_path / "tenants", tmp_path / "state", lake_url)


def test_three_writers_at_once_lose_nothing(settings: Settings, lake_url: SecretStr) -> None:
    def write(tenant: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", _WRITER, str(settings.state_dir), tenant]
        return subprocess.run(command, input=lake_url.get_secret_value(), capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(3) as pool:
        writers = list(pool.map(write, ["one", "two", "three"]))
    assert [(writer.returncode, writer.stdout, writer.stderr) for writer in writers] == [(0, "", "")] * 3

    assert known_tenants(settings) == ["one", "shared", "three", "two"]
    with reading(settings, "shared") as con:
        assert scalar(con, "SELECT in_lms FROM staging.builds") == 6
    with reading(settings, "two") as con:
        assert con.execute("SELECT external_id, count(*) FROM sync.unconverged GROUP BY 1").fetchall() == [("two", 2)]


def test_what_is_erased_is_in_no_file_and_no_table_and_readers_see_one_state(
    settings: Settings, postgres: Server, database: str, tmp_path: Path
) -> None:
    lake = locate(settings, "acme")
    assert isinstance(lake, Lake)
    with connect(lake) as con:
        _add(con, "aaa.first", "canary.kept", "zz.canary.erased")
    with connect(lake) as con:
        con.execute("DELETE FROM sync.unconverged WHERE external_id = 'zz.canary.erased'")
    held = everything(postgres, database, tmp_path / "lake")
    assert held("zz.canary.erased")

    with reading(settings, "acme") as reader:
        assert scalar(reader, "SELECT count(*) FROM sync.unconverged") == 2
        with connect(lake) as con:
            _add(con, "later")
        assert scalar(reader, "SELECT count(*) FROM sync.unconverged") == 2

    rewrite(lake)
    with connect(lake) as con:
        tidy(con, lake)

    assert not held("zz.canary.erased")
    assert held("canary.kept")
    with connect(lake) as con:
        assert scalar(con, "SELECT count(*) FROM sync.unconverged") == 3
        con.execute("INSERT INTO delta.plans (plan_id) VALUES ('p')")
        assert con.execute("SELECT lane FROM delta.plans").fetchall() == [("full",)]


def test_a_backup_is_a_file_that_goes_back_to_a_lake_and_into_a_state_without_one(
    settings: Settings, tmp_path: Path
) -> None:
    with connect(locate(settings, "acme")) as con:
        _add(con, "before")
    manifest = back_up(settings, tmp_path / "backup", lambda _current, _done, _total: None, in_postgres=False)
    assert manifest.rows == {"acme": 1}
    with connect(locate(settings, "acme")) as con:
        _add(con, "after")

    with pytest.raises(FatalError, match=r"DuckLake of acme in the Postgres database .*--force"):
        restore(settings, tmp_path / "backup")
    with held_still(locate(settings, "acme")), pytest.raises(FatalError, match="acme's warehouse is open"):
        restore(settings, tmp_path / "backup", force=True)
    done = restore(settings, tmp_path / "backup", force=True)
    elsewhere = Settings(tmp_path / "tenants", tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup")

    for each in (settings, elsewhere):
        with connect(locate(each, "acme")) as con:
            assert con.execute("SELECT external_id FROM sync.unconverged").fetchall() == [("before",)]
            assert scalar(con, "SELECT count(*) FROM sync.restored") > 0
    assert done.set_aside is not None
    with duckdb.connect(done.set_aside / "warehouse" / "acme.duckdb", read_only=True) as con:
        assert scalar(con, "SELECT count(*) FROM sync.unconverged") == 2


def test_no_message_and_no_list_of_duckdb_tells_the_password(settings: Settings, tmp_path: Path) -> None:
    lake = locate(settings, "acme")
    told = [str(lake), repr(lake), repr(settings)]
    with connect(lake) as con, transaction(con):
        told += [str(con.execute(f"FROM {each}()").fetchall()) for each in ("duckdb_databases", "duckdb_secrets")]
    assert settings.warehouse_url is not None
    wrong = settings.warehouse_url.get_secret_value().replace("tests:canary", "tests:wrong-canary")
    with pytest.raises(CredentialError, match="refuses the user") as refused:
        locate(Settings(tmp_path, tmp_path, SecretStr(wrong)), "acme").exists()
    told.append(f"{refused.value!r} {refused.value.__context__!r}")
    assert not [each for each in told if PASSWORD in each or "canary-p" in each]


def test_one_process_at_a_time_has_a_tenants_lake(settings: Settings) -> None:
    lake = locate(settings, "acme")
    assert isinstance(lake, Lake)
    give_back = lake.hold()
    with pytest.raises(RetryableError, match="the warehouse acme is open in a run"), held_still(lake):
        pass
    give_back()
    with held_still(lake), held_still(locate(settings, "globex")):
        pass


def _add(con: duckdb.DuckDBPyConnection, *keys: str) -> None:
    con.execute("INSERT INTO sync.unconverged SELECT 'contact', unnest($1::VARCHAR[])", [list(keys)])


def everything(postgres: Server, database: str, folder: Path) -> Callable[[str], bool]:
    """Whether a text is in a lake's files, whatever they are compressed with, or in its catalog."""

    def held(text: str) -> bool:
        for file in folder.rglob("*.parquet"):
            with duckdb.connect() as con:
                if text in str(con.execute("FROM read_parquet($1)", [str(file)]).fetchall()):
                    return True
            if text.encode() in file.read_bytes():
                return True
        tables = postgres.run("SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE 'lms%'", database)
        return any(text in str(postgres.run(f'TABLE "{schema}"."{table}"', database)) for schema, table in tables)

    return held
