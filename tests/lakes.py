"""A DuckLake for the tests: its catalog in the tests' real Postgres, its files in the test's folder."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from lms_crm_assets.warehouse.extensions import packaged
from tests.postgres import PASSWORD, Server


@pytest.fixture
def lake_url(postgres: Server, database: str, tmp_path: Path) -> SecretStr:
    """The setting that has warehouses lie in a lake; over loopback, which wants the password."""
    if not all(packaged(extension) for extension in ("ducklake", "postgres_scanner")):
        pytest.skip("duckdb-extension-ducklake and duckdb-extension-postgres-scanner are not there for this DuckDB")
    # DuckLake drops the schemas of a test that had the database before only with the database's own ones.
    for (schema,) in postgres.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lms\\_%'", database):
        postgres.run(f'DROP SCHEMA "{schema}" CASCADE', database)
    password = PASSWORD.replace("@", "%40").replace(":", "%3A").replace("/", "%2F")
    address = f"postgresql://tests:{password}@127.0.0.1:{postgres.port}/{database}"
    return SecretStr(f"ducklake:{address}?data_path={tmp_path / 'lake'}")
