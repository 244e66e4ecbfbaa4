"""Copying a DuckDB file byte by byte: a hundredth of the time that it takes to copy its tables."""

import shutil
from pathlib import Path


def copy_file(source: Path, target: Path) -> None:
    """Copy a file of learner data, for nobody else to read; what was at `target` is gone."""
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    shutil.copyfile(source, target)


def log_of(file: Path) -> Path:
    """DuckDB's log beside a file: what was committed and is not in the file yet."""
    return file.with_name(f"{file.name}.wal")
