"""What the assets are given: the tenants' contracts and warehouses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.edge import translated
from lms_crm_assets.defs.lock import end_orphans, take_lock
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.warehouse.connection import connect


class TenantsResource(dg.ConfigurableResource[None]):
    """The folder of contracts, and the folder where the tenants' state lies."""

    tenants_dir: str = Field(description="Where the contracts are, one YAML file a tenant.")
    state_dir: str = Field(description="Where landing files, spools and journals are kept.")
    _lock: BinaryIO | None = PrivateAttr(None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take the tenant's lock for the run: a second run, from the command line say, would fight for its files."""
        run = context.run
        tenant = run.tags.get("dagster/partition") if run else None
        if run is None or tenant is None:
            return
        with translated():
            self._lock = take_lock(self.folder(tenant, "locks") / "run.lock", tenant)
        if context.instance is not None:
            end_orphans(context.instance, tenant, run.run_id)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Give the lock back."""
        del context
        if self._lock is not None:
            self._lock.close()

    def contract(self, tenant: str) -> Contract:
        """The tenant's contract as it stands now."""
        return load_contract(Path(self.tenants_dir), tenant)

    def names(self) -> list[str]:
        """All tenants that have a contract."""
        return tenant_names(Path(self.tenants_dir))

    def store(self) -> OperationalStore:
        """What the runs of this state folder share: rates, breakers, quotas, kept tokens."""
        return OperationalStore.at(Path(self.state_dir))

    def inbox(self) -> Inbox:
        """What was delivered for the tenants; `CredentialError` where there is no key."""
        return Inbox.at(Path(self.state_dir))

    def folder(self, tenant: str, purpose: str) -> Path:
        """A folder of the tenant's own."""
        return Path(self.state_dir) / purpose / tenant


class WarehouseResource(DuckDBResource):
    """One DuckDB file a tenant; `database` is the path with `{tenant}` in it.

    The base class gives up its lock only on success and knows one file only.
    """

    @contextmanager
    def connect(self, tenant: str, settings: Mapping[str, str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the tenant's file, closed whatever happens; `settings` come before the resource's own."""
        with connect(Path(self.database.format(tenant=tenant)), {**self.connection_config, **(settings or {})}) as con:
            yield con
