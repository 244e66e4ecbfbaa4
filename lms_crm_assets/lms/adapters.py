"""Which adapter serves which contract."""

from lms_crm_assets.contract.models import CanvasSource, Contract, MoodleSource, OneRosterSource, ThinkificSource
from lms_crm_assets.lms.canvas import CanvasAdapter
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.moodle import MoodleAdapter
from lms_crm_assets.lms.oneroster import OneRosterAdapter
from lms_crm_assets.lms.protocol import LmsAdapter
from lms_crm_assets.lms.thinkific import ThinkificAdapter
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore


def lms_adapter(contract: Contract, store: OperationalStore) -> LmsAdapter:
    """The adapter for a contract's source, at the contract's pace."""
    limit, secret_of = contract.throttle.lms, secrets_of(contract.tenant, store)
    match contract.source:
        case MoodleSource() as source:
            return MoodleAdapter(source, limit, store, secret_of)
        case CanvasSource() as source:
            return CanvasAdapter(source, limit, store, secret_of)
        case OneRosterSource() as source:
            return OneRosterAdapter(source, limit, store, secret_of)
        case ThinkificSource() as source:
            return ThinkificAdapter(source, limit, store, secret_of)
        case source:
            return ChangesAdapter(source, limit, store, secret_of)
