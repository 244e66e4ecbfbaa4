"""What is told of a warehouse that somebody else has, whichever kind it is."""

from lms_crm_assets.errors import RetryableError


def busy(name: str) -> RetryableError:
    """The warehouse of that name is open in another process: soon it may not be."""
    return RetryableError(f"the warehouse {name} is open in a run", retry_after_seconds=5.0)
