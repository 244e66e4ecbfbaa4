"""What a backup holds, and where it lies in a state folder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.location import Location, known_tenants, locate
from lms_crm_assets.warehouse.publishing import FOLDER, copy_path

STATE, CONTRACTS = "state", "tenants"
"""The folders of a backup: what goes into the state folder, and what into the folder of contracts."""

# What was answered before the inbox: a sender that heard that a delivery was taken doesn't bring it again. The inbox before
# the warehouses: an event that is done there is in the warehouse. After them the list of forgotten learners,
# which else would lack whom a warehouse lacks; what is counted, and the keys of that list, come last.
STORES_BEFORE = ("api.sqlite", "inbox.sqlite")
STORES_AFTER = ("privacy.sqlite", "ops.sqlite")


@dataclass(frozen=True)
class Places:
    """The paths of one state folder."""

    settings: Settings

    def warehouse(self, tenant: str) -> Location:
        """Where the tenant's warehouse lies."""
        return locate(self.settings, tenant)

    def journals(self, tenant: str) -> Path:
        """The tenant's folder of outcomes that are not in its warehouse yet."""
        return self.settings.state_dir / "sync" / tenant

    def receipts(self) -> Path:
        """The folder of the receipts of erasures."""
        return self.settings.state_dir / "receipts"

    def locks(self, tenant: str) -> Path:
        """The tenant's folder of locks."""
        return self.settings.state_dir / "locks" / tenant

    def tenants(self) -> list[str]:
        """The tenants that have a warehouse."""
        return known_tenants(self.settings)

    def stores(self, names: Iterable[str] = (*STORES_BEFORE, *STORES_AFTER)) -> list[Path]:
        """The SQLite files that there are."""
        return [file for name in names if (file := self.settings.state_dir / name).exists()]

    def of_tenant(self, tenant: str) -> Iterator[Path]:
        """All that a tenant has in the state folder, but for its locks."""
        yield from (self.settings.state_dir / "warehouse").glob(f"{tenant}.duckdb*")
        if (copy := copy_path(self.settings.state_dir, tenant)).exists():
            yield copy
        for purpose in ("sync", "events", "landing", FOLDER):
            folder = self.settings.state_dir / purpose / tenant
            if folder.exists():
                yield folder
