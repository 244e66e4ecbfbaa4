"""The resources under `jobs/query`: make a job, see its state, fetch its answer as CSV, a part at a time.

Bulk API guide, Get Results for a Query Job: `maxRecords` and `locator` name the part, `Sforce-Locator` the next one,
the text `null` when there is none.
"""

import asyncio
import base64
from array import array
from itertools import chain

from lms_crm_assets.sandbox.salesforce.errors import ApiError
from lms_crm_assets.sandbox.salesforce.http import Call, Reply
from lms_crm_assets.sandbox.salesforce.org import Org
from lms_crm_assets.sandbox.salesforce.query import Column, Search, search
from lms_crm_assets.sandbox.salesforce.store import Record
from lms_crm_assets.sandbox.salesforce.values import to_json

from .csv_text import pieces, write_csv
from .jobs import QueryJob, invalid_job, invalid_state
from .resources import abort, delete_job, job_info, job_request, list_jobs, one_of, text_of

_ROWS_A_SLICE = 500
_SCANNED_A_SLICE = 5000
# "If you don't provide a value, the server uses a default value based on the service."
_DEFAULT_PART = 100_000


def create(org: Org, call: Call) -> Reply:
    """`POST jobs/query`: a job that is at work already."""
    body = job_request(call, {"query"})
    operation = one_of(body, "operation", {"query", "queryAll"})
    found = search(org.store, text_of(body, "query"), call.data_url, include_deleted=operation == "queryAll")
    if not found.columns or found.offset:  # text unverified
        raise invalid_job("COUNT() and OFFSET are not supported in bulk queries")
    if not org.use_query_job():
        raise ApiError(400, "EXCEEDEDQUOTA", "ApiBulkV2QueryJobs Limit exceeded.")  # text unverified
    job = org.jobs.add(
        QueryJob(
            id=org.jobs.next_id(),
            operation=operation,
            sobject=found.sobject,
            version=call.version,
            column_delimiter=body["columnDelimiter"],
            line_ending=body["lineEnding"],
            folder=org.jobs.folder,
            clock=org.clock,
            state="UploadComplete",
        )
    )
    org.jobs.start(_answer(org, job, found))
    return Reply(content=job.brief())


def change_state(org: Org, call: Call) -> Reply:
    """`PATCH jobs/query/{id}`: abort it."""
    job = org.jobs.get(QueryJob, call.params["job"])
    one_of(call.json_object(), "state", {"Aborted"})
    abort(job)
    return Reply(content=job.brief())


def info(org: Org, call: Call) -> Reply:
    """`GET jobs/query/{id}`."""
    return job_info(org, call, QueryJob)


def listed(org: Org, call: Call) -> Reply:
    """`GET jobs/query`."""
    return list_jobs(org, call, QueryJob, "query")


def delete(org: Org, call: Call) -> Reply:
    """`DELETE jobs/query/{id}`."""
    return delete_job(org, call, QueryJob)


def results(org: Org, call: Call) -> Reply:
    """`GET jobs/query/{id}/results`: a part of the rows, each part with the header."""
    job = org.jobs.get(QueryJob, call.params["job"])
    if job.state != "JobComplete":  # text unverified
        raise invalid_state(f"Job {job.id} has no results, its state is {job.state}")
    start = _start(call.query.get("locator", ""), job.processed)
    most = call.query.get("maxRecords", str(_DEFAULT_PART))
    if not most.isdigit() or int(most) == 0:
        raise ApiError(400, "INVALIDJOB", f"maxRecords must be a positive number: {most}")  # text unverified
    end = min(start + int(most), job.processed)
    headers = {
        "Content-Type": "text/csv",
        "Sforce-NumberOfRecords": str(end - start),
        "Sforce-Locator": _locator(end) if end < job.processed else "null",
    }
    rows = pieces(job.results, job.offsets[start], job.offsets[end])
    return Reply(stream=chain(pieces(job.header), rows), headers=headers)


async def _answer(org: Org, job: QueryJob, found: Search) -> None:
    """Find the rows and write them, in slices so that other requests are served between."""
    try:
        await asyncio.sleep(0)
        if not job.done:
            job.enter("InProgress")
            await asyncio.sleep(org.options.bulk_batch_seconds)
            records = await _matching(job, found)
            if not job.done:
                await _write(job, found, records)
        if not job.done:
            job.enter("JobComplete")
    finally:
        if not job.done:  # a fault of the sandbox, or its end
            job.enter("Failed", "InternalServerError : the sandbox could not finish the job")


async def _matching(job: QueryJob, found: Search) -> list[Record]:
    candidates = list(found.candidates)
    records: list[Record] = []
    for start in range(0, len(candidates), _SCANNED_A_SLICE):
        if job.done:
            return []
        records += [each for each in candidates[start : start + _SCANNED_A_SLICE] if found.holds(each)]
        await asyncio.sleep(0)
    return found.ordered(records)


async def _write(job: QueryJob, found: Search, records: list[Record]) -> None:
    job.header.write_text(write_csv(job, [[column.name for column in found.columns]]), encoding="utf-8", newline="")
    offsets = array("Q", [0])
    with job.results.open("wb") as file:
        for start in range(0, len(records), _ROWS_A_SLICE):
            if job.done:
                return
            for record in records[start : start + _ROWS_A_SLICE]:
                file.write(write_csv(job, [[_cell(column, record) for column in found.columns]]).encode())
                offsets.append(file.tell())
            await asyncio.sleep(0)
    job.offsets, job.processed = offsets, len(records)


def _cell(column: Column, record: Record) -> str:
    """A value as the CSV shows it: null is empty, a datetime ends in `Z` where JSON has `+0000`."""
    value = to_json(column.field, column.read(record))
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text.removesuffix("+0000") + "Z" if column.field.type == "datetime" else text


def _locator(row: int) -> str:
    """The guide's own example, `MTAwMDA`, is 10000 in base 64."""
    return base64.urlsafe_b64encode(str(row).encode()).decode().rstrip("=")


def _start(locator: str, rows: int) -> int:
    if not locator:
        return 0
    try:
        start = int(base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)))
    except ValueError:
        start = -1
    if not 0 <= start < rows:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")  # text unverified
    return start
