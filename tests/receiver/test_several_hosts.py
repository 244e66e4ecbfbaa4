"""Receivers of several machines share one inbox, which lies in Postgres then."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.settings import Settings
from tests.postgres import Server
from tests.receiver_server import ENVIRON, WEBHOOKS, serving, signed, write_contract


def test_copies_to_two_receivers_are_one_event(
    postgres: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**ENVIRON, "LMS_CRM_STORE_URL": postgres.url(database)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    write_contract(tmp_path / "tenants", "standard", WEBHOOKS["standard"])
    hosts = [Settings(tmp_path / "tenants", tmp_path / f"host-{n}") for n in range(2)]
    body = b'{"a": "copy"}'
    headers = {number: signed(body, f"copy-{number}") for number in range(10)}

    with serving(hosts[0]) as one, serving(hosts[1]) as other, httpx.Client(timeout=30) as client:

        def post(place: int) -> int:
            address = f"{(one, other)[place % 2]}/api/v1/hooks/standard"
            return client.post(address, content=body, headers=headers[place // 2 % 10]).status_code

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(post, range(100))) == {202}
        assert client.get(f"{other}/readyz").status_code == 200
        assert 'inbox_depth{state="pending",tenant="standard"} 10.0' in client.get(f"{one}/metrics").text

    assert sorted(event.delivery_id for event in Inbox.at(hosts[1].state_dir).find()) == sorted(
        f"copy-{number}" for number in range(10)
    )
