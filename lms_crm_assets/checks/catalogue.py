"""All error codes in one place, for documents and for whoever is shown one."""

from lms_crm_assets.checks.codes import EVENT_CODES, ROW_CODES, Code
from lms_crm_assets.checks.delivery_codes import DELIVERY_CODES
from lms_crm_assets.checks.destination_codes import DESTINATION_CODES

CATALOGUE: dict[str, Code] = {
    code.code: code for code in (*ROW_CODES, *DESTINATION_CODES, *DELIVERY_CODES, *EVENT_CODES)
}
"""By code, in the order of their numbers."""
