"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import ChangesSource, MoodleSource
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.moodle import MoodleAdapter
from lms_crm_assets.lms.protocol import LmsAdapter


def lms_adapter(source: MoodleSource | ChangesSource) -> LmsAdapter:
    """The adapter for a contract's source."""
    return MoodleAdapter(source) if isinstance(source, MoodleSource) else ChangesAdapter(source)
