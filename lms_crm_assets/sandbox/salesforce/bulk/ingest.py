"""The resources under `jobs/ingest`: make a job, upload its CSV, close it, see what became of it."""

from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

from starlette.requests import ClientDisconnect

from lms_crm_assets.sandbox.salesforce.errors import ApiError
from lms_crm_assets.sandbox.salesforce.http import Call, Reply
from lms_crm_assets.sandbox.salesforce.org import Org
from lms_crm_assets.sandbox.salesforce.schema import Field, SObject

from .csv_text import pieces, raw_records
from .jobs import IngestJob, invalid_job, invalid_state
from .loading import load
from .resources import abort, close_refused, delete_job, job_info, job_request, list_jobs, one_of, text_of

_OPERATIONS = frozenset({"insert", "update", "upsert", "delete", "hardDelete"})
_BODY = frozenset({"object", "externalIdFieldName", "assignmentRuleId"})
_CSV = "text/csv"
_PIECE = 256 * 1024


def create(org: Org, call: Call) -> Reply:
    """`POST jobs/ingest`: an open job."""
    body = job_request(call, _BODY)
    operation = one_of(body, "operation", _OPERATIONS)
    if operation == "hardDelete":
        message = (
            "hardDelete operation requires special user profile permission, please contact your system administrator"
        )
        raise ApiError(400, "FEATURENOTENABLED", message)
    name = text_of(body, "object")
    sobject = org.store.schema.find(name)
    if sobject is None:
        raise invalid_job(f"Unable to find object: {name}")
    key = _key(sobject, text_of(body, "externalIdFieldName")) if operation == "upsert" else None
    if not org.bulk_batches_left():
        raise ApiError(400, "EXCEEDEDQUOTA", "ApiBatchItems Limit exceeded.")
    job = IngestJob(
        id=org.jobs.next_id(),
        operation=operation,
        sobject=sobject,
        version=call.version,
        column_delimiter=body["columnDelimiter"],
        line_ending=body["lineEnding"],
        folder=org.jobs.folder,
        clock=org.clock,
        state="Open",
        key=key,
    )
    return Reply(content=org.jobs.add(job).brief())


async def upload(org: Org, call: Call, stream: AsyncIterator[bytes]) -> Reply:
    """`PUT jobs/ingest/{id}/batches`: 201; once a job, straight to disk."""
    job = org.jobs.get(IngestJob, call.params["job"])
    content_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != _CSV:
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Type not supported: {content_type}")
    if call.headers.get("content-encoding", "identity").lower() != "identity":
        # Whether uploads may be compressed is not known: a client must not rely on it.
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding is not supported for uploads")
    if job.state != "Open":
        raise invalid_state(f"Job {job.id} is not open, its state is {job.state}")  # text unverified
    if job.uploaded or job.uploading:
        message = (
            f"Found multiple contents for job: <{job.id[:15]}>, please 'Close' / 'Abort' / 'Delete' the current Job "
            "then create a new Job and make sure you only do 'PUT' once on a given Job."
        )
        raise invalid_state(message)
    job.uploading = True
    try:
        await _receive(job, stream, org.options.bulk_upload_bytes)
        job.uploaded = True
    finally:
        job.uploading = False
    return Reply(201)


def change_state(org: Org, call: Call) -> Reply:
    """`PATCH jobs/ingest/{id}`: close it for the work to begin, or abort it."""
    job = org.jobs.get(IngestJob, call.params["job"])
    state = one_of(call.json_object(), "state", {"UploadComplete", "Aborted"})
    if state == "Aborted":
        abort(job)
    elif job.state != "Open":
        raise close_refused(job)
    else:
        job.enter("UploadComplete")
        org.jobs.start(load(org, job))
    return Reply(content=job.brief())


def info(org: Org, call: Call) -> Reply:
    """`GET jobs/ingest/{id}`."""
    return job_info(org, call, IngestJob)


def listed(org: Org, call: Call) -> Reply:
    """`GET jobs/ingest`."""
    return list_jobs(org, call, IngestJob, "ingest")


def delete(org: Org, call: Call) -> Reply:
    """`DELETE jobs/ingest/{id}`."""
    return delete_job(org, call, IngestJob)


def successful_results(org: Org, call: Call) -> Reply:
    """`GET jobs/ingest/{id}/successfulResults`."""
    job = _ended(org, call)
    return _csv(_content(job.successful_results, '"sf__Id","sf__Created"\n'))


def failed_results(org: Org, call: Call) -> Reply:
    """`GET jobs/ingest/{id}/failedResults`."""
    job = _ended(org, call)
    return _csv(_content(job.failed_results, '"sf__Id","sf__Error"\n'))


def unprocessed_records(org: Org, call: Call) -> Reply:
    """`GET jobs/ingest/{id}/unprocessedrecords`: the uploaded rows that were never looked at, as they were sent."""
    job = _ended(org, call)
    if job.upload.is_file():
        return _csv(_unprocessed(job))
    with_header = job.successful_results.is_file()
    return _csv(_own_header(job) if with_header else iter(()))


def _key(sobject: SObject, name: str) -> Field | None:
    """The field of an upsert; None for the Id."""
    found = sobject.field(name)
    if found is not None and found.type == "id":
        return None
    if found is None or not found.is_key:
        message = (
            f"Field name provided, {name} does not match an External ID, Salesforce Id, or indexed field for "
            f"{sobject.name}"
        )
        raise invalid_job(message)
    return found


async def _receive(job: IngestJob, stream: AsyncIterator[bytes], most: int) -> None:
    """Write an upload; nothing of it stays when it is too large or breaks off."""
    size = 0
    try:
        with job.upload.open("wb") as file:
            async for piece in stream:
                size += len(piece)
                if size <= most:
                    file.write(piece)
    except ClientDisconnect as error:
        job.discard_upload()
        raise ApiError(400, "CLIENT_DISCONNECTED", "The client went away") from error  # nobody reads it
    if size > most:
        job.discard_upload()
        message = f"The upload is larger than {most} bytes"
        raise ApiError(413, "REQUEST_ENTITY_TOO_LARGE", message)  # status and text unverified


def _ended(org: Org, call: Call) -> IngestJob:
    job = org.jobs.get(IngestJob, call.params["job"])
    if not job.done:  # text unverified
        raise invalid_state(f"Job {job.id} has no results yet, its state is {job.state}")
    return job


def _content(path: Path, none: str) -> Iterator[bytes]:
    """A result file, or its header alone when the job failed before there was one."""
    return pieces(path) if path.is_file() else iter([none.encode()])


def _unprocessed(job: IngestJob) -> Iterator[bytes]:
    """The upload's header and the records after those that were processed, gathered into larger pieces."""
    records = raw_records(job.upload)
    held = bytearray(next(records, b""))
    for record in islice(records, job.processed, None):
        held += record
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _own_header(job: IngestJob) -> Iterator[bytes]:
    """The upload's header, from a result's: the upload itself is gone once all of it was processed."""
    header = next(raw_records(job.successful_results))
    yield header[len('"sf__Id","sf__Created",') :]


def _csv(content: Iterator[bytes]) -> Reply:
    return Reply(stream=content, headers={"Content-Type": "text/csv"})
