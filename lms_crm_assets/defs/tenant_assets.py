"""The assets of a tenant, from the LMS to the CRM; what looks after all tenants is not among them."""

from collections.abc import Sequence

import dagster as dg

from lms_crm_assets.defs.crm_snapshot import CRM_SNAPSHOT
from lms_crm_assets.defs.delta import DELTA
from lms_crm_assets.defs.discovery import DISCOVERY
from lms_crm_assets.defs.events import settled_events
from lms_crm_assets.defs.raw_lms import raw_lms
from lms_crm_assets.defs.staging import STAGING
from lms_crm_assets.defs.sync import SYNC

TENANT_ASSETS: Sequence[dg.AssetsDefinition] = [
    raw_lms,
    *STAGING,
    *DISCOVERY,
    *CRM_SNAPSHOT,
    *DELTA,
    *SYNC,
    settled_events,
]

TENANT_KEYS = frozenset(key for assets in TENANT_ASSETS for key in assets.keys)
"""What a full reconciliation touches, all of it."""
