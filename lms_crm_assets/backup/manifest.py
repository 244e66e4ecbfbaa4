"""The manifest of a backup: what belongs to it, byte for byte. It is written last: a folder without one is no backup."""

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lms_crm_assets.errors import FatalError

FILE = "manifest.json"
FORMAT = 1
_PIECE_BYTES = 1 << 20


class Entry(BaseModel):
    """One file: its path in the backup, with `/`, and what it has to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int = Field(description="Bytes.")
    sha256: str

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise ValueError("leads out of the backup")
        return path


class Manifest(BaseModel):
    """A backup as it was taken. `store`: where the operational state was, which only of SQLite is in the backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    taken_at: datetime
    product: str = Field(description="The version of lms-crm.")
    duckdb: str = Field(description="The version that wrote the warehouses.")
    store: Literal["sqlite", "postgres"]
    rows: dict[str, int] = Field(description="The rows of each tenant's warehouse, over all tables.")
    entries: tuple[Entry, ...]

    @property
    def tenants(self) -> list[str]:
        """The tenants whose warehouse is in the backup."""
        return sorted(self.rows)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        unfinished = folder / f"{FILE}.part"
        unfinished.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        synced(unfinished)
        unfinished.replace(folder / FILE)
        synced(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The manifest of a backup; `FatalError` where there is none that can be used."""
        file = folder / FILE
        try:
            found = cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            raise FatalError(
                f"{folder} is no backup, or one that was broken off: there is no {FILE} in it; take another one"
            ) from None
        except OSError as exc:
            raise FatalError(f"{file} can't be read: {exc.strerror}") from exc
        except ValidationError:
            raise FatalError(f"{file} is damaged: take another backup") from None
        if found.format != FORMAT:
            raise FatalError(f"{folder} was written by a newer version of lms-crm ({found.product}): upgrade first")
        return found

    def check(self, folder: Path, entries: Iterable[Entry]) -> None:
        """`FatalError` that names the files that are missing or not what they were."""
        wrong = [entry.path for entry in entries if not _is_whole(folder / entry.path, entry)]
        if wrong:
            raise FatalError(f"{folder} is damaged ({', '.join(wrong)}): take another backup; nothing was changed")


def entry_of(folder: Path, file: Path) -> Entry:
    """A file of a backup as it is now."""
    return Entry(path=file.relative_to(folder).as_posix(), size=file.stat().st_size, sha256=_digest(file))


def synced(path: Path) -> None:
    """Have a file's or folder's content on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _is_whole(file: Path, entry: Entry) -> bool:
    try:
        return file.stat().st_size == entry.size and _digest(file) == entry.sha256
    except OSError:
        return False


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
