"""Bulk API 2.0 jobs, ingest and query alike: where they stand, and waiting for their end."""

import time
from collections.abc import Mapping
from typing import Any

from simple_salesforce.api import Salesforce

from lms_crm_assets import interrupt
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.salesforce.answers import UnreadableError
from lms_crm_assets.crm.salesforce.org import Org, send_object
from lms_crm_assets.errors import OutcomeUnknownError

FINAL = frozenset({"JobComplete", "Failed", "Aborted"})
"""The states that a job doesn't leave."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_GROWTH = 1.5
# Salesforce works jobs off as it has time; one that waits for so long is no help to a run.
_PATIENCE_SECONDS = 2 * 3600.0


def job_of(sf: Salesforce, method: str, path: str, **options: Any) -> Mapping[str, Any]:
    """The job that an answer tells of."""
    job = send_object(sf, method, path, **options)
    match job:
        case {"id": str(), "state": str()}:
            return job
    raise UnreadableError


def ended(
    org: Org, path: str, spec: ObjectSpec | None = None, *, patience_seconds: float = _PATIENCE_SECONDS
) -> Mapping[str, Any]:
    """The job once it is final; `StoppedError` when a person wants to stop, `OutcomeUnknownError` after too long."""
    until = time.monotonic() + patience_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        job = org.read(lambda sf: job_of(sf, "GET", path), spec)
        if job["state"] in FINAL:
            return job
        if time.monotonic() > until:
            raise OutcomeUnknownError(
                f"Salesforce at {org.url} has not ended {path} after {patience_seconds / 60:.0f} minutes: it is"
                f" {job['state']}"
            )
        interrupt.requested.wait(pause)
        interrupt.check()
        pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
