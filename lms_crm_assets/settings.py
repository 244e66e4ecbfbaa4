"""Where things lie, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

VARIABLES = (
    "LMS_CRM_ACTOR",
    "LMS_CRM_BROKER_URL",
    "LMS_CRM_IMAGE",
    "LMS_CRM_KEY",
    "LMS_CRM_KEY_FILE",
    "LMS_CRM_LOG_FILE",
    "LMS_CRM_LOG_FORMAT",
    "LMS_CRM_LOG_LEVEL",
    "LMS_CRM_REVEAL_ERRORS",
    "LMS_CRM_STATE_DIR",
    "LMS_CRM_STORE_PASSWORD_FILE",
    "LMS_CRM_STORE_URL",
    "LMS_CRM_TENANTS_DIR",
    "LMS_CRM_UI_URL",
    "LMS_CRM_WAREHOUSE",
)
"""All that are read, here or where they concern somebody; docs/settings.md tells of each."""


@dataclass(frozen=True)
class Settings:
    """`LMS_CRM_TENANTS_DIR` (default `tenants`), `LMS_CRM_STATE_DIR` (default `.lms-crm`) and `LMS_CRM_WAREHOUSE`.

    `warehouse_url` says where the warehouses lie, see `warehouse.location`; None: in files in the state folder.
    """

    tenants_dir: Path
    state_dir: Path
    warehouse_url: SecretStr | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that the environment names."""
        url = environ.get("LMS_CRM_WAREHOUSE", "").strip()
        return cls(
            Path(environ.get("LMS_CRM_TENANTS_DIR", "tenants")),
            Path(environ.get("LMS_CRM_STATE_DIR", ".lms-crm")),
            SecretStr(url) if url else None,
        )
