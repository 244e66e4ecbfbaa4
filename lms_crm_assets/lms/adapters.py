"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import Contract, MoodleSource
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.moodle import MoodleAdapter
from lms_crm_assets.lms.protocol import LmsAdapter
from lms_crm_assets.ops.store import OperationalStore


def lms_adapter(contract: Contract, store: OperationalStore) -> LmsAdapter:
    """The adapter for a contract's source, at the contract's pace."""
    source, limit = contract.source, contract.throttle.lms
    if isinstance(source, MoodleSource):
        return MoodleAdapter(source, limit, store)
    return ChangesAdapter(source, limit, store)
