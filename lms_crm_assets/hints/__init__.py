"""What a delivery touches: a webhook is a hint to ask again by key, never truth.

Pure functions, one module a sender. `touched` never raises: what it can't tell it names in `Hints.unknown`.
"""

from lms_crm_assets.hints.found import BATCH, Hints, Lead
from lms_crm_assets.hints.touched import touched

__all__ = ["BATCH", "Hints", "Lead", "touched"]
