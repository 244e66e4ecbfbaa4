"""The bulk jobs of a delivery, on the disk before anything is sent: a killed run's jobs are ended before others write."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from lms_crm_assets.crm.protocol import BulkLoader
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.sync.journal import is_written


class Jobs:
    """The list of one delivery's jobs; it goes when the delivery has all their results and none is under way."""

    def __init__(self, bulk: BulkLoader, file: Path) -> None:
        self._bulk = bulk
        self._file = file
        self._lines = file.open("ab")
        fcntl.flock(self._lines, fcntl.LOCK_EX)

    def opened(self, job_id: str) -> None:
        """Note a job that was made and holds nothing yet."""
        self._lines.write(f"{job_id}\n".encode())
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if exc is None:
                # One that was given up may still write; the next run ends those that are left in the file.
                for job_id in self._file.read_text(encoding="utf-8").split():
                    self._bulk.settle(job_id)
                self._file.unlink()
        finally:
            self._lines.close()


def settle_left(bulk: BulkLoader | None, obj: CrmObject, folder: Path) -> int:
    """End the jobs that killed deliveries of this object left behind; gives their number."""
    settled = 0
    for file in sorted(folder.glob(f"{obj}.*.jobs")) if bulk is not None else ():
        if not is_written(file):
            for job_id in file.read_text(encoding="utf-8").split():
                bulk.settle(job_id)  # type: ignore[union-attr]  # the loop runs only with one
                settled += 1
            file.unlink()
    return settled
