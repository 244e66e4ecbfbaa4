"""What can be set on the simulated Thinkific."""

from dataclasses import dataclass

from lms_crm_assets.sandbox.school.options import Options, option, positive_or_none


@dataclass(frozen=True)
class ThinkificOptions(Options):
    """The limit is off at first."""

    requests_per_minute: int | None = option(positive_or_none, None)
    """Requests of the site in each minute of the clock; Thinkific's own limit is 120."""
