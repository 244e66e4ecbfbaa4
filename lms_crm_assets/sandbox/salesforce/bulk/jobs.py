"""The jobs of an org and the folder that holds their files; the work itself is done elsewhere.

A job's records never stand in memory as a whole: the upload and the results are files, in a folder that goes with the
process or the next reset.
"""

import asyncio
import shutil
import tempfile
import time
import weakref
from array import array
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from lms_crm_assets.sandbox.salesforce.errors import ApiError, not_found
from lms_crm_assets.sandbox.salesforce.ids import record_id
from lms_crm_assets.sandbox.salesforce.schema import Field, SObject
from lms_crm_assets.sandbox.salesforce.store import USER_ID
from lms_crm_assets.sandbox.salesforce.values import format_datetime

State = Literal["Open", "UploadComplete", "InProgress", "JobComplete", "Failed", "Aborted"]
DELIMITERS = {"COMMA": ",", "TAB": "\t", "SEMICOLON": ";", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
_FINAL = frozenset({"JobComplete", "Failed", "Aborted"})


@dataclass
class Job:
    """What ingest and query jobs share. Times are seconds since 1970, `spent_seconds` those of the work itself."""

    job_type: ClassVar[str]

    id: str
    operation: str
    sobject: SObject
    version: int
    column_delimiter: str
    line_ending: str
    folder: Path
    clock: Callable[[], float]
    state: State
    created: int = 0
    modified: int = 0
    processed: int = 0
    error: str = ""
    spent_seconds: float = 0.0
    _started: float | None = None
    _ended: float = 0.0

    def __post_init__(self) -> None:
        """Note when it was made."""
        self.created = self.modified = int(self.clock())

    @property
    def done(self) -> bool:
        """Whether it will change no more."""
        return self.state in _FINAL

    def enter(self, state: State, error: str = "") -> None:
        """Pass into another state."""
        if state == "InProgress":
            self._started = time.monotonic()
        if state in _FINAL:
            self._ended = time.monotonic()
        self.state, self.error, self.modified = state, error, int(self.clock())

    def brief(self) -> dict[str, Any]:
        """As it is shown when it is made or its state is changed."""
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.sobject.name,
            "createdById": USER_ID,
            "createdDate": format_datetime(self.created),
            "systemModstamp": format_datetime(self.modified),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            "lineEnding": self.line_ending,
            "columnDelimiter": self.column_delimiter,
        }

    def info(self) -> dict[str, Any]:
        """Everything about it."""
        took = 0.0 if self._started is None or not self.done else self._ended - self._started
        shown = self.brief() | {
            "jobType": self.job_type,
            "retries": 0,
            "totalProcessingTime": int(took * 1000),
            "numberRecordsProcessed": self.processed,
        }
        return shown | ({"errorMessage": self.error} if self.error else {})


@dataclass
class IngestJob(Job):
    """A job that loads rows. `key` is the field of an upsert, None when that is the Id."""

    job_type: ClassVar[str] = "V2Ingest"

    key: Field | None = None
    uploaded: bool = False
    uploading: bool = False
    failed: int = 0

    @property
    def upload(self) -> Path:
        """The uploaded CSV; gone once every row of it was processed."""
        return self.folder / f"{self.id}-upload.csv"

    @property
    def successful_results(self) -> Path:
        """Rows with `sf__Id` and `sf__Created`."""
        return self.folder / f"{self.id}-successful.csv"

    @property
    def failed_results(self) -> Path:
        """Rows with `sf__Id` and `sf__Error`."""
        return self.folder / f"{self.id}-failed.csv"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that may stand on disk."""
        return self.upload, self.successful_results, self.failed_results

    def discard_upload(self) -> None:
        """Remove the uploaded CSV."""
        self.upload.unlink(missing_ok=True)

    def brief(self) -> dict[str, Any]:
        """With the key of an upsert, and where to upload as long as that is possible."""
        key = {} if self.operation != "upsert" else {"externalIdFieldName": self.key.name if self.key else "Id"}
        # Without a slash in front: the guide's own examples.
        where = f"services/data/v{self.version}.0/jobs/ingest/{self.id}/batches"
        return super().brief() | key | ({"contentUrl": where} if self.state == "Open" else {})

    def info(self) -> dict[str, Any]:
        """With the counts of the work."""
        spent = int(self.spent_seconds * 1000)
        return super().info() | {
            "numberRecordsFailed": self.failed,
            "apiActiveProcessingTime": spent,
            "apexProcessingTime": 0,
        }


@dataclass
class QueryJob(Job):
    """A job that answers a query. `offsets` are where each row of the result file starts, and where the last ends."""

    job_type: ClassVar[str] = "V2Query"

    offsets: "array[int]" = field(default_factory=lambda: array("Q", [0]), repr=False)

    @property
    def results(self) -> Path:
        """The rows, without the header."""
        return self.folder / f"{self.id}-rows.csv"

    @property
    def header(self) -> Path:
        """The header."""
        return self.folder / f"{self.id}-header.csv"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that may stand on disk."""
        return self.results, self.header


_J = TypeVar("_J", IngestJob, QueryJob)


class Jobs:
    """All jobs by id, in the order of their making."""

    def __init__(self) -> None:
        """Start with none; the folder is made with the first."""
        self._jobs: dict[str, IngestJob | QueryJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._folder: Path | None = None

    def next_id(self) -> str:
        """The id of a new job."""
        self._number += 1
        return record_id("750", self._number)

    @property
    def folder(self) -> Path:
        """Where jobs keep their files."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sandbox-salesforce-bulk-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def add(self, job: _J) -> _J:
        """Enter a new job."""
        self._jobs[job.id] = job
        return job

    def get(self, kind: type[_J], id_: str) -> _J:
        """The job of that 15- or 18-character id; `ApiError` 404 when there is none of the kind."""
        found = self._jobs.get(id_) or next((job for job in self._jobs.values() if job.id[:15] == id_), None)
        if not isinstance(found, kind):
            raise not_found()
        return found

    def listed(self, kind: type[_J]) -> list[_J]:
        """The jobs of a kind, oldest first."""
        return [job for job in self._jobs.values() if isinstance(job, kind)]

    def remove(self, job: IngestJob | QueryJob) -> None:
        """Forget a job and remove its files; `ApiError` while it is at work."""
        if not job.done and job.state != "UploadComplete":
            raise invalid_state(f"Job {job.id} can't be deleted in the state {job.state}")  # text unverified
        job.enter("Aborted")
        del self._jobs[job.id]
        for path in job.files:
            path.unlink(missing_ok=True)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do a job's work in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop all work and remove every file."""
        for task in self._tasks:
            task.cancel()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def invalid_state(message: str) -> ApiError:
    """What the job's state does not allow."""
    return ApiError(400, "INVALIDJOBSTATE", message)


def invalid_job(message: str) -> ApiError:
    """A job that can't be made so."""
    return ApiError(400, "INVALIDJOB", message)
