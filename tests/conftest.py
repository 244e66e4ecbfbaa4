"""What the tests share: a sandbox over real HTTP, and a tenant's state in a folder of its own."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpx
import httpx._transports.default as httpx_transport
import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox, running_sandbox
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from tests.canaries import pytest_configure, pytest_runtest_makereport, pytest_runtest_teardown  # noqa: F401 - hooks
from tests.lakes import lake_url  # noqa: F401 - as below
from tests.postgres import _database, database, place, postgres  # noqa: F401 - fixtures for all

# Every httpx client reads the root certificates anew, which takes 75 ms; on loopback they are read once for all.
httpx_transport.create_ssl_context = cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

TENANTS = Path(__file__).parent.parent / "tenants"


# The modules that take longest, none of which should be alone at the end.
_BEGIN_EARLY = (
    "ui/test_ui",
    "sync/test_convergence",
    "e2e/test_reconcile",
    "sync/test_events_beside",
    "receiver/test_process",
    "receiver/test_several_hosts",
    "receiver/test_openapi",
    "e2e/test_plans",
    "e2e/test_schema_changes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules; the order stays the collected one otherwise."""

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).with_suffix("").as_posix()
        return _BEGIN_EARLY.index(name) if name in _BEGIN_EARLY else len(_BEGIN_EARLY)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def _sandbox_of_the_session() -> Iterator[Sandbox]:
    with running_sandbox(["--learners", "300", "--enrollments", "700", "--courses", "6"]) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox_of_the_session: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A running sandbox in its initial state, and the environment in which the example tenants find it."""
    found = _sandbox_of_the_session
    for address in vars(found).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    # A reset ends all sessions; ours go with them, as those of another process.
    monkeypatch.setattr(tokens, "_shared", {})
    for name, value in found.environ().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The example tenants with an empty state."""
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(TENANTS))
    monkeypatch.delenv("LMS_CRM_STORE_URL", raising=False)
    monkeypatch.delenv("LMS_CRM_WAREHOUSE", raising=False)
    return Settings.from_environ(os.environ)


_stores: list[Path] = []


def empty_store() -> OperationalStore:
    """An operational store of nobody else's."""
    folder = Path(tempfile.mkdtemp(prefix="lms-crm-ops-"))
    _stores.append(folder)
    return OperationalStore(folder)


@pytest.fixture(scope="session", autouse=True)
def _no_store_is_left() -> Iterator[None]:
    yield
    for folder in _stores:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unused_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
