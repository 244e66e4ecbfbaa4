"""Jobs: the nightly full reconciliation and the incremental pull between."""

import dagster as dg

from lms_crm_assets.defs.crm_snapshot import SnapshotConfig
from lms_crm_assets.defs.delta import DeltaConfig
from lms_crm_assets.defs.discovery import DiscoveryConfig
from lms_crm_assets.defs.launch import PLAN_STEP, PlanConfig
from lms_crm_assets.defs.orphans import LANE_TAG
from lms_crm_assets.defs.raw_lms import PullConfig
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.lanes import Lane

_EVERYTHING = dg.AssetSelection.groups("raw_lms", "staging", "discovery", "crm_snapshot", "delta", "sync")

full_reconcile = dg.define_asset_job(
    "full_reconcile",
    selection=_EVERYTHING,
    config=dg.RunConfig(ops={"raw_lms": PullConfig(mode="full", take_events=True), PLAN_STEP: PlanConfig()}),
    description="Read everything from the LMS and the CRM, compare, and write what differs.",
)

plan = dg.define_asset_job(
    "plan",
    selection=_EVERYTHING - dg.AssetSelection.groups("sync"),
    description="Read both sides and compare, but write nothing: the plan is stored under an id.",
)

apply = dg.define_asset_job(
    "apply",
    selection=_EVERYTHING,
    config=dg.RunConfig(ops={PLAN_STEP: PlanConfig()}),
    description="Read both sides again and send the stored plan that the configuration of delta__plan names, unless "
    "what it would change has changed since.",
)

# A person changes a schema now and then, these runs come every few minutes or seconds.
_KNOWN_SCHEMAS = {f"discovery__{name}": DiscoveryConfig(max_age_minutes=15) for name in ("crm_schema", "lms_schema")}
_CHANGES_OF_THE_CRM = {f"crm_snapshot__{obj}": SnapshotConfig(mode="changes") for obj in CrmObject}

incremental_pull = dg.define_asset_job(
    "incremental_pull",
    selection=_EVERYTHING,
    config=dg.RunConfig(
        ops={
            "raw_lms": PullConfig(mode="incremental", take_events=True),
            PLAN_STEP: PlanConfig(),
            **_KNOWN_SCHEMAS,
            **_CHANGES_OF_THE_CRM,
        }
    ),
    description="Read what changed on both sides since the last run, compare, and write what differs.",
)
"""Records that were deleted in the CRM, and links that were moved there, are found by `full_reconcile`."""

sync_events = dg.define_asset_job(
    "sync_events",
    selection=_EVERYTHING,
    tags={LANE_TAG: Lane.EVENTS.value},
    config=dg.RunConfig(
        ops={
            "raw_lms": PullConfig(mode="events", take_events=True),
            **_KNOWN_SCHEMAS,
            **_CHANGES_OF_THE_CRM,
            **{f"delta__{obj}": DeltaConfig(only_touched=True) for obj in CrmObject},
        }
    ),
    description="Ask the LMS for the rows that waiting events touch, read what changed in the CRM, compare these rows, and "
    "write what differs. Goes on beside a full reconciliation of the same tenant, which gives way to it.",
)
