"""`lms-crm dev`: the Dagster UI and daemon, the receiver and the worker, with the sandbox behind them."""

import json
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from dagster import DagsterInstance
from rich.console import Console

from lms_crm_assets.contract.loading import tenant_names
from lms_crm_assets.defs.edge import TENANTS
from lms_crm_assets.demo.children import Children
from lms_crm_assets.demo.demo import STATE_DIR, demo_settings
from lms_crm_assets.demo.sandbox_process import Sandbox, running_sandbox
from lms_crm_assets.errors import FatalError

_ENVIRONMENT = STATE_DIR / "environment"
_RECEIVER_PATIENCE_SECONDS = 60.0
# Where `lms-crm doctor` looks for it.
_RECEIVER_PORT = 8080


def run_dev(console: Console, *, port: int, fresh: bool) -> int:
    """Run until Ctrl-C or SIGTERM, or until a process of it ends; gives that one's exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A shell's background job begins with it ignored, and its children would never hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if fresh:
        # With Dagster's own history, which would show runs over a warehouse that is gone.
        for folder in (STATE_DIR, STATE_DIR.parent / "dagster"):
            shutil.rmtree(folder, ignore_errors=True)
    settings = demo_settings()
    port = _free(port)
    with running_sandbox(["--state-dir", str(STATE_DIR / "sandbox")]) as sandbox, Children() as children:
        environ = {
            **sandbox.environ(),
            # Wherever a command or a notebook is started.
            "LMS_CRM_STATE_DIR": str(settings.state_dir.absolute()),
            "LMS_CRM_TENANTS_DIR": str(settings.tenants_dir.absolute()),
        }
        os.environ.update(environ)
        # All of them share this terminal; the runs' lines are in Dagster's compute logs with a level of one's own.
        os.environ.setdefault("LMS_CRM_LOG_LEVEL", "warning")
        _keep(environ)
        with DagsterInstance.get() as instance:
            instance.add_dynamic_partitions(str(TENANTS.name), tenant_names(settings.tenants_dir))
        try:
            receiver = _start_receiver(children)
            # Without our own writes, which HubSpot tells of too: each is a look at a record that agrees.
            sandbox.send_webhooks_to(receiver, hubspot_sources=["CRM_UI"])
            children.start_lms_crm("worker")
            _start_dagster(children, port)
            _welcome(console, sandbox, port, receiver)
            ended = children.wait()
        except (KeyboardInterrupt, SystemExit):
            console.print("Stopping …")
            children.stop()
            console.print("Stopped.")
            return 0
        console.print(f"{ended.name} has ended by itself with exit code {ended.exit_code}; stopping the rest …")
        return ended.exit_code if ended.exit_code > 0 else 1


def _keep(environ: Mapping[str, str]) -> None:
    """Write down what commands in another terminal need; the credentials are the sandbox's."""
    _ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    _ENVIRONMENT.touch(mode=0o600)
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in environ.items())
    _ENVIRONMENT.write_text("".join(lines), encoding="utf-8")


def _start_receiver(children: Children) -> str:
    """Start the receiver on loopback, and wait until it takes requests; gives its address."""
    with tempfile.TemporaryDirectory(prefix="lms-crm-receiver-") as folder:
        port_file = Path(folder) / "port.json"
        children.start_lms_crm("receiver", "--port", str(_free(_RECEIVER_PORT)), "--port-file", str(port_file))
        give_up_at = time.monotonic() + _RECEIVER_PATIENCE_SECONDS
        while not port_file.exists():
            if children.ended() is not None or time.monotonic() > give_up_at:
                raise FatalError("the receiver did not start; run 'lms-crm receiver' to see why")
            time.sleep(0.05)
        return f"http://127.0.0.1:{json.loads(port_file.read_text(encoding='utf-8'))['port']}"


def _start_dagster(children: Children, port: int) -> None:
    # `dg dev`, which supersedes it, needs one package more and does the same.
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"}
    children.start("Dagster", [*command, "--log-level", "warning"], environ=quiet, stop_signal=signal.SIGINT)


def _welcome(console: Console, sandbox: Sandbox, port: int, receiver: str) -> None:
    console.print(f"\nThe Dagster UI: [bold]http://127.0.0.1:{port}[/bold]  (Ctrl-C stops everything)")
    console.print("Jobs → full_reconcile → Materialize all, for acme or globex, reconciles; Assets shows the graph.")
    console.print(f"The receiver: {receiver}, which the sandbox tells of changes", soft_wrap=True)
    addresses = ", ".join(f"{name} {address}" for name, address in vars(sandbox).items())
    console.print(f"The sandbox: {addresses}", soft_wrap=True)
    console.print(
        f"Commands in another terminal, in this folder: . {_ENVIRONMENT} && lms-crm events list\n", soft_wrap=True
    )


def _free(port: int) -> int:
    """The port if it is free, another one otherwise."""
    for candidate in (port, 0):
        try:
            with socket.create_server(("127.0.0.1", candidate)) as found:
                return int(found.getsockname()[1])
        except OSError:
            continue
    raise AssertionError("port 0 always gives a free port")  # pragma: no cover
