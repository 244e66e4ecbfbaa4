"""Where a tenant's warehouse lies: in a DuckDB file, in a DuckLake or in MotherDuck. One setting says which; the SQL is the same.

A file is its path. The others answer to the same few questions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import duckdb
from pydantic import SecretStr

from lms_crm_assets.errors import FatalError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.lake import Lake
from lms_crm_assets.warehouse.motherduck import MotherDuck

_HOW = (
    "LMS_CRM_WAREHOUSE is neither ducklake:postgresql://user@host/database?data_path=/folder nor md:name_{tenant}"
    " (docs/warehouse.md); unset, each tenant has a DuckDB file in the state folder"
)


class Remote(Protocol):
    """A tenant's warehouse that is no file of this machine's. Its text and `name` hold no secret."""

    @property
    def name(self) -> str:
        """What to call it in a message."""

    @property
    def catalog(self) -> str:
        """What it is called once it is attached."""

    @property
    def scratch(self) -> Path:
        """Where DuckDB may write what doesn't fit its memory."""

    def exists(self) -> bool:
        """Whether somebody made it."""

    def hold(self) -> Callable[[], None]:
        """Keep all other processes from writing it, until what it gives is called.

        `RetryableError` at once while somebody else does.
        """

    def attach(self, con: duckdb.DuckDBPyConnection, *, read_only: bool = False) -> None:
        """Attach it, made where it isn't yet."""

    def identity(self) -> tuple[int, int]:
        """What tells it from one that took its place."""

    def is_made(self, schema: str) -> bool:
        """Whether it has the tables of that text already; asked by who holds it."""

    def note_made(self, schema: str) -> None:
        """Note that it has."""


Location = Path | Lake | MotherDuck


def locate(settings: Settings, tenant: str) -> Location:
    """Where the tenant's warehouse lies; `FatalError` where the setting is none that we know."""
    return location_of(settings.warehouse_url, settings.state_dir, tenant)


def location_of(url: SecretStr | None, state_dir: Path, tenant: str) -> Location:
    """The same, of a setting and a state folder."""
    folder = state_dir / "warehouse"
    text = url.get_secret_value().strip() if url else ""
    if not text:
        return folder / f"{tenant}.duckdb"
    if text.startswith("ducklake:"):
        return Lake.of(text, tenant, folder)
    if text.startswith("md:"):
        return MotherDuck.of(text, tenant, folder)
    raise FatalError(_HOW)


def known_tenants(settings: Settings) -> list[str]:
    """The tenants that have a warehouse."""
    anywhere = locate(settings, "any")
    if isinstance(anywhere, Path):
        return sorted(file.stem for file in anywhere.parent.glob("*.duckdb"))
    return anywhere.tenants()
