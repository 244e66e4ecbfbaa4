"""Whether a run left LMS and CRM in agreement, by what its checks said."""

from collections.abc import Sequence

import dagster as dg

# The checks that fail when something was not sent, or not taken by the CRM.
_TELLING = {"approved", "delivered", "converged"}


def was_taken(checks: Sequence[dg.AssetCheckEvaluation]) -> bool:
    """Whether everything was sent and taken: nothing was withheld, and the CRM holds what was written."""
    withheld = sum(int(str(c.metadata["refused"].value)) for c in checks if "refused" in c.metadata)
    return not withheld and all(check.passed for check in checks if check.check_name in _TELLING)
