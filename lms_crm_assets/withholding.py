"""Errors of libraries, and of ours that nobody foresaw, may quote what they choked on: their texts are withheld.

DuckDB names the value that it can't convert, pandas and pandera the row, a CRM's client the body, httpx the address with its
query. Type, place and the way there are kept, which tell where to look.
"""

import os

from lms_crm_assets.errors import LmsCrmError

REVEAL = "LMS_CRM_REVEAL_ERRORS"
"""The environment variable that has the texts shown, for whoever looks for a fault on data that may be seen."""


class WithheldError(Exception):
    """An error in whose place it stands; its text names the type alone."""

    def __init__(self, exc: BaseException) -> None:
        kind = type(exc)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        # The system's own words; the path of a file names a tenant at most.
        said = f": {exc.strerror}" if isinstance(exc, OSError) and exc.strerror else ""
        super().__init__(f"{name}{said} (its text is withheld, since it may hold learner data)")


def discreet(exc: BaseException) -> BaseException:
    """The error as it may be logged: ours as they are, others without their texts, and so what they came from."""
    if os.environ.get(REVEAL) == "1":
        return exc
    told = exc if isinstance(exc, LmsCrmError) else WithheldError(exc).with_traceback(exc.__traceback__)
    before = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    told.__cause__ = None if before is None else discreet(before)
    told.__context__ = None
    return told
