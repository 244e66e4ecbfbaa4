"""crm_snapshot: the CRM's own state of the mapped fields."""

from datetime import UTC, datetime

import dagster as dg

from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.defs.edge import TENANTS, key, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.snapshot.capture import land_records, load_snapshot


def _snapshot_asset(obj: CrmObject) -> dg.AssetsDefinition:
    @dg.asset(
        key=key("crm_snapshot", obj),
        group_name="crm_snapshot",
        partitions_def=TENANTS,
        kinds={"duckdb"},
        description=f"Each {obj} in the CRM that has our match key, as it was before this run's sync: the fields that the "
        "contract names, in the CRM's own spelling. Empty before the first sync.",
    )
    def crm_snapshot(
        context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        with translated():
            contract = tenants.contract(tenant)
            if obj not in contract.objects:
                return dg.MaterializeResult(metadata={"skipped": f"{tenant} maps no {obj}"})
            spec = object_spec(contract, obj)
            file = tenants.folder(tenant, "landing") / f"{obj}.ndjson"
            crm = crm_adapter(contract, tenants.store())
            captured_at = datetime.now(UTC)
            try:
                rows = land_records(crm.snapshot(spec), file)
            finally:
                crm.close()
            with warehouse.connect(tenant) as con:
                load_snapshot(con, spec, file, captured_at)
            file.unlink()
        return dg.MaterializeResult(metadata={"dagster/row_count": rows})

    return crm_snapshot


CRM_SNAPSHOT = [_snapshot_asset(obj) for obj in CrmObject]
