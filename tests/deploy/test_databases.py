"""Dagster and the product work with the two databases that compose makes, each with its own role."""

import os
import shutil
import subprocess
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import create_run_for_test

from lms_crm_assets.ops.store import OperationalStore
from tests.deploy.manifests import COMPOSE
from tests.postgres import Server

DAGSTERS, STORES = "d'4$g:st/r", "st'0r$:e"


def test_each_role_has_a_database_of_its_own(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("psql") is None:
        pytest.skip("no psql on this machine")
    password = tmp_path / "store-password"
    password.write_text(f"{STORES}\n", encoding="utf-8")
    sql = (COMPOSE / "databases.sql").read_text(encoding="utf-8").replace("/run/secrets/store-password", str(password))
    environ = {**os.environ, "DAGSTER_PG_PASSWORD": DAGSTERS}
    psql = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", postgres.url("postgres")]
    subprocess.run(psql, input=sql, env=environ, text=True, check=True)

    for name, value in {"HOST": "127.0.0.1", "DB": "dagster", "USERNAME": "dagster", "PASSWORD": DAGSTERS}.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
    text = (COMPOSE / "dagster.yaml").read_text(encoding="utf-8")
    text = text.replace("postgres_db:\n", f"postgres_db:\n      port: {postgres.port}\n")
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        instance.add_dynamic_partitions("tenants", ["globex"])
        assert instance.get_dynamic_partitions("tenants") == ["globex"]
        run = create_run_for_test(instance)
        instance.report_engine_event("it is kept", run)
        assert [entry.dagster_event_type for entry in instance.all_logs(run.run_id)] == [
            dg.DagsterEventType.ENGINE_EVENT
        ]

    monkeypatch.setenv("LMS_CRM_STORE_URL", f"postgresql://lms_crm@127.0.0.1:{postgres.port}/lms_crm")
    monkeypatch.setenv("LMS_CRM_STORE_PASSWORD_FILE", str(password))
    store = OperationalStore.at(tmp_path)
    assert store.clock() > 0
    store.close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(host="127.0.0.1", port=postgres.port, user="dagster", password=DAGSTERS, dbname="lms_crm")
