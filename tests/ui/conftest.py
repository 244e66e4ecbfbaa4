"""`lms-crm dev` started for real in a folder of its own, and a browser in front of it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.webhook_catcher import subscribe

PROJECT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_SECONDS = 300.0
# Never a state, credential or home of the developer's own.
FOREIGN = re.compile("^(DAGSTER|LMS_CRM|ACME|GLOBEX)_")

Shoot = Callable[[Page, str], None]


class DagsterUI:
    """The UI's address, and what the UI itself asks its server for; what else `lms-crm dev` says."""

    def __init__(self, base: str, log: Path) -> None:
        self.base, self._log = base, log

    def address(self, line: str) -> str:
        """An address that `lms-crm dev` has printed behind this."""
        found = re.search(rf"\b{line} (http://[\d.]+:\d+)", self._log.read_text(encoding="utf-8"))
        assert found is not None, line
        return found[1]

    def shell(self, command: str) -> "subprocess.CompletedProcess[str]":
        """A command of `lms-crm` as `lms-crm dev` says that it is given in another terminal."""
        line = re.search(r"in this folder: (.*) && lms-crm", self._log.read_text(encoding="utf-8"))
        assert line is not None
        environ = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
        return subprocess.run(
            ["sh", "-c", f'{line[1]} && exec "$0" -m lms_crm_assets {command}', sys.executable],
            cwd=self._log.parent, env=environ, text=True, capture_output=True, check=False,
        )  # fmt: skip

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of one GraphQL answer."""
        answer = httpx.post(f"{self.base}/graphql", json={"query": query, "variables": variables}, timeout=120)
        body = answer.raise_for_status().json()
        assert "errors" not in body, body["errors"]
        return body["data"]

    def schedules(self) -> list[dict[str, str]]:
        """The schedules; none while the code is still being loaded or the server starts."""
        try:
            data = self.ask("{repositoriesOrError {... on RepositoryConnection {nodes {schedules {id name}}}}}")
        except httpx.TransportError:
            return []
        return [schedule for node in data["repositoriesOrError"].get("nodes", []) for schedule in node["schedules"]]

    def stop_schedules(self) -> None:
        """Nothing may run but what the test starts: the five minutes may be over at any moment."""
        for schedule in self.schedules():
            data = self.ask(
                "mutation ($id: String!) {stopRunningSchedule(id: $id) {__typename}}",
                id=schedule["id"],
            )
            assert data["stopRunningSchedule"]["__typename"] == "ScheduleStateResult", data

    @contextmanager
    def untold(self) -> Iterator[str]:
        """Moodle, its address, tells of no change meanwhile: a run of events would be quicker than a person."""
        moodle, receiver = self.address("moodle"), self.address("The receiver:")
        environment = (self._log.parent / ".lms-crm" / "demo" / "environment").read_text(encoding="utf-8")
        secret = re.search(r"\bACME_LMS_HOOK_SECRET=(\S+)", environment)
        assert secret is not None
        subscribe(moodle)
        try:
            yield moodle
        finally:
            subscribe(moodle, url=f"{receiver}/api/v1/hooks/acme", secret=secret[1])

    def launch(self, job: str, tenant: str | None = None) -> str:
        """Start the job, for the tenant where it is one's, as the UI's launchpad does; gives the run's id."""
        tags = [{"key": "dagster/partition", "value": tenant}] if tenant else []
        data = self.ask(
            "mutation ($params: ExecutionParams!) {launchRun(executionParams: $params)"
            " {__typename ... on LaunchRunSuccess {run {runId}}}}",
            params={
                "selector": {
                    "repositoryLocationName": "lms_crm_assets",
                    "repositoryName": "__repository__",
                    "jobName": job,
                },
                "mode": "default",
                "runConfigData": "{}",
                "executionMetadata": {"tags": tags},
            },
        )
        assert data["launchRun"]["__typename"] == "LaunchRunSuccess", data
        return str(data["launchRun"]["run"]["runId"])

    def runs(self, job: str) -> list[str]:
        """The ids of the job's runs, the newest first."""
        query = "{runsOrError(filter: {pipelineName: $job}) {... on Runs {results {runId}}}}"
        data = self.ask(f"query ($job: String!) {query}", job=job)
        return [str(run["runId"]) for run in data["runsOrError"]["results"]]

    def wait_for_another(self, job: str, known: Sequence[str]) -> None:
        """Wait until the job's next run, of which a click is the start, has succeeded."""
        _wait(lambda: len(self.runs(job)) > len(known), f"no run of {job} begins")
        [begun] = set(self.runs(job)) - set(known)
        self.wait_for(begun)

    def wait_for(self, run_id: str) -> None:
        """Wait until the run has succeeded."""
        _wait(lambda: self._status(run_id) in {"SUCCESS", "FAILURE", "CANCELED"}, f"the run {run_id} doesn't end")
        assert self._status(run_id) == "SUCCESS"

    def _status(self, run_id: str) -> str:
        data = self.ask("query ($id: ID!) {runOrError(runId: $id) {... on Run {status}}}", id=run_id)
        return str(data["runOrError"]["status"])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUI]:
    """The UI of a fresh `lms-crm dev`, its schedules stopped."""
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    folder = tmp_path_factory.mktemp("dev")
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "tenants", folder / "tenants")
    with _running_dev(folder) as base:
        found = DagsterUI(base, folder / "dev.log")
        _wait(lambda: bool(found.schedules()), "the UI doesn't answer")
        found.stop_schedules()
        yield found


@pytest.fixture(scope="module")
def browser(ui: DagsterUI) -> Iterator[Browser]:  # noqa: ARG001 - no browser before there is something to see
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        try:
            yield found
        finally:
            found.close()


@pytest.fixture(scope="module")
def page(ui: DagsterUI, browser: Browser) -> Page:
    """A window on the UI."""
    expect.set_options(timeout=90_000)
    found = browser.new_page(base_url=ui.base, viewport={"width": 1600, "height": 1000})
    found.set_default_timeout(30_000)
    return found


@pytest.fixture(scope="session")
def shoot() -> Shoot:
    """Takes a picture of the window, for people to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return take


@contextmanager
def _running_dev(folder: Path) -> Iterator[str]:
    """Start `lms-crm dev` in the folder, give its address, and leave no process behind."""
    log = folder / "dev.log"
    environ = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "lms_crm_assets", "dev", "--port", "0", "--fresh"],
            cwd=folder,
            env={**environ, "DAGSTER_HOME": str(folder)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(lambda: process.poll() is not None or _address(log) is not None, "lms-crm dev doesn't start")
        assert process.poll() is None, log.read_text(encoding="utf-8")
        base = _address(log)
        assert base is not None
        yield base
    finally:
        # As Ctrl-C does; then whoever of the group is still there.
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        left = [address for address in _addresses(log) if _is_open(address)]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert left == []


def _addresses(log: Path) -> list[str]:
    """Everything that `lms-crm dev` has started."""
    return re.findall(r"http://[\d.]+:\d+", log.read_text(encoding="utf-8"))


def _is_open(address: str) -> bool:
    port = int(address.rpartition(":")[2])
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _address(log: Path) -> str | None:
    found = re.search(r"The Dagster UI: (http://[\d.]+:\d+)", log.read_text(encoding="utf-8"))
    return found and found[1]


def _wait(is_true: Callable[[], bool], complaint: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < give_up_at, complaint
        time.sleep(0.2)
