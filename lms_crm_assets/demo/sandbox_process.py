"""The sandbox as a child process, and the environment in which the example tenants find it.

Nothing of the sandbox is imported: it is started by its command and spoken to over HTTP.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lms_crm_assets.errors import FatalError

_START_PATIENCE_SECONDS = 60.0
_STOP_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Sandbox:
    """The addresses of a running sandbox."""

    moodle: str
    moodle_school: str
    school: str
    canvas: str
    oneroster: str
    thinkific: str
    salesforce: str
    hubspot: str

    def environ(self) -> Mapping[str, str]:
        """The variables that `tenants/acme.yaml`, `tenants/globex.yaml` and the sources of docs/sandbox.md ask for."""
        return {
            "ACME_LMS_URL": self.moodle,
            "ACME_LMS_TOKEN": "sandbox-moodle-token",
            "ACME_CRM_URL": self.salesforce,
            "ACME_CRM_CLIENT_ID": "sandbox-client",
            "ACME_CRM_CLIENT_SECRET": "sandbox-secret",
            "GLOBEX_LMS_URL": self.school,
            "GLOBEX_LMS_TOKEN": "sandbox-school-token",
            "GLOBEX_CRM_URL": self.hubspot,
            "GLOBEX_CRM_TOKEN": "pat-sandbox",
            "SANDBOX_MOODLE_SCHOOL_URL": self.moodle_school,
            "SANDBOX_MOODLE_SCHOOL_TOKEN": "sandbox-moodle-token",
            "SANDBOX_CANVAS_URL": self.canvas,
            "SANDBOX_CANVAS_TOKEN": "sandbox-canvas-token",
            "SANDBOX_ONEROSTER_URL": self.oneroster,
            "SANDBOX_ONEROSTER_CLIENT_ID": "sandbox-client",
            "SANDBOX_ONEROSTER_CLIENT_SECRET": "sandbox-secret",
            "SANDBOX_THINKIFIC_URL": self.thinkific,
            "SANDBOX_THINKIFIC_KEY": "sandbox-thinkific-key",
        }


@contextmanager
def running_sandbox(options: Sequence[str] = ()) -> Iterator[Sandbox]:
    """Start `python -m lms_crm_assets.sandbox` on free ports, and stop it afterwards."""
    with tempfile.TemporaryDirectory(prefix="lms-crm-sandbox-") as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "lms_crm_assets.sandbox", "--ready-file", str(ready), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        try:
            _wait_for(ready, process)
            yield Sandbox(**json.loads(ready.read_text(encoding="utf-8")))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(ready: Path, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + _START_PATIENCE_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise FatalError("the sandbox did not start; run 'lms-crm sandbox' to see why")
        time.sleep(0.05)
