"""One setting says where warehouses lie; what is wrong with it is said without its secrets."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError, FatalError, RetryableError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect, held_still
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.location import locate
from lms_crm_assets.warehouse.motherduck import MotherDuck

LAKE = "ducklake:postgresql://u:s3cret@db:5433/lake?sslmode=require&data_path=/mnt/lake/"


def _settings(url: str, state: Path = Path("state")) -> Settings:
    return Settings.from_environ({"LMS_CRM_WAREHOUSE": url, "LMS_CRM_STATE_DIR": str(state)})


def test_without_a_setting_each_tenant_has_a_file() -> None:
    assert locate(_settings(" "), "acme") == Path("state/warehouse/acme.duckdb")


@pytest.mark.parametrize("url", [LAKE, LAKE.replace("ducklake:", "ducklake:postgres:")])
def test_a_lake_keeps_each_tenant_in_a_schema_and_a_folder_of_its_own(url: str) -> None:
    lake = locate(_settings(url), "acme")
    assert isinstance(lake, Lake)
    assert (lake.schema, lake.files) == ("lms_acme", Path("/mnt/lake/acme"))
    assert lake.url.get_secret_value() == "postgresql://u:s3cret@db:5433/lake?sslmode=require"
    assert str(lake) == "DuckLake of acme in the Postgres database lake at db"
    assert "s3cret" not in f"{lake!r} {_settings(url)!r}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ducklake:postgresql://u:s3cret@db/lake", "no data_path"),
        ("ducklake:postgresql://u:s3cret@db/lake?data_path=relative", "no absolute path"),
        ("ducklake:postgresql://u:s3cret@db/lake?data_path=s3://bucket/x", "no absolute path"),
        ("ducklake:postgresql://u:s3cret@#!@db/lake?data_path=/mnt", "no DuckLake's address"),
        ("ducklake:sqlite:s3cret.sqlite?data_path=/mnt", "no DuckLake's address"),
        ("postgresql://u:s3cret@db/lake", "neither ducklake:postgresql"),
        ("md:lms_{tenant}?motherduck_token=s3cret", "no token, .* motherduck_token in the environment"),
        ("md:shared", "no MotherDuck database of a tenant's own"),
    ],
)
def test_what_is_no_location_is_refused_without_quoting_it(url: str, says: str) -> None:
    with pytest.raises(FatalError, match=says) as refused:
        locate(_settings(url), "acme")
    assert "s3cret" not in str(refused.value)


def test_motherduck_wants_a_token_and_is_written_by_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("motherduck_token", raising=False)
    monkeypatch.delenv("MOTHERDUCK_TOKEN", raising=False)
    duck = locate(_settings("md:lms_crm_{tenant}", tmp_path), "acme")
    assert isinstance(duck, MotherDuck)
    assert (duck.database, duck.catalog) == ("lms_crm_acme", '"lms_crm_acme"')
    with pytest.raises(CredentialError, match="motherduck_token in the environment"), connect(duck):
        pass
    with held_still(duck), pytest.raises(RetryableError, match="lms_crm_acme is open in a run"):
        duck.hold()
    monkeypatch.setenv("motherduck_token", SecretStr("s3cret").get_secret_value())
    with (
        pytest.raises(FatalError, match=r"(has no extension motherduck|does not open lms_crm_acme)") as refused,
        connect(duck),
    ):
        pass
    assert "s3cret" not in str(refused.value)
