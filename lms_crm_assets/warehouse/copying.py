"""Copying a DuckDB file byte by byte: a hundredth of the time that it takes to copy its tables."""

import fcntl
import shutil
from pathlib import Path

# Of <linux/fs.h>: share the blocks of a file, until one of both is written.
_FICLONE = 0x40049409


def copy_file(source: Path, target: Path) -> None:
    """Copy a file of learner data, for nobody else to read; what was at `target` is gone.

    In no time where the file system lets files share blocks (XFS, btrfs).
    """
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with source.open("rb") as read, target.open("r+b") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:
            shutil.copyfile(source, target)


def copy_with_log(source: Path, target: Path) -> None:
    """Copy a DuckDB file that is held still, with its log, which what a killed run left behind may be in.

    The log first: closing the file, which copying it does, gives up this process's hold on it.
    """
    if (ahead := log_of(source)).exists():
        copy_file(ahead, log_of(target))
    copy_file(source, target)


def log_of(file: Path) -> Path:
    """DuckDB's log beside a file: what was committed and is not in the file yet."""
    return file.with_name(f"{file.name}.wal")
