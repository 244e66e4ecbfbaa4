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
from typing import Any

import httpx

from lms_crm_assets.errors import FatalError

_START_PATIENCE_SECONDS = 60.0
_STOP_PATIENCE_SECONDS = 60.0

# The sandbox's own, known to everyone, as its tokens are.
_KEY = "dGhlIHNhbmRib3gncywga25vd24gdG8gZXZlcnlvbmU="
_MOODLE_HOOK_SECRET = "sandbox-moodle-hook"  # noqa: S105 - as above
_SCHOOL_HOOK_SECRET = "whsec_c2FuZGJveC1zY2hvb2wtaG9vay1zZWNyZXQ="  # noqa: S105 - as above
_HUBSPOT_HOOK_SECRET = "sandbox-hubspot-secret"  # noqa: S105 - as above


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
        """The variables that `tenants/acme.yaml`, `tenants/globex.yaml` and the sources of docs/sandbox.md ask for.

        With a key for the inbox, which a key file of one's own outweighs.
        """
        return {
            "ACME_LMS_URL": self.moodle,
            "ACME_LMS_TOKEN": "sandbox-moodle-token",
            "ACME_LMS_HOOK_SECRET": _MOODLE_HOOK_SECRET,
            "ACME_CRM_URL": self.salesforce,
            "ACME_CRM_CLIENT_ID": "sandbox-client",
            "ACME_CRM_CLIENT_SECRET": "sandbox-secret",
            "GLOBEX_LMS_URL": self.school,
            "GLOBEX_LMS_TOKEN": "sandbox-school-token",
            "GLOBEX_LMS_HOOK_SECRET": _SCHOOL_HOOK_SECRET,
            "GLOBEX_CRM_URL": self.hubspot,
            "GLOBEX_CRM_TOKEN": "pat-sandbox",
            "GLOBEX_CRM_HOOK_SECRET": _HUBSPOT_HOOK_SECRET,
            "SANDBOX_MOODLE_SCHOOL_URL": self.moodle_school,
            "SANDBOX_MOODLE_SCHOOL_TOKEN": "sandbox-moodle-token",
            "SANDBOX_CANVAS_URL": self.canvas,
            "SANDBOX_CANVAS_TOKEN": "sandbox-canvas-token",
            "SANDBOX_ONEROSTER_URL": self.oneroster,
            "SANDBOX_ONEROSTER_CLIENT_ID": "sandbox-client",
            "SANDBOX_ONEROSTER_CLIENT_SECRET": "sandbox-secret",
            "SANDBOX_THINKIFIC_URL": self.thinkific,
            "SANDBOX_THINKIFIC_KEY": "sandbox-thinkific-key",
            "LMS_CRM_KEY": _KEY,
        }

    def send_webhooks_to(self, receiver: str, *, hubspot_sources: Sequence[str] | None = None, **chance: Any) -> None:
        """Have the example tenants' systems tell the receiver of what changes; `chance` as docs/sandbox.md tells."""
        for address, path, secret, more in (
            (self.moodle, "acme", _MOODLE_HOOK_SECRET, {}),
            (self.school, "globex", _SCHOOL_HOOK_SECRET, {}),
            (self.hubspot, "globex/crm", _HUBSPOT_HOOK_SECRET, {"sources": hubspot_sources}),
        ):
            subscription = {"url": f"{receiver}/api/v1/hooks/{path}", "secret": secret, **more, **chance}
            httpx.post(f"{address}/_sandbox/webhooks", json=subscription, timeout=60).raise_for_status()


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
            raise FatalError("the sandbox did not start: what it said stands above")
        time.sleep(0.05)
