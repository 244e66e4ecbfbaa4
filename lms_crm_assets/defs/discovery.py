"""discovery: what both sides say of themselves, by day, and whether that fits the contract and what a person accepted."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.examine import examine
from lms_crm_assets.defs.discovery_checks import (
    as_accepted,
    attributes_as_accepted,
    fits_contract,
    like_production,
    supported,
)
from lms_crm_assets.defs.edge import TENANTS, key, table, translated
from lms_crm_assets.defs.resources import TenantsResource, WarehouseResource
from lms_crm_assets.discovery.crm_schema import drop_days, is_known, keep, newest
from lms_crm_assets.discovery.likeness import Other, ask_other, likeness, store_other
from lms_crm_assets.discovery.lms_changes import fate, standing_shapes, unread_attributes
from lms_crm_assets.discovery.lms_shape import drop_shapes, newest_shape, sample, shape_of, store_shape
from lms_crm_assets.discovery.standing import standing_changes
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.staging.attributes import read_attributes


class DiscoveryConfig(dg.Config):
    """How old what is known may be."""

    max_age_minutes: int = Field(
        0,
        ge=0,
        description="What an earlier run discovered so few minutes ago is taken as it is; 0: everything is asked anew.",
    )


_OBJECT_COLUMNS = {
    "object": "The object of the contract",
    "to": "The CRM's name of it",
    "fields": "Fields that the CRM tells of; none where it has no such object",
    "required": "Fields without which no record can be made",
    "discovered_at": "When the CRM was asked",
}
_SHAPE_COLUMNS = {
    "entity": "The table of raw_lms",
    "records": "Records that were looked at",
    "attributes": "Attributes that these have",
    "unread": "Attributes that the adapter does not read",
    "unread_are": "What becomes of these: kept in extra, or ignored",
}


@dg.asset(
    key=key("discovery", "crm_schema"),
    group_name="discovery",
    partitions_def=TENANTS,
    kinds={"salesforce", "hubspot"},
    description="What the CRM tells of each object of the contract, kept by day: fields, types, lengths, picklists, keys. "
    "Nothing is captured or written before it fits the contract.",
    check_specs=[
        dg.AssetCheckSpec(
            "fits_contract",
            asset=key("discovery", "crm_schema"),
            blocking=True,
            description="The CRM can hold what the contract sends. What would fail whole calls stops the run before the first "
            "write; what concerns single records is a warning, these are refused one by one.",
        ),
        dg.AssetCheckSpec(
            "as_accepted",
            asset=key("discovery", "crm_schema"),
            description="The CRM is as it was when a person accepted it (or at its first discovery). Changes stay until "
            "`lms-crm crm accept`; fields that merely came are no failure.",
        ),
        dg.AssetCheckSpec(
            "supported",
            asset=key("discovery", "crm_schema"),
            description="The API version of the contract is supported for at least 90 days more.",
        ),
        dg.AssetCheckSpec(
            "like_production",
            asset=key("discovery", "crm_schema"),
            description="The CRM of the tenant that the contract names in checks.compare_schema_with has all that this one "
            "has, as wide.",
        ),
    ],
)
def crm_schema(
    context: dg.AssetExecutionContext, config: DiscoveryConfig, tenants: TenantsResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Ask the CRM, unless an earlier run has just done so, and compare."""
    tenant, now = context.partition_key, datetime.now(UTC)
    with translated(), tenants.layer(tenant, "discovery", "crm_schema"):
        contract = tenants.contract(tenant)
        specs = {obj: object_spec(contract, obj) for obj in contract.in_order()}
        with warehouse.connect(tenant) as con:
            known = is_known(con, specs.values(), now - timedelta(minutes=config.max_age_minutes))
        if not known:
            with tenants.aside():
                found = examine(contract, tenants.store())
                other = _other(contract, tenants)
        with warehouse.connect(tenant) as con:
            if not known:
                keep(con, found, now)
                if other is not None:
                    store_other(con, other, now)
                drop_days(con, (now - timedelta(days=contract.retention_days)).date())
            discovered = {obj: newest(con, obj) for obj in specs}
            standing = {obj: standing_changes(con, spec) for obj, spec in specs.items()}
            compared_with = contract.checks.compare_schema_with
            compared = likeness(con, compared_with, specs) if compared_with else None
    schemas = {obj: each.schema for obj, each in discovered.items() if each is not None}
    return dg.MaterializeResult(
        metadata={
            "asked_anew": not known,
            "objects": table(
                [
                    {
                        "object": obj.value,
                        "to": specs[obj].to,
                        "fields": len(each.schema.fields) if each.schema else 0,
                        "required": ", ".join(n for n, f in each.schema.fields.items() if f.required)
                        if each.schema
                        else "",
                        "discovered_at": f"{each.at:%Y-%m-%d %H:%M} UTC",
                    }
                    for obj, each in discovered.items()
                    if each is not None
                ],
                _OBJECT_COLUMNS,
            ),
        },
        check_results=[
            fits_contract(tenant, specs, schemas),
            as_accepted(tenant, standing),
            supported(contract, now.date()),
            like_production(tenant, compared_with, compared),
        ],
    )


def _other(contract: Contract, tenants: TenantsResource) -> Other | None:
    """What the tenant's CRM is to be compared with; trouble with that is none of this tenant."""
    name = contract.checks.compare_schema_with
    if name is None:
        return None
    try:
        other = tenants.contract(name)
    except LmsCrmError as exc:
        return Other(name, {}, str(exc))
    return ask_other(contract, other, tenants.store())


@dg.asset(
    key=key("discovery", "lms_schema"),
    group_name="discovery",
    deps=[key("raw_lms", entity) for entity in LmsEntity],
    partitions_def=TENANTS,
    kinds={"duckdb"},
    description="Which attributes the LMS's records have, and of which types, kept by day; of large tables as a sample tells, "
    "the newest rows first.",
    check_specs=[
        dg.AssetCheckSpec(
            "as_accepted",
            asset=key("discovery", "lms_schema"),
            description="The LMS's records have the attributes, and the types, that they had when a person accepted them (or "
            "at first). New attributes are no failure.",
        )
    ],
)
def lms_schema(
    context: dg.AssetExecutionContext, config: DiscoveryConfig, tenants: TenantsResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Look at what landed, unless an earlier run has just done so, and compare."""
    tenant, now = context.partition_key, datetime.now(UTC)
    since = now - timedelta(minutes=config.max_age_minutes)
    with translated():
        contract = tenants.contract(tenant)
        adapter, keeps_unknown = contract.source.adapter, contract.unknown_attributes == "keep"
        asked = f"{adapter} {contract.source.url}"
        with warehouse.connect(tenant) as con:
            shapes = {entity: newest_shape(con, entity) for entity in LmsEntity}
            for entity, known in shapes.items():
                if known is None or known.asked != asked or known.at < since:
                    store_shape(con, entity, shape_of(sample(con, entity)), now, asked=asked)
            drop_shapes(con, (now - timedelta(days=contract.retention_days)).date())
            shapes = {entity: newest_shape(con, entity) for entity in LmsEntity}
            standing = {
                entity: standing_shapes(con, entity, adapter, keeps_unknown=keeps_unknown) for entity in LmsEntity
            }
    return dg.MaterializeResult(
        metadata={
            "shapes": table(
                [
                    {
                        "entity": entity.value,
                        "records": seen.shape.records,
                        "attributes": len(seen.shape.attributes),
                        "unread": ", ".join(unread_attributes(seen.shape, read_attributes(adapter, entity))),
                        "unread_are": fate(adapter, entity, keeps_unknown=keeps_unknown),
                    }
                    for entity, seen in shapes.items()
                    if seen is not None
                ],
                _SHAPE_COLUMNS,
            )
        },
        check_results=[attributes_as_accepted(tenant, standing)],
    )


DISCOVERY = [crm_schema, lms_schema]
