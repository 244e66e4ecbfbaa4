"""Asking a live CRM whether it suits a contract."""

from dataclasses import dataclass

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.acceptance import Finding, accept
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.store import OperationalStore


@dataclass(frozen=True, slots=True)
class Examination:
    """One object of the contract beside the CRM's; `schema` is None when there is no such object."""

    spec: ObjectSpec
    schema: CrmSchema | None
    findings: list[Finding]


def examine(contract: Contract, store: OperationalStore) -> dict[CrmObject, Examination]:
    """Discover every object that the contract names, reading nothing but definitions; raises the errors of `errors`."""
    crm = crm_adapter(contract, store)
    found = {}
    try:
        for obj in contract.in_order():
            spec = object_spec(contract, obj)
            schema = crm.discover(spec.to, [parent.to for parent in spec.parents.values()])
            found[obj] = Examination(spec, schema, accept(spec, schema))
    finally:
        crm.close()
    return found
