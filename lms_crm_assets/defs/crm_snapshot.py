"""crm_snapshot: the CRM's own state of the mapped fields."""

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
import duckdb
from pydantic import Field

from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.defs.columns import snapshot_metadata
from lms_crm_assets.defs.edge import TENANTS, key, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.events.share import Share
from lms_crm_assets.snapshot.capture import (
    known_until,
    land_records,
    load_snapshot,
    merge_changes,
    not_younger,
    refresh_snapshot,
    without_forgotten,
)
from lms_crm_assets.sync.jobs import settle_left
from lms_crm_assets.sync.journal import recover
from lms_crm_assets.warehouse.sql import scalar


class SnapshotConfig(dg.Config):
    """How much of the CRM is read."""

    mode: Literal["full", "changes"] = Field(
        "full",
        description="`full`: every record. `changes`: those that were changed since; deleted records and moved links are"
        " seen by the next full one.",
    )


def _snapshot_asset(obj: CrmObject) -> dg.AssetsDefinition:
    @dg.asset(
        key=key("crm_snapshot", obj),
        group_name="crm_snapshot",
        # After the pull, which takes the run's events: these say what the CRM is to be asked for. And after the discovery,
        # whose check stops the run here, before anything is written.
        deps=[key("raw_lms", obj.entity), key("discovery", "crm_schema")],
        partitions_def=TENANTS,
        kinds={"duckdb"},
        description=f"Each {obj} in the CRM that has our match key, as it was before this run's sync: the fields that the "
        "contract names, in the CRM's own spelling. Empty before the first sync.",
    )
    def crm_snapshot(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        tenants: TenantsResource,
        warehouse: WarehouseResource,
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        # What lands holds learner data.
        with translated(), tenants.layer(tenant, "crm_snapshot", obj), ExitStack() as stack:
            contract = tenants.contract(tenant)
            if obj not in contract.objects:
                return dg.MaterializeResult(metadata={"skipped": f"{tenant} maps no {obj}"})
            spec = object_spec(contract, obj)
            table = snapshot_metadata(contract, spec)
            if not tenants.is_concerned(tenant, context.run.run_id, obj):
                return dg.MaterializeResult(metadata={**table, "skipped": f"no event touches a {obj}"})
            file, told_file = (tenants.landing(tenant) / f"{obj}{rest}.ndjson" for rest in ("", ".told"))
            share = tenants.share(tenant, context.run.run_id)
            with warehouse.connect(tenant) as con:
                # What a killed run wrote is older than what is read now.
                recovered = recover(con, spec, tenants.folder(tenant, "sync"))
                since = known_until(con, spec) if config.mode == "changes" else None
                # Of what the CRM itself told of: a deleted record shows in no list of changes.
                told = _told_of(con, obj, share) if since is not None else []
            stack.callback(file.unlink, missing_ok=True)
            stack.callback(told_file.unlink, missing_ok=True)
            crm = crm_adapter(contract, tenants.store())
            read_at = datetime.now(UTC)
            try:
                # What a killed run left under way would go on to change what is read here.
                settle_left(crm.bulk, obj, tenants.folder(tenant, "sync"))
                with tenants.aside():
                    forgotten = tenants.forgotten(tenant)
                    pages = crm.snapshot(spec) if since is None else crm.changed_since(spec, since)
                    rows = land_records(without_forgotten(pages, obj, forgotten), file)
                    again = land_records([crm.read(spec, told)], told_file) if told else 0
            finally:
                crm.close()
            with warehouse.connect(tenant) as con:
                if since is None:
                    load_snapshot(con, spec, file, read_at)
                else:
                    rows = merge_changes(con, spec, file, read_at)
                if told:
                    # Without those that were written since.
                    refresh_snapshot(con, spec, told_file, not_younger(con, spec, told, read_at))
                table["dagster/row_count"] = scalar(con, f"SELECT count(*) FROM crm_snapshot.{obj}")
        changes: dict[str, int | str] = {}
        if since is not None:
            changes = {
                "changed": rows,
                "told_of": len(told),
                "of_these_gone": len(told) - again,
                "changed_since": since.isoformat(timespec="seconds"),
            }
        calls = crm.traffic.get("calls", 0)
        return dg.MaterializeResult(metadata={**table, **changes, "recovered_journals": recovered, "http_calls": calls})

    return crm_snapshot


def _told_of(con: duckdb.DuckDBPyConnection, obj: CrmObject, share: Share) -> list[str]:
    """The match keys of the records that the run's events from the CRM name."""
    found = con.execute(
        f"SELECT external_id FROM crm_snapshot.{obj} WHERE crm_id IN (SELECT unnest($1::VARCHAR[]))",
        [share.crm_ids.get(obj, [])],
    ).fetchall()
    return [row[0] for row in found]


CRM_SNAPSHOT = [_snapshot_asset(obj) for obj in CrmObject]
