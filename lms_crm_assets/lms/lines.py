"""The files of a landed entity: its rows, many of them a line, and beside them the same rows' keys alone.

A line holds its rows by column, so that writing it and reading it are one call of a parser for many rows. Whoever needs only
keys doesn't read past the payloads.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import orjson

from lms_crm_assets.domain import RawRecord
from lms_crm_assets.warehouse.sql import literal

_ROWS_A_LINE = 250
_LINE_BYTES = 1 << 16
# The reader takes 2048 lines at once, of one file: a file's rows are in memory together.
_FILE_BYTES = 4_000_000
_SHORTEST_BUFFER_BYTES = 1 << 16

_KEYS = "n: 'BIGINT', source_id: 'VARCHAR[]', is_deleted: 'BOOLEAN[]'"
_ROWS = f"{_KEYS}, payload: 'JSON[]'"


class RowFiles:
    """Writes an entity's rows behind those that are there; `stem` and a number make the names of the files.

    `parts`: how many files there are. `written`: bytes of all lines of rows; `longest`: of the longest one of these.
    """

    def __init__(self, stem: Path, parts: int = 0, written: int = 0, longest: int = 0) -> None:
        self.parts, self.written, self.longest = parts, written, longest
        self._stem = stem
        self._open(max(0, parts - 1))

    def write(self, records: Sequence[RawRecord], first: int) -> None:
        """Write the records; `first` is the number of the first one."""
        for line, key_line in lines(records, first):
            if self._rows.tell() > _FILE_BYTES:
                self.close()
                self._open(self.parts)
            self._rows.write(line)
            self._keys.write(key_line)
            self.written += len(line)
            self.longest = max(self.longest, len(line))

    def _open(self, part: int) -> None:
        self.parts = part + 1
        self._rows, self._keys = _rows_file(self._stem, part).open("ab"), _keys_file(self._stem, part).open("ab")

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._keys.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lines(records: Sequence[RawRecord], first: int) -> Iterator[tuple[bytes, bytes]]:
    """The records as pairs of lines, of rows and of their keys; `first` is the number of the first record."""
    start, step, end = 0, 1, len(records)
    while start < end:
        ids, payloads, deleted = zip(*records[start : start + step], strict=True)
        keys = {"n": first + start, "source_id": ids, "is_deleted": deleted}
        line = _row_line(keys, payloads)
        yield line, orjson.dumps(keys, option=orjson.OPT_APPEND_NEWLINE)
        start += len(ids)
        # Rows of one page are about as wide as one another.
        step = max(1, min(_ROWS_A_LINE, _LINE_BYTES * len(ids) // len(line)))


def _row_line(keys: dict[str, Any], payloads: Sequence[Any]) -> bytes:
    """A line of rows. One that is nested too deep for JSON keeps its key alone, and the checks refuse it."""
    try:
        return orjson.dumps({**keys, "payload": payloads}, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        written = [payload if _can_be_written(payload) else {} for payload in payloads]
        return orjson.dumps({**keys, "payload": written}, option=orjson.OPT_APPEND_NEWLINE)


def _can_be_written(payload: Any) -> bool:
    try:
        orjson.dumps({"payload": [payload]})
    except orjson.JSONEncodeError:
        return False
    return True


def keys_in(stem: Path, parts: int, longest: int) -> str:
    """The keys as a table of SQL: `n, source_id, is_deleted`; `longest` are the bytes of the longest line."""
    return _rows_of((_keys_file(stem, part) for part in range(parts)), longest, _KEYS, "")


def rows_in(stem: Path, parts: int, longest: int) -> str:
    """The rows as a table of SQL: `n, source_id, is_deleted, payload`."""
    files = (_rows_file(stem, part) for part in range(parts))
    return _rows_of(files, longest, _ROWS, ", unnest(payload) AS payload")


def _rows_file(stem: Path, part: int) -> Path:
    return stem.with_name(f"{stem.name}.{part}.ndjson")


def _keys_file(stem: Path, part: int) -> Path:
    return stem.with_name(f"{stem.name}.{part}.keys.ndjson")


def _rows_of(files: Iterable[Path], longest: int, columns: str, further: str) -> str:
    return (
        "(SELECT unnest(range(n, n + len(source_id))) AS n, unnest(source_id) AS source_id,"
        f" unnest(is_deleted) AS is_deleted{further}"
        f" FROM read_json([{', '.join(literal(str(file)) for file in files)}], columns = {{{columns}}},"
        f" format = 'newline_delimited', maximum_object_size = {max(longest, _SHORTEST_BUFFER_BYTES)}))"
    )
