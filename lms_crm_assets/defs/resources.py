"""What the assets are given: the tenants' contracts and warehouses."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.warehouse.connection import connect


class TenantsResource(dg.ConfigurableResource[None]):
    """The folder of contracts, and the folder where the tenants' state lies."""

    tenants_dir: str = Field(description="Where the contracts are, one YAML file a tenant.")
    state_dir: str = Field(description="Where landing files, spools and journals are kept.")

    def contract(self, tenant: str) -> Contract:
        """The tenant's contract as it stands now."""
        return load_contract(Path(self.tenants_dir), tenant)

    def names(self) -> list[str]:
        """All tenants that have a contract."""
        return tenant_names(Path(self.tenants_dir))

    def folder(self, tenant: str, purpose: str) -> Path:
        """A folder of the tenant's own."""
        return Path(self.state_dir) / purpose / tenant


class WarehouseResource(DuckDBResource):
    """One DuckDB file a tenant; `database` is the path with `{tenant}` in it.

    The base class gives up its lock only on success and knows one file only.
    """

    @contextmanager
    def connect(self, tenant: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the tenant's file, closed whatever happens."""
        with connect(Path(self.database.format(tenant=tenant)), self.connection_config) as con:
            yield con
