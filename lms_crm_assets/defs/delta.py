"""delta: what has to change in the CRM, one row a record."""

from dataclasses import asdict

import dagster as dg

from lms_crm_assets.contract.canonical import PARENTS
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.defs.edge import TABLE_LIMIT, TENANTS, key, table, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.delta.build import build_delta, sample
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.sync.journal import recover

SOURCES = {
    CrmObject.CONTACT: [LmsEntity.LEARNERS],
    CrmObject.COURSE: [LmsEntity.COURSES],
    CrmObject.ENROLLMENT: [LmsEntity.ENROLLMENTS],
    CrmObject.COMPLETION: [LmsEntity.COMPLETIONS, LmsEntity.SCORES],
    CrmObject.COMPETENCY: [LmsEntity.COMPETENCIES],
}
_PLAN_COLUMNS = {
    "external_id": "The LMS's id, the value of the match key",
    "action": "create or update",
    "class": "ours: the LMS changed; drift: the CRM was changed by others; conflict: both",
    "changed_fields": "The CRM fields that are to be written",
}


def _delta_asset(obj: CrmObject) -> dg.AssetsDefinition:
    @dg.asset(
        key=key("delta", obj),
        group_name="delta",
        partitions_def=TENANTS,
        kinds={"duckdb"},
        description=f"Each {obj} whose CRM state differs from the LMS under the contract: create or update, the "
        "changed fields with old and new value, and whether the difference is ours, drift or a conflict.",
        deps=[
            *(key("staging", entity.staging_table) for entity in SOURCES[obj]),
            *(key("crm_snapshot", other) for other in (obj, *sorted(PARENTS[obj]))),
        ],
    )
    def delta(
        context: dg.AssetExecutionContext, tenants: TenantsResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        tenant = context.partition_key
        with translated():
            contract = tenants.contract(tenant)
            if obj not in contract.objects:
                return dg.MaterializeResult(metadata={"skipped": f"{tenant} maps no {obj}"})
            spec = object_spec(contract, obj)
            with warehouse.connect(tenant) as con:
                recovered = recover(con, spec, tenants.folder(tenant, "sync"))
                counts = build_delta(con, spec)
                rows = sample(con, spec, TABLE_LIMIT)
        return dg.MaterializeResult(
            metadata={
                **asdict(counts),
                "dagster/row_count": counts.create + counts.update,
                "recovered_journals": recovered,
                "plan": table(rows, _PLAN_COLUMNS),
            }
        )

    return delta


DELTA = [_delta_asset(obj) for obj in CrmObject]
