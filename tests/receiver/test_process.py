"""The receiver as a process of its own: killed, stopped, started wrongly, and fed with garbage."""

import gzip
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.receiver import kept_ids, kills, prepared
from benchmarks.receiver_fuzz import case
from tests.receiver_server import ReceiverProcess, Running, signed

pytestmark = pytest.mark.slow

SEED = 20261127


@pytest.mark.long
def test_nothing_that_was_acknowledged_is_lost_or_doubled_by_kills() -> None:
    result = kills(3, SEED, a_second=100)

    assert result["acknowledged"] > 0
    assert (result["lost"], result["doubled"]) == (0, 0)


def test_garbage_is_never_answered_with_5xx(receiver: Running) -> None:
    address = httpx.URL(receiver.address)

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def one(seed: int) -> None:
        request = case(random.Random(seed))
        with socket.create_connection((address.host, address.port or 0), timeout=30) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode())
            answer.begin()
            content = answer.read()
        assert answer.status < 500, request
        if answer.status >= 400 and not request.startswith(b"HEAD"):
            assert answer.headers["content-type"] == "application/problem+json"
            assert b'"code":' in content

    one()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ReceiverProcess]:
    found = prepared(tmp_path)
    found.start()
    yield found
    found.kill()


def test_a_receiver_that_is_told_to_stop_finishes_what_it_took(process: ReceiverProcess) -> None:
    acknowledged: list[str] = []

    def send(sender: int) -> None:
        with httpx.Client(base_url=process.address) as client:
            for number in range(10_000):
                delivery_id = f"{sender}-{number}"
                try:
                    answer = client.post("/api/v1/hooks/standard", content=b"{}", headers=signed(b"{}", delivery_id))
                except httpx.TransportError:
                    return
                if answer.status_code == 202:
                    acknowledged.append(delivery_id)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 50:
        pass
    assert process.stop() == 0
    for thread in threads:
        thread.join()

    assert set(acknowledged) <= kept_ids(process).keys()
    log = process.log.read_text(encoding="utf-8")
    assert "receiver_listens" in log
    assert "Traceback" not in log
    assert "/api/v1/hooks" not in log


def test_large_bodies_and_bombs_leave_no_trace_in_memory(process: ReceiverProcess) -> None:
    def resident() -> int:
        status = Path(f"/proc/{process.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    bomb = gzip.compress(bytes(150 * 2**20), 9)
    assert len(bomb) < 256 * 1024
    with httpx.Client(base_url=process.address) as client:

        def post(content: bytes, **more: str) -> int:
            headers = {**signed(content), **more}
            return client.post("/api/v1/hooks/standard", content=content, headers=headers).status_code

        assert post(json.dumps("x" * 250_000).encode()) == 202
        before = resident()
        for _ in range(20):
            assert post(bomb, **{"content-encoding": "gzip"}) == 413
            assert post(json.dumps("x" * 250_000).encode(), **{"webhook-id": "x"}) == 401
    assert resident() - before < 10 * 2**20


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"LMS_CRM_KEY": ""}, "LMS_CRM_KEY_FILE"),
        pytest.param({"LMS_CRM_KEY": "short"}, "32 bytes in base64", marks=pytest.mark.long),
        pytest.param({"LMS_CRM_TENANTS_DIR": "/nowhere"}, "there is no folder /nowhere", marks=pytest.mark.long),
        ({"LMS_CRM_STATE_DIR": "/proc/nowhere"}, "the state folder /proc/nowhere can't be used"),
    ],
)
def test_what_it_lacks_is_said_in_one_line(tmp_path: Path, environ: dict[str, str], reason: str) -> None:
    receiver = ReceiverProcess(tmp_path)
    receiver.settings.tenants_dir.mkdir()
    command = [sys.executable, "-m", "lms_crm_assets", "receiver", "--port", "0"]
    found = subprocess.run(
        command, env={**receiver._environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )

    assert found.returncode == 1
    [line] = found.stderr.splitlines()
    assert line.startswith("lms-crm: ")
    assert reason in line


def test_a_port_that_is_taken_is_said_too(process: ReceiverProcess) -> None:
    port = process.address.rpartition(":")[2]
    command = [sys.executable, "-m", "lms_crm_assets", "receiver", "--port", port]
    found = subprocess.run(command, env=process._environ, capture_output=True, text=True, timeout=60, check=False)

    assert found.returncode == 1
    assert f"port {port} of 127.0.0.1 can't be taken" in found.stderr
