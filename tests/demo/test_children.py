"""Processes that end together."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lms_crm_assets.demo import children as module
from lms_crm_assets.demo.children import Children, Ended

SLEEP = ["sleep", "60"]


def is_running(pid: int) -> bool:
    # A zombie has no command line: nobody waits for an orphan here.
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def gone(pid: int) -> bool:
    give_up_at = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return not is_running(pid)


def pids(started: Children) -> list[int]:
    return [child.process.pid for child in started._children]


def test_all_end_when_the_context_does() -> None:
    running: list[int] = []
    with suppress(KeyError), Children() as started:
        started.start("one", SLEEP)
        started.start("two", SLEEP, stop_signal=signal.SIGINT)
        running += pids(started)
        raise KeyError
    assert len(running) == 2
    assert all(gone(pid) for pid in running)


def test_the_one_that_ends_by_itself_is_named() -> None:
    with Children() as started:
        started.start("one", SLEEP)
        started.start("two", [sys.executable, "-c", "raise SystemExit(3)"])
        assert started.wait() == Ended("two", 3)


def test_what_doesnt_stop_is_killed_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STOP_SECONDS", 0.2)
    with Children() as started:
        # A shell that ignores it, and a grandchild that inherits that.
        script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; wait"
        started.start("deaf", ["sh", "-c", script])
        give_up_at = time.monotonic() + 10
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        running = [*pids(started), int((tmp_path / "pid").read_text())]
    assert all(gone(pid) for pid in running)


def test_a_child_hears_no_signal_of_our_terminal() -> None:
    with Children() as started:
        started.start("one", SLEEP)
        [pid] = pids(started)
        groups = subprocess.run(
            ["ps", "-o", "pgid=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout
        assert int(groups) == pid
