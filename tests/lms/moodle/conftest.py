"""One simulated Moodle for these tests, as recorded at the beginning of each of them."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx
import pytest

from lms_crm_assets.sandbox.moodle import MoodleSimulator
from lms_crm_assets.warehouse.connection import connect
from tests.lms.moodle.site import Door, door_to
from tests.simulator_server import serving


@pytest.fixture(scope="session")
def _served() -> Iterator[str]:
    with serving(MoodleSimulator(token="full")) as url:
        yield url


@pytest.fixture
def door(_served: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The site, entered with the account that sees everything."""
    monkeypatch.setenv("MOODLE", "full")
    httpx.post(f"{_served}/_sandbox/reset").raise_for_status()
    with door_to(_served) as found:
        yield found


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse."""
    with connect(tmp_path / "w.duckdb") as found:
        yield found
