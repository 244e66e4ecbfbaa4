"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import Contract, MoodleSource
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.moodle import MoodleAdapter
from lms_crm_assets.lms.protocol import LmsAdapter


def lms_adapter(contract: Contract) -> LmsAdapter:
    """The adapter for a contract's source, at the contract's pace."""
    source, limit = contract.source, contract.throttle.lms
    return MoodleAdapter(source, limit) if isinstance(source, MoodleSource) else ChangesAdapter(source, limit)
