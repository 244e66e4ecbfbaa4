"""Whether a run left LMS and CRM in agreement, by what its checks said."""

from collections.abc import Sequence

import dagster as dg

from lms_crm_assets.domain import CrmObject

# The checks that fail when something was not sent, or not taken by the CRM.
_TELLING = {"approved", "delivered", "converged"}


def was_taken(checks: Sequence[dg.AssetCheckEvaluation]) -> bool:
    """Whether everything was sent and taken: nothing was withheld, and the CRM holds what was written."""
    withheld = sum(int(str(c.metadata["refused"].value)) for c in checks if "refused" in c.metadata)
    return not withheld and all(check.passed for check in checks if check.check_name in _TELLING)


def was_all_taken(checks: Sequence[dg.AssetCheckEvaluation]) -> bool:
    """The same of every object: a plan and a step that a person started look at some alone."""
    return sum(check.check_name == "delivered" for check in checks) == len(CrmObject) and was_taken(checks)
