"""`lms-crm dev`: the Dagster UI and daemon, with the sandbox behind them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys

from dagster import DagsterInstance
from rich.console import Console

from lms_crm_assets.contract.loading import tenant_names
from lms_crm_assets.defs.edge import TENANTS
from lms_crm_assets.demo.demo import STATE_DIR, demo_settings
from lms_crm_assets.demo.sandbox_process import running_sandbox

_STOP_SECONDS = 15.0


def run_dev(console: Console, *, port: int, fresh: bool) -> int:
    """Run until Ctrl-C or SIGTERM; gives Dagster's exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A shell's background job begins with it ignored, and its children would never hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if fresh:
        # With Dagster's own history, which would show runs over a warehouse that is gone.
        for folder in (STATE_DIR, STATE_DIR.parent / "dagster"):
            shutil.rmtree(folder, ignore_errors=True)
    settings = demo_settings()
    port = _free(port)
    with running_sandbox(["--state-dir", str(STATE_DIR / "sandbox")]) as sandbox:
        os.environ.update(
            {
                **sandbox.environ(),
                "LMS_CRM_STATE_DIR": str(settings.state_dir),
                "LMS_CRM_TENANTS_DIR": str(settings.tenants_dir),
            }
        )
        with DagsterInstance.get() as instance:
            instance.add_dynamic_partitions(str(TENANTS.name), tenant_names(settings.tenants_dir))
        console.print(f"\nThe Dagster UI: [bold]http://127.0.0.1:{port}[/bold]  (Ctrl-C stops everything)")
        console.print(
            "Jobs → full_reconcile → Materialize all, for acme or globex, reconciles; Assets shows the graph."
        )
        addresses = ", ".join(f"{name} {address}" for name, address in vars(sandbox).items())
        console.print(f"The sandbox: {addresses}\n", soft_wrap=True)
        command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
        # `dg dev`, which supersedes it, needs one package more and does the same.
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"}
        # In a session of its own, so that a terminal's Ctrl-C reaches it once, through us.
        process = subprocess.Popen([*command, "--log-level", "warning"], env=quiet, start_new_session=True)  # noqa: S603 - our own command
        try:
            return process.wait()
        except (KeyboardInterrupt, SystemExit):
            console.print("Stopping …")
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            console.print("Stopped.")
            return 0


def _free(port: int) -> int:
    """The port if it is free, another one otherwise."""
    for candidate in (port, 0):
        try:
            with socket.create_server(("127.0.0.1", candidate)) as found:
                return int(found.getsockname()[1])
        except OSError:
            continue
    raise AssertionError("port 0 always gives a free port")  # pragma: no cover
