"""Lanes: a tenant's long run and its short runs of events side by side, one at a time over what they share.

Each lane has one run of a tenant at a time. What the lanes share (warehouse, plans, the CRM's records) belongs to the run
that has the turn; a long run sets it aside while it only reads from the network, and gives way between two batches that it
delivers, to events that wait. Locks are the file system's, so that they end with their process.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from lms_crm_assets import interrupt
from lms_crm_assets.errors import RetryableError

_POLL_SECONDS = 0.05


class Lane(StrEnum):
    """`full`: reconciliations, pulls and plans; `events`: runs of what the inbox holds, which go first."""

    FULL = "full"
    EVENTS = "events"


class RightOfWay(Protocol):
    """What a run that has the turn may do with it."""

    def wanted(self) -> bool:
        """Whether somebody waits to whom this run should give way."""

    def give_way(self) -> bool:
        """Let those who wait go first, if there are any; whether there were."""


class Alone:
    """Nobody else is about."""

    def wanted(self) -> bool:
        """Nobody."""
        return False

    def give_way(self) -> bool:
        """There is nobody."""
        return False


class Place:
    """A run's place in its lane, and its turn; `RetryableError` while another run of the tenant has the lane."""

    def __init__(self, folder: Path, tenant: str, lane: Lane) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lane = lane
        self._folder = folder
        self._wish: BinaryIO | None = None
        self._turn: BinaryIO | None = None
        place = _locked(folder / f"{lane}.lock")
        if place is None:
            what = tenant if lane is Lane.FULL else f"the events of {tenant}"
            raise RetryableError(f"another run of {what} is under way")
        self._place = place
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def wanted(self) -> bool:
        """Whether a run of events waits or is at work; those have nobody to give way to."""
        return self.lane is Lane.FULL and _is_locked(self._folder / "wish.lock")

    def give_way(self) -> bool:
        """Wait until the run of events that wants to go first is over."""
        if not self.wanted():
            return False
        with self.aside():
            pass
        return True

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let the events' run have the turn while the block runs, which touches nothing of what is shared.

        That one is short, and keeps its turn to its end.
        """
        if self.lane is Lane.EVENTS:
            yield
            return
        self._leave()
        try:
            yield
        finally:
            self._take()

    def close(self) -> None:
        """End it."""
        self._leave()
        self._place.close()

    def _take(self) -> None:
        if self.lane is Lane.EVENTS:
            self._wish = _waited_for(lambda: _locked(self._folder / "wish.lock"))
        self._turn = _waited_for(lambda: None if self.wanted() else _locked(self._folder / "turn.lock"))

    def _leave(self) -> None:
        for held in (self._turn, self._wish):
            if held is not None:
                held.close()
        self._turn = self._wish = None


@contextmanager
def both_lanes(folder: Path, tenant: str) -> Iterator[None]:
    """No run of the tenant is at work or begins while the block runs; `RetryableError` while one is."""
    folder.mkdir(parents=True, exist_ok=True)
    events = _locked(folder / f"{Lane.EVENTS}.lock")
    if events is None:
        raise RetryableError(f"another run of the events of {tenant} is under way")
    with events:
        place = Place(folder, tenant, Lane.FULL)
        try:
            yield
        finally:
            place.close()


def is_taken(folder: Path, lane: Lane) -> bool:
    """Whether a run has its place in that lane; `folder` is the tenant's folder of locks."""
    return folder.is_dir() and _is_locked(folder / f"{lane}.lock")


def _waited_for(take: Callable[[], BinaryIO | None]) -> BinaryIO:
    while (taken := take()) is None:
        interrupt.check()
        time.sleep(_POLL_SECONDS)
    return taken


def _locked(file: Path) -> BinaryIO | None:
    """The file with its lock, held until it is closed or the process ends; None while another has it."""
    lock = file.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _is_locked(file: Path) -> bool:
    lock = _locked(file)
    if lock is None:
        return True
    lock.close()
    return False
