"""A receiver over real HTTP, in this process or in one of its own, and deliveries as senders sign them."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from lms_crm_assets.ops.inbox import Event, Inbox
from lms_crm_assets.receiver.app import build_app
from lms_crm_assets.receiver.server import server_of
from lms_crm_assets.settings import Settings
from tests.simulator_server import running

TENANTS = Path(__file__).parent.parent / "tenants"
SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"the next secret ........").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"of another tenant ......").decode()
PUBLIC_URL = "https://hooks.example.org"

ENVIRON = {
    "LMS_CRM_KEY": base64.b64encode(b"k" * 32).decode(),
    "HOOK_SECRET": SECRET,
    "HOOK_SECRET_NEXT": NEXT_SECRET,
    "HOOK_SECRET_OTHER": OTHER_SECRET,
    "HOOK_HMAC": "hmac-secret",
    "HOOK_TOKEN": "hook-secret-token",
    "HOOK_BEARER": "bearer-secret",
    "HOOK_HUBSPOT": "hubspot-client-secret",
    "GLOBEX_LMS_URL": "http://127.0.0.1:9",
    "GLOBEX_LMS_TOKEN": "unused",
    "GLOBEX_CRM_URL": "http://127.0.0.1:9",
    "GLOBEX_CRM_TOKEN": "unused",
}

STANDARD = {"verify": "standard", "secrets": ["env:HOOK_SECRET", "env:HOOK_SECRET_NEXT"]}
HUBSPOT = {"verify": "hubspot", "client_secret": "env:HOOK_HUBSPOT"}
BEARER = {"verify": "bearer", "secrets": ["env:HOOK_BEARER"]}
WEBHOOKS: dict[str, dict[str, Any]] = {
    "standard": {"lms": [STANDARD], "crm": [HUBSPOT, BEARER], "public_url": PUBLIC_URL},
    "other": {"lms": [{"verify": "standard", "secrets": ["env:HOOK_SECRET_OTHER"]}]},
    "hmac": {"lms": [{"verify": "hmac", "secrets": ["env:HOOK_HMAC"]}]},
    "token": {"lms": [{"verify": "token", "secrets": ["env:HOOK_TOKEN"]}]},
    "bearer": {"lms": [BEARER], "crm": [BEARER]},
    "silent": {},
}
"""The tenants of most tests, by name."""


def write_contract(folder: Path, tenant: str, webhooks: Mapping[str, Any]) -> Path:
    """An example contract with these webhooks; JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
    file = folder / f"{tenant}.yaml"
    file.write_text(json.dumps({**contract, "tenant": tenant, "webhooks": webhooks}), encoding="utf-8")
    return file


def signed(body: bytes, delivery_id: str = "msg_1", *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """The headers of a Standard Webhooks delivery, made without the code that is tried."""
    timestamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The address of a receiver that runs in a thread of this process."""
    with running(server_of(build_app(settings), "127.0.0.1", 0)) as address:
        yield address


class ReceiverProcess:
    """`lms-crm receiver` as an operator starts it; `folder` holds its contracts and its state."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.settings = Settings(folder / "tenants", folder / "state")
        self.log = folder / "receiver.log"
        self._port_file = folder / "port.json"
        self._environ = {
            **os.environ,
            **ENVIRON,
            "LMS_CRM_TENANTS_DIR": str(self.settings.tenants_dir),
            "LMS_CRM_STATE_DIR": str(self.settings.state_dir),
            **environ,
        }
        self.process: subprocess.Popen[bytes]
        self.address = ""

    def start(self) -> None:
        """Start, and wait until it takes requests."""
        self._port_file.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "lms_crm_assets",
            "receiver",
            "--port",
            "0",
            "--port-file",
            str(self._port_file),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 60
        while not self._port_file.exists():
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        self.address = f"http://127.0.0.1:{json.loads(self._port_file.read_text(encoding='utf-8'))['port']}"

    def kill(self) -> None:
        """As a power button does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an operator does; gives the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)


@dataclass
class Running:
    """A receiver and what it keeps."""

    address: str
    settings: Settings
    client: httpx.Client

    @property
    def inbox(self) -> Inbox:
        return Inbox.at(self.settings.state_dir)

    def events(self, tenant: str = "standard") -> list[Event]:
        return list(self.inbox.find(tenant))

    def post(
        self, body: bytes, headers: dict[str, str] | None = None, *, tenant: str = "standard", path: str = ""
    ) -> httpx.Response:
        """Deliver; signed as the tenant `standard` wants it, unless headers are given."""
        return self.client.post(
            f"/api/v1/hooks/{tenant}{path}", content=body, headers=signed(body) if headers is None else headers
        )


def assert_problem(answer: httpx.Response, status: int, code: str = "") -> None:
    """The answer is a problem document of that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert not code or body["code"] == code
