"""What a run tells Dagster of its tables, against the tables themselves."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate

pytestmark = pytest.mark.slow

Metadata = dict[str, Any]


@pytest.fixture(params=["acme", "globex"])
def told(request: pytest.FixtureRequest, sandbox: Sandbox, settings: Settings) -> Iterator[tuple[str, Metadata]]:  # noqa: ARG001 - it sets the environment
    """A tenant, and what the first full run told of each asset: its definition's metadata, and its own over that."""
    tenant = str(request.param)
    definitions = build_definitions(settings)
    graph = definitions.resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        summary = run_job(definitions.resolve_job_def("full_reconcile"), tenant, instance)
        assert summary.succeeded, summary.problems
        found = {}
        for key in graph.get_all_asset_keys():
            event = instance.get_latest_materialization_event(key)
            if event is not None and event.asset_materialization is not None:
                found[key.to_user_string()] = {
                    **graph.get(key).metadata,
                    **{name: value.value for name, value in event.asset_materialization.metadata.items()},
                }
        yield tenant, found


def test_the_columns_are_those_of_the_tables_and_each_is_described(
    told: tuple[str, Metadata], settings: Settings
) -> None:
    tenant, found = told
    with connect(locate(settings, tenant)) as con:
        for asset, metadata in found.items():
            layer = asset.partition("/")[0]
            if layer in {"raw_lms", "staging", "crm_snapshot"}:
                assert metadata["dagster/table_name"] == asset.replace("/", ".")
                described = con.execute(
                    "SELECT column_name, replace(column_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ')"
                    f" FROM (DESCRIBE {metadata['dagster/table_name']})"
                ).fetchall()
                columns = metadata["dagster/column_schema"].columns
                assert [(c.name, c.type) for c in columns] == described, asset
            for column in metadata["dagster/column_schema"].columns if "dagster/column_schema" in metadata else ():
                assert column.description, (asset, column.name)
    assert sum("dagster/column_schema" in metadata for metadata in found.values()) == 6 + 6 + 3 * 5


def test_the_lineage_goes_from_column_to_column_that_there_are(told: tuple[str, Metadata]) -> None:
    _, found = told
    columns = {
        asset: {column.name for column in metadata["dagster/column_schema"].columns}
        for asset, metadata in found.items()
        if "dagster/column_schema" in metadata
    }
    for asset, metadata in found.items():
        lineage = metadata.get("dagster/column_lineage")
        assert (lineage is not None) == (asset.partition("/")[0] in {"delta", "sync"} and asset in columns), asset
        for name, deps in lineage.deps_by_column.items() if lineage is not None else ():
            assert name in columns[asset]
            assert all(dep.column_name in columns[dep.asset_key.to_user_string()] for dep in deps), (asset, name)
    email = "Email" if "Email" in columns["sync/contact"] else "email"
    [delta] = found["sync/contact"]["dagster/column_lineage"].deps_by_column[email]
    assert (delta.asset_key.to_user_string(), delta.column_name) == ("delta/contact", email)
    deps = found["delta/contact"]["dagster/column_lineage"].deps_by_column[email]
    assert {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps} == {
        *(("staging/learner", "email"), ("crm_snapshot/contact", email))
    }
    tagged = {c.name for c in found["sync/contact"]["dagster/column_schema"].columns if "pii" in (c.tags or {})}
    assert email in tagged


def test_figures_are_numbers_under_names_that_stay(told: tuple[str, Metadata]) -> None:
    tenant, found = told
    figures = found["sync/contact"]
    assert figures["records_created"] > 0
    assert figures["http_calls"] >= figures["write_calls"] > 0
    assert found["crm_snapshot/contact"]["http_calls"] > 0
    assert found["delta/plan"]["drifted"] == found["delta/plan"]["refused"] == 0
    # Moodle says of no account when it was changed; the other LMS does of each.
    assert (figures.get("lag_seconds", -1) >= 0) == (tenant == "globex")


def test_records_are_linked_to_their_pages_in_the_crm(told: tuple[str, Metadata], sandbox: Sandbox) -> None:
    tenant, found = told
    if tenant == "globex":  # whose contract names no portal
        assert "crm_pages" not in found["sync/contact"]
        return
    links = found["sync/contact"]["crm_pages"].splitlines()[2:]
    assert len(links) == 20
    assert all(f"({sandbox.salesforce}/lightning/r/Contact/003" in line for line in links)
    assert "@" not in found["sync/contact"]["crm_pages"]
