"""Limits that no plan passes without a person: a mass overwrite is stopped before its first call."""

from collections.abc import Mapping

from lms_crm_assets.contract.models import Guardrails
from lms_crm_assets.delta.build import DeltaCounts
from lms_crm_assets.delta.forecast import Forecast
from lms_crm_assets.domain import CrmObject


def breaches(
    counts: Mapping[CrmObject, DeltaCounts],
    sources: Mapping[CrmObject, int],
    expected: Forecast,
    guardrails: Guardrails,
) -> list[str]:
    """What the plan breaks, one line each, with the figure and the limit; `sources` are the valid rows of the LMS."""
    found = []
    for obj, count in counts.items():
        for what, number, most, share in (
            # Filling what is empty overwrites nothing: a delivery that was cut short may be finished.
            ("update", count.overwrite, guardrails.max_updates, guardrails.max_update_share),
            ("archive", count.archive, guardrails.max_archives, guardrails.max_archive_share),
        ):
            if most is not None and number > most:
                found.append(f"{number:,} {obj} records to {what}, at most {most:,} are allowed (max_{what}s)")
            elif number > guardrails.floor and count.live and number / count.live > share:
                found.append(
                    f"{number:,} of {count.live:,} {obj} records to {what} ({number / count.live:.0%}),"
                    f" at most {share:.0%} are allowed (max_{what}_share)"
                )
        least = guardrails.min_source_count.get(obj, 0)
        if sources.get(obj, 0) < least:
            found.append(
                f"the LMS gives {sources.get(obj, 0):,} {obj} rows, at least {least:,} are expected (min_source_count)"
            )
    if expected.quota_share_after is not None and expected.quota_share_after > guardrails.quota_share:
        found.append(
            f"{expected.calls:,} calls would bring the day's quota to {expected.quota_share_after:.0%},"
            f" at most {guardrails.quota_share:.0%} are allowed (quota_share)"
        )
    return found
