"""The README's commands work as they are written there: its blocks, and each command of its table, on the demo's state."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from lms_crm_assets.settings import Settings
from tests.e2e.documented import ROOT, Shell, blocks, shell

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| `lms-crm ([a-z -]+)` \|", README, re.MULTILINE)

# What each command of the table is run with, in this order, and how it ends where that is not 0.
ARGUMENTS: dict[str, str | tuple[str, int]] = {
    "doctor": "--tenant acme",
    "tenants list": "",
    "tenants validate": "--tenant globex",
    "tenants show": "--tenant globex --json",
    "tenants diff": "--tenant globex",
    "contract upgrade": "--tenant globex",
    "credentials set": "crm_token --tenant globex --expires 2031-01-01 <<< a-secret",
    "credentials list": "--tenant globex",
    "credentials check": "--tenant globex",
    "credentials rotate": "",
    "crm setup": "--tenant globex",
    "crm schema": "--tenant globex",
    "crm accept": "--tenant globex",
    "plan": "--tenant globex --out plan.json",
    "apply": "plan.json",
    "reconcile": "--tenant globex --incremental",
    "explain": "lrn-0000001 --tenant globex",
    "record": "--tenant globex --out recorded",
    "quarantine list": "--tenant globex --layer schema --limit 5",
    "quarantine export": "--tenant globex --format ndjson --output refused.ndjson",
    "dead-letters list": "--tenant globex --refused",
    # There is none.
    "dead-letters show": ("--tenant globex --key lrn-0000001", 1),
    "dead-letters replay": "--tenant globex --all",
    "events list": "--tenant globex",
    "events show": "--id a-delivery",
    "events replay": "--tenant globex --state done --dry-run",
    "alerts list": "--all",
    # No channel is set up.
    "alerts test": ("", 1),
    "switches set": "--tenant globex --dry-run --reason 'to see'",
    "switches show": "--tenant globex",
    "switches clear": "--tenant globex",
    "audit list": "--tenant globex --limit 5",
    "audit export": "--tenant globex --format csv --output audit.csv",
    "report": "--tenant globex --out report.html",
    "metrics": "",
    "forget": "lrn-0000002 --tenant globex",
    "purge": "--dry-run",
    "backup": '"$BACKUPS/of-the-readme"',
    "restore": '"$BACKUPS/of-the-readme" --force',
}
# Those that run until Ctrl-C, and what they say once they do.
SERVING = {
    "receiver": ("--port 0", "receiver_listens"),
    "worker": ("", "Waiting for events"),
    "sandbox": ("", "Ctrl-C stops the sandbox"),
}
# By the blocks above the table, and where a browser is.
ELSEWHERE = {"demo", "init", "dev", "connect"}


def test_every_command_of_the_table_is_run() -> None:
    assert sorted(TABLE) == sorted([*ARGUMENTS, *SERVING, *ELSEWHERE])
    assert '"dev"' in (ROOT / "tests" / "ui" / "conftest.py").read_text(encoding="utf-8")
    assert '"connect"' in (ROOT / "tests" / "cli" / "test_credentials.py").read_text(encoding="utf-8")


def test_make_targets_of_the_first_block_do_what_is_said_of_them() -> None:
    (first, *_) = blocks("README.md")

    assert first.text.split("\n")[:2] == ["make demo", "make test"]
    assert re.search(r"^demo: .+\n\t\$\(BIN\)/lms-crm demo$", MAKEFILE, re.MULTILINE)
    assert re.search(r'^test: .+\n\t\$\(SUITE\) -m "not slow and not long"$', MAKEFILE, re.MULTILINE)
    assert re.search(r"^dev: .+\n\t\$\(BIN\)/lms-crm dev$", MAKEFILE, re.MULTILINE)


@pytest.mark.long
def test_each_block_and_command_works_as_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", "tenants")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with shell(tmp_path, settings) as run:
        here = tmp_path / "here"
        shutil.copytree(ROOT / "tenants", here / "tenants")
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / name, here)
        _, of_the_demo, of_init = blocks("README.md")

        _succeeds(run, "lms-crm demo")
        start, *lines = of_the_demo.text.splitlines()
        with _serving(here, shlex.split(start)[1:], "Ctrl-C stops the sandbox") as said:
            exports = "\n".join(re.findall(r"^export .+$", said, re.MULTILINE))
            _succeeds(run, "\n".join([exports, *lines]))
            _succeeds(run, f"{exports}\n{of_init.text}")
            assert (here / "tenants" / "initech.yaml").exists()
            (here / "tenants" / "initech.yaml").unlink()

            exports += "\nexport LMS_CRM_STATE_DIR=.lms-crm/demo"
            environ = dict(re.findall(r"^export (\w+)=(.+)$", exports, re.MULTILINE))
            deliver = [sys.executable, "-c", _DELIVER, str(here / ".lms-crm" / "demo")]
            subprocess.run(deliver, env={**os.environ, **environ, "PYTHONPATH": str(ROOT)}, check=True)
            ended = {}
            for name, given in ARGUMENTS.items():
                arguments, code = given if isinstance(given, tuple) else (given, 0)
                done = run(f"{exports}\nlms-crm {name} {arguments}", COLUMNS="200")
                if done.returncode != code or "Traceback" in done.stdout + done.stderr:
                    ended[name] = done.returncode, done.stdout, done.stderr
            assert ended == {}
            for name, (arguments, ready) in SERVING.items():
                with _serving(here, [*name.split(), *arguments.split()], ready, **environ):
                    pass


def test_dagster_starts_as_the_readme_says(tmp_path: Path) -> None:
    (line,) = re.findall(r"`DAGSTER_HOME=\$PWD \.venv/bin/(dagster dev -w workspace\.yaml)`", README)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tenants", tmp_path / "tenants")
    command = [str(Path(sys.executable).parent / "dagster"), *shlex.split(line)[1:], "--port", str(_free_port())]
    environ = {"DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with _serving(tmp_path, command, r"Serving dagster-webserver on http", is_ours=False, **environ):
        pass


def _succeeds(run: Shell, text: str) -> None:
    done = run(text, COLUMNS="200")
    assert done.returncode == 0, f"{text.strip().splitlines()[-1]}\n{done.stdout}\n{done.stderr}"


# In a process of its own, so that this one has no file open when one is restored.
_DELIVER = """
import sys
from pathlib import Path
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
inbox = Inbox.at(Path(sys.argv[1]))
inbox.add([Delivery("globex", Side.LMS, "a-delivery", "application/json", b'{"type": "learner.updated", "id": "1"}')])
(event,) = inbox.lease("globex", 10, 60)
inbox.done([event.number])
"""


@contextmanager
def _serving(folder: Path, words: list[str], ready: str, *, is_ours: bool = True, **environ: str) -> Iterator[str]:
    """Start what runs until Ctrl-C, and stop it so; gives what it said until it was ready."""
    command = [sys.executable, "-m", "lms_crm_assets", *words] if is_ours else words
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LMS_CRM_LOG_LEVEL": "info", **environ}
    with Popen(
        command, cwd=folder, env=environ, stdout=PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        said = ""
        try:
            assert process.stdout is not None
            while not re.search(ready, said):
                line = process.stdout.readline()
                assert line, f"{words}: {said}"
                said += line
            yield said
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode in {0, 130} or not is_ours, words
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
