"""The sandbox's control routes on the Salesforce simulator: records at scale, the log of calls, faults on large bodies."""

import time
from collections.abc import Iterator

import httpx
import pytest

from lms_crm_assets.sandbox.moodle import MoodleSimulator
from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from tests.salesforce_server import DATA, Clock, contact, signed_in, upsert
from tests.simulator_server import serving

JOBS = f"{DATA}/jobs/ingest"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(SalesforceSimulator(clock=Clock())) as address:
        yield address


@pytest.fixture
def api(base_url: str) -> Iterator[httpx.Client]:
    with signed_in(base_url) as client:
        yield client


def faults(api: httpx.Client, *active: dict[str, object]) -> None:
    assert api.post("/_sandbox/faults", json=list(active)).is_success


def load(api: httpx.Client, number: int) -> str:
    """A job that has loaded so many contacts."""
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "LMS_User_Id__c"}
    job: str = api.post(JOBS, json=body).json()["id"]
    content = "LMS_User_Id__c,LastName\n" + "".join(f"{each},Name {each}\n" for each in range(number))
    put(api, job, content)
    api.patch(f"{JOBS}/{job}", json={"state": "UploadComplete"})
    while api.get(f"{JOBS}/{job}").json()["state"] != "JobComplete":
        time.sleep(0.01)
    return job


def put(api: httpx.Client, job: str, content: str) -> httpx.Response:
    return api.put(f"{JOBS}/{job}/batches", content=content, headers={"Content-Type": "text/csv"})


def test_records_are_streamed_and_projected(api: httpx.Client) -> None:
    load(api, 1234)
    with api.stream("GET", "/_sandbox/records/Contact") as answer:
        assert "Content-Length" not in answer.headers
        pieces = list(answer.iter_raw())
    assert len(pieces) > 2
    whole = api.get("/_sandbox/records/Contact").json()
    assert (whole["object"], whole["total"], len(whole["records"])) == ("Contact", 1234, 1234)
    assert [each["LMS_User_Id__c"] for each in whole["records"]] == [str(number) for number in range(1234)]
    short = api.get("/_sandbox/records/Contact", params={"fields": "Id,LMS_User_Id__c"}).json()
    assert short["records"][7] == {"Id": whole["records"][7]["Id"], "LMS_User_Id__c": "7"}
    assert api.get("/_sandbox/records/Account").json() == {"object": "Account", "total": 0, "records": []}
    assert api.get("/_sandbox/records/Nope").status_code == 400


def test_records_may_change_while_they_are_listed(api: httpx.Client) -> None:
    load(api, 5000)
    with api.stream("GET", "/_sandbox/records/Contact") as answer:
        remaining = answer.iter_bytes()
        first = next(remaining)
        upsert(api, contact("late"))
        api.delete(f"{DATA}/sobjects/Contact/LMS_User_Id__c/17")
        text = first + b"".join(remaining)
    assert text.endswith(b'],"total":5000}')


def test_the_log_tells_calls_in_the_order_of_their_arrival(api: httpx.Client) -> None:
    start = api.get("/_sandbox/log").json()["last"]
    began = time.time()
    faults(
        api,
        {"route": "GET .*/limits", "kind": "status", "status": 503, "times": 1},
        {"route": "GET .*/sobjects$", "kind": "cut_after", "times": 1},
        {"route": "GET .*/describe$", "kind": "cut_before", "times": 1},
    )
    api.get(f"{DATA}/limits")
    api.get(f"{DATA}/nope")
    for path in ("/sobjects", "/sobjects/Contact/describe"):
        with pytest.raises(httpx.RemoteProtocolError):
            api.get(DATA + path)
    log = api.get("/_sandbox/log", params={"after": start}).json()
    assert [(each["path"], each["status"], each["cut"]) for each in log["calls"]] == [
        (f"{DATA}/limits", 503, False),
        (f"{DATA}/nope", 404, False),
        (f"{DATA}/sobjects", 200, True),
        (f"{DATA}/sobjects/Contact/describe", None, True),
    ]
    assert [each["n"] for each in log["calls"]] == list(range(start + 1, start + 5))
    assert log["last"] == start + 4
    assert all(began <= each["at"] <= time.time() and each["method"] == "GET" for each in log["calls"])
    assert api.get("/_sandbox/log", params={"after": start + 3}).json()["calls"] == log["calls"][3:]
    assert api.get("/_sandbox/log", params={"after": "x"}).status_code == 400
    api.post("/_sandbox/reset")
    assert api.get("/_sandbox/log").json() == {"last": start + 4, "calls": []}


def test_a_simulator_without_options_says_so() -> None:
    with serving(MoodleSimulator()) as address:
        answer = httpx.post(f"{address}/_sandbox/options", json={"latency_seconds": 1})
    assert (answer.status_code, answer.json()) == (400, {"error": "moodle has no options to change while it runs"})


def test_faults_strike_large_bodies_too(api: httpx.Client) -> None:
    job = load(api, 20_000)
    results = f"{JOBS}/{job}/successfulResults"
    size = len(api.get(results).content)
    assert size > 500_000
    page = {"route": "successfulResults", "kind": "replace", "status": 503, "body": "<html>Down</html>", "times": 1}
    faults(api, page)
    replaced = api.get(results)
    assert (replaced.status_code, replaced.text) == (503, "<html>Down</html>")
    faults(api, {"route": "successfulResults", "kind": "cut_after", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        api.get(results)
    faults(api, {"route": "successfulResults", "kind": "delay", "seconds": 0.2, "times": 1})
    began = time.monotonic()
    assert len(api.get(results).content) == size
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("kind", "kept"), [("cut_before", False), ("status", False), ("cut_after", True)])
def test_an_upload_is_lost_or_kept_as_the_fault_says(api: httpx.Client, kind: str, *, kept: bool) -> None:
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "LMS_User_Id__c"}
    job = api.post(JOBS, json=body).json()["id"]
    faults(api, {"route": "PUT .*/batches", "kind": kind, "times": 1})
    content = "LMS_User_Id__c,LastName\n" + "x,y\n" * 500_000
    if kind == "status":
        assert put(api, job, content).status_code == 503
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            put(api, job, content)
    assert put(api, job, content).status_code == (400 if kept else 201)


def test_an_answer_can_trickle(api: httpx.Client) -> None:
    load(api, 200)
    query = {"q": "SELECT Id, LastName FROM Contact"}
    plain = api.get(f"{DATA}/query", params=query).content
    faults(api, {"route": "/query", "kind": "trickle", "seconds": 2.0, "times": 1})
    began = time.monotonic()
    with api.stream("GET", f"{DATA}/query", params=query) as answer:
        first = next(raw := answer.iter_raw())
        assert time.monotonic() - began < 1.5
        rest = b"".join(raw)
    assert time.monotonic() - began >= 1.9
    assert len(first) < len(first + rest)
    assert len(api.get(f"{DATA}/query", params=query).content) == len(plain)
