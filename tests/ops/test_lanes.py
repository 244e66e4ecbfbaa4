"""Two runs of a tenant side by side: who goes first, and who is turned away."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lms_crm_assets.errors import RetryableError
from lms_crm_assets.ops.lanes import Lane, Place, is_taken


def test_a_lane_has_one_run_and_lanes_do_not_hinder_each_other(tmp_path: Path) -> None:
    full = Place(tmp_path, "acme", Lane.FULL)
    with pytest.raises(RetryableError, match="another run of acme is under way"):
        Place(tmp_path, "acme", Lane.FULL)
    assert is_taken(tmp_path, Lane.FULL)
    assert not is_taken(tmp_path, Lane.EVENTS)
    with full.aside():
        events = Place(tmp_path, "acme", Lane.EVENTS)
        with pytest.raises(RetryableError, match="another run of the events of acme"):
            Place(tmp_path, "acme", Lane.EVENTS)
        events.close()
    full.close()
    assert not is_taken(tmp_path, Lane.FULL)


def test_a_long_run_gives_way_and_goes_on_when_the_events_are_over(tmp_path: Path) -> None:
    told: list[str] = []
    full = Place(tmp_path, "acme", Lane.FULL)
    assert not full.wanted()
    assert not full.give_way()

    def run_of_events() -> None:
        place = Place(tmp_path, "acme", Lane.EVENTS)
        told.append("events have the turn")
        # Nobody is given way to by these.
        assert not place.give_way()
        with place.aside():
            told.append("events read, and keep it")
        place.close()

    thread = threading.Thread(target=run_of_events)
    thread.start()
    while not full.wanted():
        pass
    assert told == []
    while full.give_way():
        told.append("full")
    thread.join()

    assert told[:2] == ["events have the turn", "events read, and keep it"]
    full.close()


def test_a_process_that_dies_leaves_place_and_turn(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from lms_crm_assets.ops.lanes import *;"
        "place = Place(pathlib.Path(sys.argv[1]), 'acme', Lane.EVENTS); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9

    full = Place(tmp_path, "acme", Lane.FULL)
    assert not full.wanted()
    Place(tmp_path / "other", "globex", Lane.EVENTS).close()
    full.close()
