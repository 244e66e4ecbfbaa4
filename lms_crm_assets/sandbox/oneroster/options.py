"""What can be set on the simulated OneRoster provider; None lifts a limit."""

from dataclasses import dataclass

from lms_crm_assets.sandbox.school.options import Options, amount, natural_or_none, option, positive


@dataclass(frozen=True)
class OneRosterOptions(Options):
    """Tokens live an hour, and a page has 10,000 rows at most."""

    page_limit: int = option(positive, 10_000)
    """The largest page; a larger `limit` is taken for it."""
    token_seconds: float = option(amount, 3_600.0)
    """How long a token lives that is granted from now on."""
    token_calls: int | None = option(natural_or_none, None)
    """How many calls it lives."""
    requests_per_10_seconds: int | None = option(natural_or_none, None)
    """Past it, 429 with `Retry-After`."""
