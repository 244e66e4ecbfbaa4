"""Processes that work beside each other and end together, whichever way one of them or we end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_STOP_SECONDS = 15.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """A process that ended by itself."""

    name: str
    exit_code: int


@dataclass(frozen=True)
class _Child:
    name: str
    process: "subprocess.Popen[bytes]"
    stop_signal: signal.Signals


class Children:
    """Started one by one; a context that stops them all."""

    def __init__(self) -> None:
        """Begin with none."""
        self._children: list[_Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start a process that is asked to stop by this signal."""
        # In a session of its own, so that a terminal's Ctrl-C reaches it once, through us.
        process = subprocess.Popen(command, env=environ, start_new_session=True)  # noqa: S603 - our own command
        self._children.append(_Child(name, process, stop_signal))

    def start_lms_crm(self, *words: str) -> None:
        """Start `lms-crm …`."""
        self.start(f"lms-crm {words[0]}", [sys.executable, "-m", "lms_crm_assets", *words])

    def ended(self) -> Ended | None:
        """The first one that runs no more."""
        for child in self._children:
            if (exit_code := child.process.poll()) is not None:
                return Ended(child.name, exit_code)
        return None

    def wait(self) -> Ended:
        """Wait until one of them ends."""
        while (found := self.ended()) is None:
            time.sleep(_LOOK_SECONDS)
        return found

    def stop(self) -> None:
        """Ask all to stop, and end those that don't, with what they started."""
        children, self._children = self._children, []
        try:
            for child in children:
                child.process.send_signal(child.stop_signal)
            give_up_at = time.monotonic() + _STOP_SECONDS
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, give_up_at - time.monotonic()))
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
