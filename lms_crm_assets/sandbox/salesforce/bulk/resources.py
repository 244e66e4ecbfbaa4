"""What the resources of ingest and of query jobs share: the request that makes a job, states, listing, removal."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from lms_crm_assets.sandbox.salesforce.errors import ApiError, JsonTypeError, json_error
from lms_crm_assets.sandbox.salesforce.http import Call, Reply
from lms_crm_assets.sandbox.salesforce.org import Org

from .jobs import DELIMITERS, LINE_ENDINGS, IngestJob, QueryJob, invalid_state

_JOBS_A_PAGE = 1000
_J = TypeVar("_J", IngestJob, QueryJob)


def job_request(call: Call, known: AbstractSet[str]) -> dict[str, Any]:
    """The body that makes a job, the CSV dialect's defaults filled in; `ApiError` when it is malformed."""
    body = call.json_object()
    for name in body:
        if name not in known | {"contentType", "columnDelimiter", "lineEnding", "operation"}:
            raise json_error(f'Unrecognized field "{name}"')
    filled = {"contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"} | body
    one_of(filled, "contentType", {"CSV"})
    one_of(filled, "columnDelimiter", DELIMITERS.keys())
    one_of(filled, "lineEnding", LINE_ENDINGS.keys())
    return filled


def one_of(body: Mapping[str, Any], name: str, values: AbstractSet[str]) -> str:
    """A text of the body that must be one of an enumeration."""
    value = body.get(name)
    if not isinstance(value, str) or value not in values:
        raise JsonTypeError(f"{name[:1].upper()}{name[1:]}Enum", value)  # text unverified
    return value


def text_of(body: Mapping[str, Any], name: str) -> str:
    """A text of the body; `ApiError` when it is missing."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise JsonTypeError("string", value)
    if not value.strip():
        raise ApiError(400, "INVALIDJOB", f"Missing required field: {name}")  # text unverified
    return value


def job_info(org: Org, call: Call, kind: type[_J]) -> Reply:
    """`GET jobs/{ingest|query}/{id}`."""
    return Reply(content=org.jobs.get(kind, call.params["job"]).info())


def delete_job(org: Org, call: Call, kind: type[_J]) -> Reply:
    """`DELETE jobs/{ingest|query}/{id}`: 204; not while it is open or at work."""
    org.jobs.remove(org.jobs.get(kind, call.params["job"]))
    return Reply(204)


def abort(job: _J) -> None:
    """End a job before its time; `ApiError` when it has ended already."""
    if job.done:
        raise invalid_state(f"Aborting already {_spoken(job)} Job not allowed")
    job.enter("Aborted")


def close_refused(job: IngestJob) -> ApiError:
    """A close of a job that is closed already."""
    return invalid_state(f"Closing already {_spoken(job)} Job not allowed")


def list_jobs(org: Org, call: Call, kind: type[_J], resource: str) -> Reply:
    """`GET jobs/{ingest|query}`: at most 1,000 a page, oldest first."""
    wanted = call.query.get("jobType", kind.job_type)
    jobs = org.jobs.listed(kind) if wanted == kind.job_type else []
    locator = call.query.get("queryLocator", "0")
    if not locator.isdigit():
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    start = int(locator)
    end = start + _JOBS_A_PAGE
    done = end >= len(jobs)
    return Reply(
        content={
            "done": done,
            "records": [job.brief() | {"jobType": job.job_type} for job in jobs[start:end]],
            "nextRecordsUrl": None if done else f"{call.data_url}/jobs/{resource}?queryLocator={end}",
        }
    )


def _spoken(job: IngestJob | QueryJob) -> str:
    """A state as the refusals name it."""
    return "Completed" if job.state == "JobComplete" else job.state
