"""Deliveries over real HTTP: kept before they are acknowledged, once each, for the right tenant, and told to nobody."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import SecretStr

from lms_crm_assets.ops.inbox import Added, Delivery, Inbox, Side
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.sqlite import Sqlite
from lms_crm_assets.receiver.problems import Problem
from lms_crm_assets.receiver.writer import Writer
from lms_crm_assets.settings import Settings
from lms_crm_assets.telemetry import logs
from tests.receiver_server import (
    BEARER,
    ENVIRON,
    NEXT_SECRET,
    OTHER_SECRET,
    PUBLIC_URL,
    SECRET,
    STANDARD,
    Running,
    assert_problem,
    serving,
    signed,
    write_contract,
)


def test_a_foreign_signer_is_accepted_while_two_secrets_overlap(receiver: Running) -> None:
    for number in range(20):
        body = json.dumps({"number": number}).encode()
        foreign = standardwebhooks.Webhook((SECRET, NEXT_SECRET)[number % 2])
        headers = signed(body, f"foreign_{number}")
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        headers["webhook-signature"] = foreign.sign(f"foreign_{number}", at, body.decode())
        assert receiver.post(body, headers).status_code == 202
    assert len(list(receiver.inbox.find("standard", ids=[f"foreign_{n}" for n in range(20)]))) == 20


def test_fifty_copies_at_once_are_one_event_and_one_answer(receiver: Running) -> None:
    body = b'{"copies": 50}'
    headers = signed(body, "copies")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: receiver.post(body, headers), range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len(list(receiver.inbox.find("standard", ids=["copies"]))) == 1


def test_the_same_id_with_another_body_is_one_event_and_a_conflict(receiver: Running) -> None:
    before = receiver.inbox.depth("standard").conflicts
    answers = [receiver.post(body, signed(body, "conflict")) for body in (b'{"a": 1}', b'{"a": 2}')]

    assert answers[0].content == answers[1].content
    [event] = receiver.inbox.find("standard", ids=["conflict"])
    assert event.body == b'{"a": 1}'
    assert receiver.inbox.depth("standard").conflicts == before + 1


def test_tenants_have_ids_of_their_own(receiver: Running) -> None:
    body = b'{"of": "two tenants"}'
    assert receiver.post(body, signed(body, "shared")).status_code == 202
    assert receiver.post(body, signed(body, "shared", secret=OTHER_SECRET), tenant="other").status_code == 202
    assert [event.tenant for event in receiver.inbox.find(ids=["shared"])] == ["standard", "other"]


def test_thinkifics_delivery_has_the_id_of_its_body(receiver: Running) -> None:
    body = b'{"id": "20261127-1", "resource": "enrollment", "action": "completed", "payload": {"id": 5}}'
    headers = {
        "content-type": "application/json",
        "x-thinkific-hmac-sha256": hmac.digest(b"hmac-secret", body, hashlib.sha256).hex(),
    }
    assert receiver.post(body, headers, tenant="hmac").json()["delivery_id"] == "20261127-1"
    assert_problem(receiver.post(body + b" ", headers, tenant="hmac"), 401)
    # An id of another shape may be the record's.
    other = b'{"id": 5, "name": "x"}'
    headers["x-thinkific-hmac-sha256"] = hmac.digest(b"hmac-secret", other, hashlib.sha256).hex()
    assert receiver.post(other, headers, tenant="hmac").json()["delivery_id"].startswith("sha256:")


def test_moodles_delivery_carries_its_token_and_no_id(receiver: Running) -> None:
    body = json.dumps(
        {"eventname": "\\core\\event\\user_created", "objectid": 205, "token": "hook-secret-token"}
    ).encode()
    headers = {"content-type": "application/json"}
    answers = [receiver.post(body, headers, tenant="token") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(receiver.events("token")) == 1
    assert_problem(receiver.post(body.replace(b"hook-secret", b"another"), headers, tenant="token"), 401)
    # Where the token stands can't be told of what is no JSON.
    assert_problem(receiver.post(body[:-1], headers, tenant="token"), 400)


def test_xapi_statements_come_with_basic_authentication(receiver: Running) -> None:
    credentials = base64.b64encode(b"moodle:bearer-secret").decode()
    headers = {"content-type": "application/json", "authorization": f"Basic {credentials}"}
    assert receiver.post(b"[]", headers, tenant="bearer").status_code == 202
    assert_problem(receiver.post(b"[]", {**headers, "authorization": "Bearer other"}, tenant="bearer"), 401)


def test_xapi_statements_are_taken_at_a_record_store_s_address_with_200(receiver: Running) -> None:
    """The logstore appends `/statements` to what is configured, and counts all but 200 as failed."""
    body = b'[{"verb": {"id": "http://verb.test"}}]'
    headers = {"content-type": "application/json", "authorization": "Bearer bearer-secret"}
    answers = [receiver.post(body, headers, tenant="bearer", path=path) for path in ("/statements", "", "/statements")]

    assert [answer.status_code for answer in answers] == [200, 202, 200]
    assert len({answer.content for answer in answers}) == 1
    assert len([e for e in receiver.events("bearer") if e.body == body]) == 1
    assert_problem(receiver.post(body, {**headers, "authorization": ""}, tenant="bearer", path="/statements"), 401)
    assert_problem(receiver.post(b"[", headers, tenant="bearer", path="/statements"), 400)
    assert_problem(receiver.post(body, headers, tenant="nobody", path="/statements"), 404)


def hubspot_headers(body: bytes, path: str, at: float | None = None) -> dict[str, str]:
    timestamp = str(int((time.time() if at is None else at) * 1000))
    content = f"POST{PUBLIC_URL}{path}".encode() + body + timestamp.encode()
    digest = hmac.digest(b"hubspot-client-secret", content, hashlib.sha256)
    return {
        "content-type": "application/json",
        "x-hubspot-request-timestamp": timestamp,
        "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
    }


def test_hubspots_retry_is_answered_with_the_original_result(receiver: Running) -> None:
    path = "/api/v1/hooks/standard/crm"
    conflicts = receiver.inbox.depth("standard").conflicts
    answers = []
    for attempt in range(3):
        batch = [{"eventId": n, "subscriptionId": 7, "objectId": 100 + n, "attemptNumber": attempt} for n in (1, 2)]
        body = json.dumps(batch).encode()
        answers.append(receiver.post(body, hubspot_headers(body, path), path="/crm"))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert [event.side for event in receiver.inbox.find(ids=[answers[0].json()["delivery_id"]])] == [Side.CRM]
    assert receiver.inbox.depth("standard").conflicts == conflicts
    assert_problem(receiver.post(body, hubspot_headers(body, path, time.time() - 301), path="/crm"), 401)
    assert_problem(receiver.post(body + b" ", hubspot_headers(body, path), path="/crm"), 401)
    assert_problem(receiver.post(body, hubspot_headers(body, path + "x"), path="/crm"), 401)


OUTBOUND = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>
<notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00D</OrganizationId>
<SessionId>{session}</SessionId><Notification><Id>04l000000000001</Id><sObject><Id>003000000000001</Id></sObject>
</Notification></notifications></soapenv:Body></soapenv:Envelope>"""


def test_an_outbound_message_of_salesforce_is_acknowledged_in_its_own_words(receiver: Running) -> None:
    answers = [
        receiver.post(
            OUTBOUND.format(session=session).encode(),
            {"content-type": "text/xml; charset=utf-8"},
            path=f"/crm?token={quote('bearer-secret')}",
        )
        for session in ("one", "another")
    ]
    assert {(answer.status_code, answer.headers["content-type"]) for answer in answers} == {
        (200, "text/xml; charset=utf-8")
    }
    assert all("<Ack>true</Ack>" in answer.text for answer in answers)
    found = [event for event in receiver.events() if event.content_type == "text/xml"]
    assert len(found) == 1
    assert b"003000000000001" in found[0].body


@pytest.mark.parametrize("address", ["/crm", "/crm?token=", "/crm?token=wrong", "/crm?token=bearer-secret&token=x"])
def test_an_outbound_message_without_its_token_is_refused(receiver: Running, address: str) -> None:
    headers = {"content-type": "text/xml"}
    assert_problem(receiver.post(OUTBOUND.encode(), headers, path=address), 401)
    # In the address it counts for them alone.
    assert_problem(receiver.post(b"{}", {"content-type": "application/json"}, path="/crm?token=bearer-secret"), 401)


@pytest.mark.parametrize(
    "body",
    [b"", b"<a>", b"<a></b>", b"\xff", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"<a>" * 65 + b"</a>" * 65, b"{}"],
)
def test_an_outbound_message_that_is_no_plain_xml_is_refused(receiver: Running, body: bytes) -> None:
    headers = {"content-type": "text/xml", "authorization": "Bearer bearer-secret"}
    assert_problem(receiver.post(body, headers, path="/crm"), 400, "INVALID_XML")


def test_a_flow_of_salesforce_that_says_the_same_again_means_another_change(receiver: Running) -> None:
    headers = {"content-type": "application/json", "authorization": "Bearer bearer-secret"}
    body = b'{"Id": "003000000000009"}'
    delivery_id = receiver.post(body, headers, path="/crm").json()["delivery_id"]
    receiver.post(body, headers, path="/crm")
    [event] = receiver.inbox.find(ids=[delivery_id])
    receiver.inbox.done([event.number])

    receiver.post(body, headers, path="/crm")
    assert [event.state for event in receiver.inbox.find(ids=[delivery_id])] == ["done", "pending"]


class KeyServer(ThreadingHTTPServer):
    """An issuer's key set."""

    keys: list[dict[str, Any]]
    asked = 0


class _Keys(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, KeyServer)
        self.server.asked += 1
        content = json.dumps({"keys": self.server.keys}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def issuer() -> Iterator[KeyServer]:
    server = KeyServer(("127.0.0.1", 0), _Keys)
    server.keys = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_live_events_are_jwts_whose_keys_are_fetched_once(receiver: Running, issuer: KeyServer) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key()))
    issuer.keys = [{**public, "kid": "2026-11"}]
    address = f"http://127.0.0.1:{issuer.server_address[1]}/jwks"
    write_contract(receiver.settings.tenants_dir, "canvas", {"lms": [{"verify": "jwt", "jwks_url": address}]})
    claims = {"metadata": {"event_name": "course_completed"}, "body": {"user_id": "210000000000017"}}

    def post(kid: str, **more: Any) -> httpx.Response:
        body = jwt.encode({**claims, **more}, private, "EdDSA", {"kid": kid}).encode()
        return receiver.post(body, {"content-type": "application/jwt"}, tenant="canvas")

    assert [post("2026-11", iat=n).status_code for n in (1, 2)] == [202, 202]
    assert len(receiver.events("canvas")) == 1
    assert post("2026-11", jti="j-1").json()["delivery_id"] == "j-1"
    for number in range(20):
        assert_problem(post(f"made up {number}"), 401)
    assert issuer.asked == 1
    assert [event.content_type for event in receiver.events("canvas")] == ["application/jwt"] * 2
    assert_problem(receiver.post(b"{}", {"content-type": "application/jwt"}, tenant="canvas"), 401)
    assert_problem(receiver.post(b"{}", {"content-type": "application/jwt"}, tenant="standard"), 401)


def test_an_issuer_that_does_not_answer_is_no_fault_of_the_sender(receiver: Running, unused_port: int) -> None:
    verifier = {"verify": "jwt", "jwks_url": f"http://127.0.0.1:{unused_port}/jwks"}
    write_contract(receiver.settings.tenants_dir, "deaf", {"lms": [verifier]})
    body = jwt.encode({}, ed25519.Ed25519PrivateKey.generate(), "EdDSA", {"kid": "k"}).encode()

    answer = receiver.post(body, {"content-type": "application/jwt"}, tenant="deaf")
    assert_problem(answer, 503, "UNAVAILABLE")
    assert answer.headers["retry-after"]
    assert_problem(receiver.post(b"garbage", {"content-type": "application/jwt"}, tenant="deaf"), 401)


def test_a_contract_counts_as_it_is_on_the_disk(receiver: Running) -> None:
    folder = receiver.settings.tenants_dir
    body = b'{"a": "contract"}'

    def soon(status: int, tenant: str = "late") -> httpx.Response:
        give_up_at = time.monotonic() + 10
        while (answer := receiver.post(body, tenant=tenant)).status_code != status:
            assert time.monotonic() < give_up_at, answer.text
        return answer

    assert_problem(receiver.post(body, tenant="late"), 404)
    file = write_contract(folder, "late", {"lms": [STANDARD]})
    assert receiver.post(body, tenant="late").status_code == 202
    write_contract(folder, "late", {"lms": [BEARER]})
    assert_problem(soon(401), 401)

    # What was right goes on while the file is broken, and others don't notice.
    write_contract(folder, "late", {"lms": [STANDARD]})
    soon(202)
    file.write_text("tenant: [", encoding="utf-8")
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert receiver.post(body, tenant="late").status_code == 202
    (folder / "broken.yaml").write_text("tenant: [", encoding="utf-8")
    answer = receiver.post(body, tenant="broken")
    assert_problem(answer, 503)
    assert answer.headers["retry-after"]
    assert receiver.post(body).status_code == 202
    file.unlink()
    assert_problem(soon(404), 404)


def test_a_secret_that_is_missing_is_no_fault_of_the_sender(receiver: Running) -> None:
    write_contract(
        receiver.settings.tenants_dir, "unset", {"lms": [{"verify": "standard", "secrets": ["env:NOT_SET"]}]}
    )
    assert_problem(receiver.post(b"{}", tenant="unset"), 503)
    # The next secret may not be there yet.
    two = {"verify": "standard", "secrets": ["env:HOOK_SECRET", "env:NOT_SET"]}
    write_contract(receiver.settings.tenants_dir, "half", {"lms": [two]})
    assert receiver.post(b"{}", tenant="half").status_code == 202


def test_a_full_inbox_answers_503(receiver: Running) -> None:
    small = Inbox(receiver.inbox.store, KeyRing.of(SecretStr(ENVIRON["LMS_CRM_KEY"])), capacity=4)

    async def keep() -> list[Added | BaseException]:
        writer = Writer(small)
        writer.start()
        deliveries = [Delivery("small", Side.LMS, str(n), "application/json", b"{}") for n in range(10)]
        results = await asyncio.gather(*map(writer.keep, deliveries), return_exceptions=True)
        await writer.stop()
        return results

    kept, refused = (results := asyncio.run(keep()))[:4], results[4:]
    assert kept == [Added.NEW] * 4
    assert all(
        isinstance(each, Problem) and (each.status, each.detail) == (503, "the inbox is full") for each in refused
    )
    assert all(each.headers["Retry-After"] for each in refused if isinstance(each, Problem))
    assert len(receiver.events("small")) == 4


def test_a_full_disk_answers_503_and_nothing_is_promised(receiver: Running, tmp_path: Path) -> None:
    settings = Settings(receiver.settings.tenants_dir, tmp_path / "state")
    body = json.dumps("x" * 20_000).encode()
    with serving(settings) as address, httpx.Client(base_url=address) as client:
        inbox = Inbox.at(settings.state_dir)
        database = inbox.store._database
        assert isinstance(database, Sqlite)
        # SQLite's own word for a full disk, at a size of our choice.
        database._db.execute("PRAGMA max_page_count = 60")
        answers = {
            str(n): client.post("/api/v1/hooks/standard", content=body, headers=signed(body, str(n))) for n in range(20)
        }
        refused = [answer for answer in answers.values() if answer.status_code != 202]
        assert 0 < len(refused) < 20
        for answer in refused:
            assert_problem(answer, 503, "UNAVAILABLE")
            assert answer.headers["retry-after"]
        assert_problem(client.get("/readyz"), 503)
        assert {event.delivery_id for event in inbox.find()} == {
            delivery_id for delivery_id, answer in answers.items() if answer.status_code == 202
        }
        database._db.execute("PRAGMA max_page_count = 100000")
        assert client.post("/api/v1/hooks/standard", content=body, headers=signed(body, "19")).status_code == 202


def test_more_than_the_writer_can_hold_answers_503(receiver: Running) -> None:
    async def keep() -> list[Added | BaseException]:
        writer = Writer(receiver.inbox)
        writer._loop = asyncio.get_running_loop()  # and its thread doesn't run yet
        large = [Delivery("much", Side.LMS, str(n), "application/json", bytes(2**20)) for n in range(65)]
        waiting = [asyncio.ensure_future(writer.keep(each)) for each in large]
        await asyncio.sleep(0)
        writer.start()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await writer.stop()
        return results

    *kept, last = asyncio.run(keep())
    assert kept == [Added.NEW] * 64
    assert isinstance(last, Problem)
    assert (last.status, last.detail) == (503, "too much arrives at once")


def test_one_delivery_that_the_store_refuses_does_not_take_others_with_it(receiver: Running) -> None:
    # No header can hold it; a mistake of ours could.
    bad = Delivery("poison", Side.LMS, "\ud800", "application/json", b"{}")

    async def keep() -> list[Added | BaseException]:
        writer = Writer(receiver.inbox)
        good = [Delivery("poison", Side.LMS, str(n), "application/json", b"{}") for n in range(9)]
        waiting = [asyncio.ensure_future(writer.keep(each)) for each in [*good, bad]]
        writer._loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        writer.start()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await writer.stop()
        return results

    *others, last = asyncio.run(keep())
    assert others == [Added.NEW] * 9
    assert isinstance(last, Problem)
    assert last.status == 503


def test_health_says_what_is_missing(receiver: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert receiver.client.get("/livez").json() == {"status": "ok"}
    assert receiver.client.get("/readyz").json() == {"status": "ok"}
    monkeypatch.delenv("LMS_CRM_KEY")
    with serving(Settings(receiver.settings.tenants_dir, tmp_path / "state")) as address:
        assert httpx.get(f"{address}/livez").status_code == 200
        answer = httpx.get(f"{address}/readyz")
        assert_problem(answer, 503)
        assert "LMS_CRM_KEY_FILE" in answer.json()["detail"]
        body = b"{}"
        assert_problem(httpx.post(f"{address}/api/v1/hooks/standard", content=body, headers=signed(body)), 503)


def test_metrics_count_by_tenant_and_result_and_tell_the_depth(receiver: Running) -> None:
    before = receiver.client.get("/metrics").text
    receiver.post(b"{}", signed(b"{}", "metric"))
    receiver.post(b"{}", signed(b"{}", "metric"))
    receiver.post(b"{}", signed(b"{}", "metric", secret=OTHER_SECRET))
    receiver.post(b"{}", tenant="nobody-at-all")
    # Answered before anybody looks at them.
    receiver.post(b" " * 300_000, signed(b"{}"))
    receiver.client.get("/api/v1/hooks/standard")
    receiver.client.get("/api/v1/hooks/nobody-at-all")
    answer = receiver.client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    for result, number in (("new", 1), ("repeated", 1), ("401", 1), ("413", 1), ("405", 1)):
        line = f'deliveries_total{{result="{result}",side="lms",tenant="standard"}}'
        assert figure(answer.text, line) - figure(before, line) == number
    assert "nobody-at-all" not in answer.text
    assert figure(answer.text, 'inbox_depth{state="pending",tenant="standard"}') >= 1
    assert figure(answer.text, 'inbox_oldest_age_seconds{tenant="standard"}') > 0
    line = 'http_request_duration_seconds_count{route="/api/v1/hooks/{tenant}",side="receiver",status="202"}'
    assert figure(answer.text, line) >= 2


def figure(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_nothing_of_learners_or_secrets_is_told(
    receiver: Running, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logs.for_services({"LMS_CRM_LOG_LEVEL": "debug"})
    canary = "canary.learner@example.org"
    body = json.dumps({"email": canary, "name": f"{canary}\ud800"}).encode()
    receiver.post(body, signed(body, "told"))
    receiver.post(body, signed(body, "told", secret=OTHER_SECRET))
    receiver.post(body[:-1], signed(body[:-1], "told"))
    receiver.post(b'{"token": "canary.secret", "canary": 1}', {"content-type": "application/json"}, tenant="token")
    for path in (f"/crm?token={canary}", f"/{canary}", f"?{canary}"):
        receiver.post(body, {"content-type": "text/xml", "authorization": f"Bearer {canary}"}, path=path)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    told = "".join(ours) + "".join(capfd.readouterr()) + receiver.client.get("/metrics").text

    assert "delivery_refused" in told
    assert "canary" not in told
    assert all(secret not in told for name, secret in ENVIRON.items() if name.startswith("HOOK"))
    for file in receiver.settings.state_dir.iterdir():
        assert b"canary.learner" not in file.read_bytes()
