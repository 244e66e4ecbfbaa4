"""The one thing to do next."""

from collections.abc import Mapping, Sequence

from lms_crm_assets.doctor.machine import is_reconciled
from lms_crm_assets.doctor.verdict import Level, Verdict
from lms_crm_assets.settings import Settings


def next_step(machine: Sequence[Verdict], tenants: Mapping[str, Sequence[Verdict]], settings: Settings) -> str:
    """What a person does now: the first failure's remedy, else what comes after what has been done."""
    for where, verdicts in {"": machine, **tenants}.items():
        for verdict in verdicts:
            if verdict.level is Level.FAIL:
                whose = f"{where}: " if where else ""
                return f"mend {whose}{verdict.about}: {verdict.remedy}"
    for tenant, verdicts in tenants.items():
        shared = next((each for each in verdicts if each.about == "CRM records" and each.level is Level.WARN), None)
        if shared:
            return f"before {tenant} writes anything: {shared.says}; {shared.remedy}"
        if not is_reconciled(settings, tenant):
            return f"lms-crm plan --tenant {tenant} shows what would be written; lms-crm reconcile --tenant {tenant} or lms-crm apply writes it"
    for verdict in [*machine, *(each for verdicts in tenants.values() for each in verdicts)]:
        if verdict.level is Level.WARN:
            return f"look at {verdict.about}: {verdict.remedy}"
    return "nothing: all is well"
