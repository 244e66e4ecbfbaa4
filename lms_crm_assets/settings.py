"""Where things lie, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`LMS_CRM_TENANTS_DIR` (default `tenants`) and `LMS_CRM_STATE_DIR` (default `.lms-crm`)."""

    tenants_dir: Path
    state_dir: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that the environment names."""
        return cls(
            Path(environ.get("LMS_CRM_TENANTS_DIR", "tenants")), Path(environ.get("LMS_CRM_STATE_DIR", ".lms-crm"))
        )

    @property
    def warehouse(self) -> str:
        """The path of a tenant's warehouse, with `{tenant}` in it."""
        return str(self.state_dir / "warehouse" / "{tenant}.duckdb")
