"""Files that commands write for people: for their owner alone, and safe to open in a spreadsheet."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import orjson
import typer

from lms_crm_assets.errors import FatalError
from lms_crm_assets.progress import Step, progress

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), the wide forms with them.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Format(StrEnum):
    """How an export is written."""

    CSV = "csv"
    NDJSON = "ndjson"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="Of the file.")]


@contextmanager
def target(output: Path | None) -> Iterator[TextIO]:
    """The file, readable by its owner alone also when it was there before, or stdout."""
    if output is None:
        yield sys.stdout
        return
    try:
        number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as exc:
        raise FatalError(f"{output} can't be written: {exc.strerror}") from exc
    with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
        if stat.S_ISREG(os.fstat(number).st_mode):
            os.fchmod(number, 0o600)
        yield file


@contextmanager
def exporting(tenant: str, output: Path | None) -> Iterator[Step]:
    """Progress beside a file; rows that go to stdout show it themselves, and would be torn by it."""
    if output is None:
        yield lambda _current, _done, _total: None
        return
    with progress(f"{tenant}: {output}") as step:
        yield step


def cell(value: Any) -> str:
    """A value as the text of a cell that no spreadsheet runs."""
    if value is None:
        return ""
    text = orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
