"""The work of an ingest job: its rows in internal batches, written in slices so that other requests are served between.

Internal batches of 10,000 rows (Bulk API guide, How Requests Are Processed) each use up one of the day's. Rows of one
batch that share a key are all refused. An abort, or a failure of the job, leaves what was written and the rest
unprocessed.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import IO

from lms_crm_assets.sandbox.salesforce import dml
from lms_crm_assets.sandbox.salesforce.dml import Operation, Row
from lms_crm_assets.sandbox.salesforce.errors import RowError
from lms_crm_assets.sandbox.salesforce.org import Org
from lms_crm_assets.sandbox.salesforce.store import Record

from .csv_text import JobFailedError, read_csv, result_header, write_csv
from .jobs import IngestJob
from .rows import read_cells, read_header

# A row takes 10 to 50 µs: other requests wait at most some 10 ms.
_ROWS_A_SLICE = 200
_SUCCESSFUL = ("sf__Id", "sf__Created")
_FAILED = ("sf__Id", "sf__Error")
Outcome = tuple[Record, Operation] | RowError


async def load(org: Org, job: IngestJob) -> None:
    """Process the job to its end."""
    try:
        await asyncio.sleep(0)  # the answer to the close shows UploadComplete
        if job.done:
            return
        job.enter("InProgress")
        await _load(org, job)
        if not job.done:
            job.enter("JobComplete")
            job.discard_upload()
    except JobFailedError as failure:
        if not job.done:
            job.enter("Failed", str(failure))
    finally:
        if not job.done:  # a fault of the sandbox, or its end; whoever waits for the job has to hear of it
            job.enter("Failed", "InternalServerError : the sandbox could not finish the job")


async def _load(org: Org, job: IngestJob) -> None:
    with ExitStack() as stack:
        if not job.uploaded:  # text unverified
            raise JobFailedError("ClientInputError : No data was uploaded for the job")
        records = read_csv(stack.enter_context(job.upload.open("rb")), job)
        names = next(records, None)
        if names is None:  # text unverified
            raise JobFailedError("InvalidBatch : The CSV is empty")
        read_header(org.store.schema, job, names)
        results = _Results(job, names, stack)
        while True:
            await asyncio.sleep(org.options.bulk_batch_seconds)
            if job.done:
                return
            cells = await _read_batch(records, org.options.bulk_batch_rows)
            if not cells or job.done:
                return
            if not org.use_bulk_batch():
                raise JobFailedError("ExceededQuota : ApiBatchItems Limit exceeded.")
            await _write_batch(org, job, names, cells, results)


async def _read_batch(records: Iterator[list[str]], size: int) -> list[list[str]]:
    cells: list[list[str]] = []
    while len(cells) < size:
        part = list(islice(records, min(_ROWS_A_SLICE, size - len(cells))))
        if not part:
            break
        cells += part
        await asyncio.sleep(0)
    return cells


async def _write_batch(
    org: Org, job: IngestJob, names: Sequence[str], cells: Sequence[list[str]], results: "_Results"
) -> None:
    version, rows = await _read_rows(org, job, names, cells)
    writer = _Writer(org, job, rows)
    for start in range(0, len(rows), _ROWS_A_SLICE):
        if job.done:  # aborted meanwhile
            return
        if version != org.store.schema.version:
            version, rows = await _read_rows(org, job, names, cells)
            writer = _Writer(org, job, rows)
        began = time.perf_counter()
        end = start + _ROWS_A_SLICE
        outcomes = writer.write(rows[start:end])
        results.add(outcomes, cells[start:end])
        job.processed += len(outcomes)
        job.failed += sum(isinstance(each, RowError) for each in outcomes)
        job.spent_seconds += time.perf_counter() - began
        await asyncio.sleep(0)


async def _read_rows(
    org: Org, job: IngestJob, names: Sequence[str], cells: Sequence[list[str]]
) -> tuple[int, list[Row]]:
    """The rows under the schema of this moment, and that schema's version; begins anew when it changes meanwhile."""
    while True:
        version = org.store.schema.version
        columns = read_header(org.store.schema, job, names)
        rows: list[Row] = []
        for start in range(0, len(cells), _ROWS_A_SLICE):
            rows += [read_cells(job.sobject, columns, each) for each in cells[start : start + _ROWS_A_SLICE]]
            await asyncio.sleep(0)
        if version == org.store.schema.version:
            return version, rows


class _Writer:
    """Writes the rows of one internal batch, as one caller where row locks are concerned."""

    def __init__(self, org: Org, job: IngestJob, rows: Sequence[Row]) -> None:
        self._org = org
        self._job = job
        self._caller = org.guard.new_caller(f"/services/data/v{job.version}.0")
        self._times = dml.keys_of(rows, job.key) if job.key is not None else None

    def write(self, rows: Sequence[Row]) -> list[Outcome]:
        """What became of each row."""
        self._org.guard.caller = self._caller
        outcomes = [self._attempt(row) for row in rows]
        for outcome in outcomes:
            done = "rejected" if isinstance(outcome, RowError) else outcome[1]
            self._org.stats.count_record(self._job.sobject.name, done)
        return outcomes

    def _attempt(self, row: Row) -> Outcome:
        try:
            return self._write(row)
        except RowError as error:
            return error

    def _write(self, row: Row) -> tuple[Record, Operation]:
        store, guard, job = self._org.store, self._org.guard, self._job
        if job.key is not None and self._times is not None:
            dml.check_key(row, job.key, self._times)
            return dml.upsert(store, guard, row, job.key)
        if job.operation == "insert" and row.id is not None:
            raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ["Id"])
        if job.operation == "insert" or (job.operation == "upsert" and row.id is None):
            return dml.insert(store, guard, row), "created"
        record = dml.by_id(store, job.sobject, row.id)
        if job.operation == "delete":
            dml.delete(store, guard, job.sobject, record)
            return record, "deleted"
        return record, dml.update(store, guard, record, row)


class _Results:
    """The files of successful and failed rows. Their order is not the upload's: the guide promises none."""

    def __init__(self, job: IngestJob, names: Sequence[str], stack: ExitStack) -> None:
        self._job = job
        self._rng = random.Random(job.id)  # noqa: S311 - an order, no secret
        self._successful: IO[bytes] = stack.enter_context(job.successful_results.open("wb"))
        self._failed: IO[bytes] = stack.enter_context(job.failed_results.open("wb"))
        self._successful.write(result_header(job, _SUCCESSFUL, names).encode())
        self._failed.write(result_header(job, _FAILED, names).encode())
        self._flush()

    def add(self, outcomes: Sequence[Outcome], cells: Sequence[list[str]]) -> None:
        """Write what became of these rows; it can be read at once."""
        pairs = list(zip(outcomes, cells, strict=True))
        self._rng.shuffle(pairs)
        successful = [
            [outcome[0].id, "true" if outcome[1] == "created" else "false", *row]
            for outcome, row in pairs
            if not isinstance(outcome, RowError)
        ]
        # `sf__Id` is empty, for updates too: recorded.
        failed = [["", _shown(outcome), *row] for outcome, row in pairs if isinstance(outcome, RowError)]
        self._successful.write(write_csv(self._job, successful).encode())
        self._failed.write(write_csv(self._job, failed).encode())
        self._flush()

    def _flush(self) -> None:
        self._successful.flush()
        self._failed.flush()


def _shown(error: RowError) -> str:
    """`CODE:message:Field --`, or `CODE:message:--` without fields, as jsforce's tests record it."""
    fields = f"{','.join(error.fields)} " if error.fields else ""
    return f"{error.code}:{error.message}:{fields}--"
