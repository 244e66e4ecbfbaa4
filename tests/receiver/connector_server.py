"""The connector API over real HTTP, in a thread, and a client of it."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.landing import ensure_raw_table
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.receiver.app import build_app
from lms_crm_assets.receiver.connector import Connector
from lms_crm_assets.receiver.server import server_of
from lms_crm_assets.settings import Settings
from lms_crm_assets.staging.build import build_staging
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate

TENANTS = Path(__file__).parent.parent.parent / "tenants"
ENVIRON = {
    "LMS_CRM_KEY": base64.b64encode(b"k" * 32).decode(),
    "API_SECRET": "the secret of the client",
    "GLOBEX_LMS_URL": "http://127.0.0.1:9",
    "GLOBEX_LMS_TOKEN": "unused",
    "GLOBEX_CRM_URL": "http://127.0.0.1:9",
    "GLOBEX_CRM_TOKEN": "unused",
}
SCOPES = ["write", "changes", "rejections", "status"]
CLIENTS = [
    {"id": "all", "secret": "env:API_SECRET", "scopes": SCOPES, "requests_per_second": 10_000},
    {"id": "reader", "secret": "env:API_SECRET", "scopes": ["changes"], "requests_per_second": 10_000},
    {"id": "slow", "secret": "env:API_SECRET", "scopes": SCOPES, "requests_per_second": 2},
    {"id": "unset", "secret": "env:API_SECRET_THAT_IS_NOT_SET", "scopes": SCOPES},
]
LEARNER = {
    "email": "ada@example.org",
    "given_name": "Ada",
    "family_name": "Byron",
    "username": "ada",
    "status": "active",
}


@dataclass
class Api:
    """A running API, its state, and a client that has a token."""

    settings: Settings
    connector: Connector
    http: httpx.Client
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def inbox(self) -> Inbox:
        return Inbox.at(self.settings.state_dir)

    def ask_token(self, tenant: str = "acme", client: str = "all", **form: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": ENVIRON["API_SECRET"], **form}
        return self.http.post(f"/api/v1/tenants/{tenant}/token", data=form)

    def bearer(self, tenant: str = "acme", client: str = "all") -> dict[str, str]:
        if (tenant, client) not in self.tokens:
            self.tokens[tenant, client] = self.ask_token(tenant, client).raise_for_status().json()["access_token"]
        return {"Authorization": f"Bearer {self.tokens[tenant, client]}"}

    def get(
        self, path: str, *, client: str = "all", headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        headers = {**self.bearer(client=client), **(headers or {})}
        return self.http.get(f"/api/v1/tenants/acme/{path}", params=query, headers=headers)

    def batch(
        self,
        items: Any,
        key: str | None,
        *,
        entity: str = "learners",
        tenant: str = "acme",
        content: bytes | None = None,
    ) -> httpx.Response:
        headers = {**self.bearer(tenant), "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = orjson.dumps({"items": items}) if content is None else content
        return self.http.post(f"/api/v1/tenants/{tenant}/{entity}:batchUpsert", content=body, headers=headers)

    def build(self, entity: LmsEntity, rows: Sequence[dict[str, Any]], policy: ChecksPolicy | None = None) -> None:
        """What a run does: these are the LMS's rows, and staging is made of them. A copy is due at once."""
        path = locate(self.settings, "acme")
        lines = [orjson.dumps(row).decode() for row in rows]
        with connect(path) as con:
            ensure_raw_table(con, entity)
            con.execute(f"DELETE FROM raw_lms.{entity}")
            con.execute(
                f"INSERT INTO raw_lms.{entity} SELECT payload->>'id', payload, false, now()"
                " FROM (SELECT unnest($1::VARCHAR[])::JSON AS payload)",
                [lines],
            )
            build_staging(
                con,
                rules_for(policy or ChecksPolicy(), entity),
                adapter="changes",
                timezone="UTC",
                now=datetime.now(UTC),
            )
        self.copy_at_once()

    def copy_at_once(self) -> None:
        """Let the next request look for a newer copy, as if a second had passed."""
        for known in self.connector.published._tenants.values():
            known.not_before = 0.0


@contextmanager
def running_api(folder: Path) -> Iterator[Api]:
    """The receiver's whole app with two tenants, in a state of its own."""
    (folder / "tenants").mkdir()
    example = (TENANTS / "globex.yaml").read_text(encoding="utf-8")
    for tenant in ("acme", "other"):
        text = example.replace("tenant: globex", f"tenant: {tenant}")
        (folder / "tenants" / f"{tenant}.yaml").write_text(
            f"{text}\nclients: {json.dumps(CLIENTS)}\n", encoding="utf-8"
        )
    settings = Settings(folder / "tenants", folder / "state")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRON.items():
            patch.setenv(name, value)
        patch.delenv("LMS_CRM_KEY_FILE", raising=False)
        app = build_app(settings)
        server = server_of(app, "127.0.0.1", 0)
        thread = threading.Thread(target=server.run)
        thread.start()
        give_up_at = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < give_up_at
            time.sleep(0.005)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=60) as http:
                # Made by the first request.
                http.get("/api/v1/tenants/acme/changes")
                yield Api(settings, app.state.connector, http)
        finally:
            server.should_exit = True
            thread.join()
