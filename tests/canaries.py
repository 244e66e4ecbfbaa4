"""Nothing of learners and no secret in what is logged, printed, or kept by Dagster: looked at after every test.

The sandbox's learners have addresses of a few domains that nothing else uses, and its secrets are known to everyone. What is
looked at: each event that Dagster keeps in this process, at the moment it is kept; what a test logged and printed; and the
storages and logs of other processes that a test left in its folder. A test whose purpose is to print such values is marked
`shows_values`.
"""

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster._core.storage.event_log import sql_event_log

from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.receiver_server import ENVIRON

# sandbox/school/names.py; Moodle's recordings have acme and globex alone. Literal up to here, which is quick to look for.
_ADDRESS = re.compile(r"@(?:acme|globex|initech|umbrella|sample|romashka|aero|quoted)\.test")
_SECRET_NAMES = ("TOKEN", "SECRET", "KEY", "BEARER", "HMAC", "HUBSPOT")
_SHORTEST = 8

_SANDBOX = Sandbox(*[""] * len(Sandbox.__dataclass_fields__)).environ()
SECRETS = sorted(
    value.lower()
    for name, value in {**ENVIRON, **_SANDBOX}.items()
    if any(part in name for part in _SECRET_NAMES) and len(value) >= _SHORTEST
)

# Of other processes: Dagster's SQLite files, and what they print.
_FILES = ("**/*.db", "**/*.db-wal", "**/*.out", "**/*.err", "**/*.log")

_kept: list[str] = []
_LEFT = pytest.StashKey[list[str]]()
_serialize = vars(sql_event_log)["serialize_value"]


def _watched(value: Any, *args: Any, **options: Any) -> str:
    """As Dagster writes an event down; what should not be in it is noted for the test that is under way."""
    text: str = _serialize(value, *args, **options)
    _kept.extend(f"an event of Dagster: {found}" for found in leaks(text))
    return text


def leaks(text: str) -> Iterator[str]:
    """The learners' addresses and the secrets in a text, with what is around them."""
    lowered = text.lower()
    places = [found.start() for found in _ADDRESS.finditer(lowered)]
    places += [lowered.index(secret) for secret in SECRETS if secret in lowered]
    yield from (f"…{text[max(0, place - 80) : place + 40]}…" for place in places)


def pytest_configure() -> None:
    """Look at each event while it is kept: an ephemeral instance leaves nothing to look at."""
    vars(sql_event_log)["serialize_value"] = _watched


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """After a test's own end: what it leaked makes it fail."""
    report = yield
    if call.when != "teardown":
        return report
    found = [*_kept, *item.stash.get(_LEFT, ()), *_printed(item)]
    _kept.clear()
    if found and report.passed and not item.get_closest_marker("shows_values"):
        report.outcome = "failed"
        more = f"\n… and {len(found) - 10} more" if len(found) > 10 else ""
        report.longrepr = "learner data or a secret was let out:\n" + "\n".join(found[:10]) + more
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Before the test's folder goes."""
    item.stash[_LEFT] = list(_left(item))
    yield


def _printed(item: pytest.Item) -> Iterator[str]:
    for _, kind, text in item._report_sections:
        yield from (f"{kind}: {found}" for found in leaks(text))


def _left(item: pytest.Item) -> Iterator[str]:
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if not isinstance(folder, Path) or not folder.is_dir():
        return
    for pattern in _FILES:
        for file in folder.glob(pattern):
            # Each byte a character: what is no text is none of ours.
            text = file.read_bytes().decode("latin-1")
            yield from (f"{file.relative_to(folder)}: {found}" for found in leaks(text))
