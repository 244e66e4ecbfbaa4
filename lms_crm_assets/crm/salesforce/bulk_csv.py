"""The CSV of bulk jobs: writes as Bulk API 2.0 reads them, and results as it tells them.

An empty cell leaves a field alone, `#N/A` clears it (Bulk API guide, Valid CSV Record Rows). So a text that reads
`#N/A` can't be said in CSV: `is_sayable` tells.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.salesforce.answers import UnreadableError
from lms_crm_assets.domain import CrmObject, CrmWrite

_CLEARED = "#N/A"


def is_sayable(write: CrmWrite) -> bool:
    """Whether CSV can carry a write: no text of it means something else there, and all of it is UTF-8."""
    texts = [write.external_id, *write.parents.values(), *(text for text in write.values.values() if text is not None)]
    return not any(text.strip().upper() == _CLEARED or _has_surrogate(text) for text in texts)


def write_files(
    spec: ObjectSpec, writes: Sequence[CrmWrite], folder: Path, most_bytes: int
) -> Iterator[tuple[Path, list[CrmWrite]]]:
    """The writes as CSV files of at most `most_bytes`, one after the other, each with the writes that it holds.

    The columns are the match key, the fields that any of the writes changes, and the parents' keys, as the spec orders
    them. The file is gone when the next one is asked for.
    """
    fields = [name for name in spec.fields if any(name in write.values for write in writes)]
    parents = [parent for parent in spec.parents if any(parent in write.parents for write in writes)]
    names = [f"{spec.parents[parent].relation}.{spec.parents[parent].match_key}" for parent in parents]
    spell = _Spelling()
    header = spell([spec.match_key, *fields, *names])
    waiting = iter(writes)
    first = next(waiting, None)
    while first is not None:
        path, held, size = folder / "upload.csv", [first], 0
        with path.open("wb") as file:
            line = spell(_cells(first, fields, parents))
            size = file.write(header) + file.write(line)
            while (first := next(waiting, None)) is not None:
                line = spell(_cells(first, fields, parents))
                if size + len(line) > most_bytes:
                    break
                size += file.write(line)
                held.append(first)
        yield path, held
        path.unlink()


def read_rows(path: Path, columns: set[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file; `UnreadableError` when it is none, or its header lacks one of `columns`.

    A result without rows may have a header of its own, or none.
    """
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        try:
            header = next(reader, [])
            if header and not columns & set(header):
                raise UnreadableError
            for cells in reader:
                if not columns <= set(header) or len(cells) != len(header):
                    raise UnreadableError
                yield dict(zip(header, cells, strict=True))
        except (csv.Error, UnicodeDecodeError) as exc:
            raise UnreadableError from exc


def error_of_row(text: str) -> tuple[str, str]:
    """Code and message of a cell `sf__Error`, `CODE:message:fields--`."""
    code, _, rest = text.partition(":")
    message, _, _ = rest.rpartition(":")
    return code or "UNKNOWN", message or rest


class _Spelling:
    """Rows as CSV lines; a value with line ends, quotes or commas in it is quoted."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n")

    def __call__(self, cells: Iterable[str]) -> bytes:
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerow(cells)
        return self._text.getvalue().encode()


def _cells(write: CrmWrite, fields: Sequence[str], parents: Sequence[CrmObject]) -> Iterator[str]:
    yield write.external_id
    for name in fields:
        # REST takes an empty text for null, so does this.
        yield (write.values[name] or _CLEARED) if name in write.values else ""
    for parent in parents:
        yield write.parents.get(parent, "")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
