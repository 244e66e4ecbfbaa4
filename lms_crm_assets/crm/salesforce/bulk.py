"""Loading by Bulk API 2.0 ingest jobs: a CSV file is uploaded, Salesforce works it off, the results come as CSV.

No step is guessed. A job that was made and never closed writes nothing, so when making it or uploading breaks off
another one is made: a second upload to the same job may be refused at once, or spoil it when it is closed. When closing
breaks off, the job's state tells. What the results don't tell of has to be read back.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound

from lms_crm_assets import interrupt
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.salesforce.answers import NO_RESULT, UNPROCESSED, UnreadableError, refused
from lms_crm_assets.crm.salesforce.bulk_csv import error_of_row, is_sayable, read_rows, write_files
from lms_crm_assets.crm.salesforce.jobs import FINAL, ended, job_of
from lms_crm_assets.crm.salesforce.org import Org, download, send
from lms_crm_assets.domain import CrmWrite, Outcome, OutcomeStatus
from lms_crm_assets.errors import (
    LmsCrmError,
    OutcomeUnknownError,
    PausedError,
    ProtocolError,
    RetryableError,
    SchemaChangedError,
)
from lms_crm_assets.ops.patience import patient

_JOBS = "jobs/ingest"
# Three internal batches of 10,000: enough to keep Salesforce busy, little to send again.
_RECORDS_A_JOB = 30_000
_JOBS_AT_ONCE = 2
_ID = re.compile(r"[A-Za-z0-9]{15,18}", re.ASCII)
# Bulk API guide, Upload Job Data: 150 MB in base64, so 100 MB as they are.
_UPLOAD_BYTES = 100_000_000
# An abort ends a job after the internal batch that it is at, which may take 5 minutes.
_SETTLE_SECONDS = 900.0

Few = Callable[[ObjectSpec, Sequence[CrmWrite]], list[Outcome]]
"""Writes one small batch."""


class SalesforceBulk:
    """The org's bulk jobs. What CSV can't say is written by `few`, at most `few_size` records a call."""

    batch_size = _RECORDS_A_JOB
    concurrency = _JOBS_AT_ONCE

    def __init__(self, org: Org, least: int, few: Few, few_size: int, upload_bytes: int = _UPLOAD_BYTES) -> None:
        self.least = least
        self._org = org
        self._few = few
        self._few_size = few_size
        self._upload_bytes = upload_bytes

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite], opened: Callable[[str], None], /) -> list[Outcome]:
        """Load the writes, as one job or as several where one would be too large; one outcome a record, in order."""
        outcomes: dict[str, Outcome] = {}
        unsayable = [write for write in writes if not is_sayable(write)]
        for start in range(0, len(unsayable), self._few_size):
            written = patient(partial(self._few, spec, unsayable[start : start + self._few_size]))
            outcomes |= {each.external_id: each for each in written}
        sayable = [write for write in writes if is_sayable(write)] if unsayable else list(writes)
        with tempfile.TemporaryDirectory(prefix="lms-crm-bulk-") as folder:
            for file, part in write_files(spec, sayable, Path(folder), self._upload_bytes):
                interrupt.check()
                outcomes |= self._load(spec, file, part, opened)
        return [outcomes[write.external_id] for write in writes]

    def settle(self, job_id: str) -> None:
        """Abort a job unless it is final, and wait until it is; `OutcomeUnknownError` when it doesn't end."""
        if not _ID.fullmatch(job_id):
            return
        path = f"{_JOBS}/{job_id}"
        job = self._org.read(lambda sf: _job_if_any(sf, path))
        if job is None or job["state"] in FINAL:
            return
        with suppress(ProtocolError):  # it became final meanwhile
            patient(lambda: self._org.call(lambda sf: job_of(sf, "PATCH", path, json={"state": "Aborted"})))
        ended(self._org, path, patience_seconds=_SETTLE_SECONDS)

    def _load(
        self, spec: ObjectSpec, file: Path, writes: Sequence[CrmWrite], opened: Callable[[str], None]
    ) -> dict[str, Outcome]:
        path = patient(lambda: self._uploaded(spec, file, opened))
        try:
            self._close(spec, path)
            job = ended(self._org, path, spec)
            return self._results(spec, job, path, file.parent, writes)
        except PausedError:
            self._abort(path)
            raise
        except RetryableError as exc:
            # What is read back next must not be written by the job after that.
            with suppress(LmsCrmError):
                self.settle(path.rpartition("/")[2])
            raise OutcomeUnknownError(f"{exc}: what {path} wrote is not known") from exc
        except BaseException:
            self._abort(path)
            raise

    def _uploaded(self, spec: ObjectSpec, file: Path, opened: Callable[[str], None]) -> str:
        """The path of a new job that holds the file."""
        wanted = {
            "object": spec.to,
            "operation": "upsert",
            "externalIdFieldName": spec.match_key,
            "contentType": "CSV",
            "columnDelimiter": "COMMA",
            "lineEnding": "LF",
        }
        job = self._org.call(lambda sf: job_of(sf, "POST", _JOBS, json=wanted), spec)
        path = f"{_JOBS}/{job['id']}"
        opened(job["id"])

        def upload(sf: Salesforce) -> None:
            with file.open("rb") as content:
                answer = send(sf, "PUT", f"{path}/batches", data=content, headers={"Content-Type": "text/csv"})
            if answer.status_code != requests.codes.created:
                raise UnreadableError

        try:
            self._org.call(upload, spec)
        except BaseException:
            self._abort(path)
            raise
        return path

    def _close(self, spec: ObjectSpec, path: str) -> None:
        """Have Salesforce begin."""
        asked = False

        def close() -> None:
            nonlocal asked
            if asked and self._org.call(lambda sf: job_of(sf, "GET", path), spec)["state"] != "Open":
                return
            asked = True
            self._org.call(lambda sf: job_of(sf, "PATCH", path, json={"state": "UploadComplete"}), spec)

        patient(close)

    def _abort(self, path: str) -> None:
        """Spare Salesforce a job that nobody waits for any more; `settle` makes sure where that matters."""
        with suppress(LmsCrmError):
            self._org.call(lambda sf: job_of(sf, "PATCH", path, json={"state": "Aborted"}), urgent=True)

    def _results(
        self, spec: ObjectSpec, job: Mapping[str, Any], path: str, folder: Path, writes: Sequence[CrmWrite]
    ) -> dict[str, Outcome]:
        """What became of each write. One that no result tells of may have been written: it is to be read back."""
        told = str(job.get("errorMessage") or f"the job ended as {job['state']}")
        if "Field name not found" in told:
            raise SchemaChangedError(f"Salesforce at {self._org.url} ended {path}: {told}", spec.object)
        by_key = _ByKey(writes)

        def each(
            kind: str, column: str, outcome: Callable[[CrmWrite, Mapping[str, str]], Outcome]
        ) -> dict[str, Outcome]:
            file = folder / f"{kind}.csv"

            def fetch(sf: Salesforce) -> dict[str, Outcome]:
                download(sf, f"{path}/{kind}", file)
                rows = read_rows(file, {column, spec.match_key})
                found = ((by_key.find(row[spec.match_key]), row) for row in rows)
                return {write.external_id: outcome(write, row) for write, row in found if write}

            return self._org.read(fetch, spec)

        outcomes: dict[str, Outcome] = {}
        if job["state"] != "JobComplete":
            outcomes |= each(
                "unprocessedrecords", spec.match_key, lambda write, _row: refused(write, UNPROCESSED, told)
            )
        if job.get("numberRecordsFailed") != 0:
            outcomes |= each(
                "failedResults", "sf__Error", lambda write, row: refused(write, *error_of_row(row["sf__Error"]))
            )
        if job.get("numberRecordsProcessed") != 0:
            outcomes |= each("successfulResults", "sf__Id", _succeeded)
        silent = {w.external_id: refused(w, NO_RESULT, told) for w in writes if w.external_id not in outcomes}
        return outcomes | silent


class _ByKey:
    """The writes by match key, as results spell it: trimmed, and perhaps in another case."""

    def __init__(self, writes: Sequence[CrmWrite]) -> None:
        self._exact = {write.external_id: write for write in writes}
        self._loose: dict[str, CrmWrite | None] = {}
        for write in writes:
            key = _folded(write.external_id)
            self._loose[key] = None if key in self._loose else write

    def find(self, key: str) -> CrmWrite | None:
        """The write with this key, None when there is none or more than one."""
        return self._exact.get(key) or self._loose.get(_folded(key))


def _folded(key: str) -> str:
    return key.strip().casefold()


def _succeeded(write: CrmWrite, row: Mapping[str, str]) -> Outcome:
    return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, row["sf__Id"] or write.crm_id)


def _job_if_any(sf: Salesforce, path: str) -> Mapping[str, Any] | None:
    try:
        return job_of(sf, "GET", path)
    except SalesforceResourceNotFound:
        return None
    except SalesforceMalformedRequest as exc:
        # An id that is none at all; which code says so is not documented.
        if "INVALIDJOB" in str(exc.content) or "MALFORMED_ID" in str(exc.content):
            return None
        raise
