"""The CSV of bulk jobs: read as strictly as the platform does, a record at a time, and written.

Bulk API guide, Prepare CSV Files and Valid CSV Record Rows: UTF-8, quotes double inside quotes, a quoted value may hold
delimiters and line ends, one line ending throughout (`lineEnding` of the job).
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from .jobs import DELIMITERS, LINE_ENDINGS, Job

_QUOTE = b'"'
_PIECE = 256 * 1024


class JobFailedError(Exception):
    """What fails a whole job; the text becomes its `errorMessage`."""


def read_csv(file: IO[bytes], job: Job) -> Iterator[list[str]]:
    """The header, then each record, with as many cells as the header; `JobFailedError` where the file is malformed."""
    reader = csv.reader(_lines(file, job), delimiter=DELIMITERS[job.column_delimiter], doublequote=True, strict=True)
    width = 0
    try:
        for cells in reader:
            if not cells:
                continue
            width = width or len(cells)
            if len(cells) != width:  # text unverified
                raise JobFailedError(f"InvalidBatch : A row has {len(cells)} columns where the header has {width}")
            yield cells
    except csv.Error as error:  # text unverified
        raise JobFailedError(f"InvalidBatch : Failed to parse CSV: {error}") from error
    except UnicodeDecodeError as error:  # text unverified
        raise JobFailedError("InvalidBatch : Failed to parse CSV: the data is not UTF-8") from error


def raw_records(path: Path) -> Iterator[bytes]:
    """The header and each record of a file as they were uploaded, line ends within quotes and all."""
    with path.open("rb") as file:
        held = b""
        for line in file:
            held += line
            if held.count(_QUOTE) % 2 == 0:
                yield held
                held = b""
        if held:
            yield held


def write_csv(job: Job, rows: Iterable[Iterable[str]]) -> str:
    """Records with every value in quotes, as results show them."""
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=DELIMITERS[job.column_delimiter],
        lineterminator=LINE_ENDINGS[job.line_ending],
        quoting=csv.QUOTE_ALL,
    )
    writer.writerows(rows)
    return text.getvalue()


def result_header(job: Job, own: Iterable[str], columns: Iterable[str]) -> str:
    """The header of a result: the platform's own columns in quotes, the client's as they were given."""
    delimiter = DELIMITERS[job.column_delimiter]
    given = io.StringIO()
    csv.writer(given, delimiter=delimiter, lineterminator=LINE_ENDINGS[job.line_ending]).writerow(list(columns))
    return delimiter.join([*(f'"{name}"' for name in own), given.getvalue()])


def pieces(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """A file's bytes from `start` to `end`, in pieces."""
    with path.open("rb") as file:
        file.seek(start)
        left = end - start if end is not None else None
        while piece := file.read(_PIECE if left is None else min(_PIECE, left)):
            yield piece
            if left is not None:
                left -= len(piece)


def _lines(file: IO[bytes], job: Job) -> Iterator[str]:
    crlf = job.line_ending == "CRLF"
    within_quotes = False
    for line in file:
        if line.count(_QUOTE) % 2:
            within_quotes = not within_quotes
        if not within_quotes and line.endswith(b"\n") and line.endswith(b"\r\n") != crlf:
            message = f"LineEnding is invalid on user data. Current LineEnding setting is {job.line_ending}"
            raise JobFailedError(f"ClientInputError : {message}")
        yield line.decode()
