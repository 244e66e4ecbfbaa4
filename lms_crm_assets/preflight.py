"""Looking at both sides before anything is written: a wrong address or credential ends here, with one line."""

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.ops.store import OperationalStore


def check_both_sides(contract: Contract, store: OperationalStore) -> list[str]:
    """A few cheap calls to the LMS and one to the CRM; raises the `FatalError` that says what to mend.

    Gives in plain words what the LMS's credential may not see, a sentence each.
    """
    lms = lms_adapter(contract, store)
    try:
        unseen = lms.probe()
    finally:
        lms.close()
    crm = crm_adapter(contract, store)
    try:
        crm.probe()
    finally:
        crm.close()
    return unseen
