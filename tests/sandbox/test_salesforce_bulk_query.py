"""Bulk API 2.0 query jobs of the Salesforce simulator."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from simple_salesforce.api import Salesforce

from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from tests.salesforce_server import (
    DATA,
    ENROLLMENTS,
    Clock,
    LoopbackSession,
    configure,
    contact,
    enrollment,
    signed_in,
    stored,
    upsert,
)
from tests.simulator_server import serving

JOBS = f"{DATA}/jobs/query"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(SalesforceSimulator(clock=Clock())) as address:
        yield address


@pytest.fixture
def api(base_url: str) -> Iterator[httpx.Client]:
    with signed_in(base_url) as client:
        yield client


def start(api: httpx.Client, soql: str, operation: str = "query", **more: str) -> str:
    answer = api.post(JOBS, json={"operation": operation, "query": soql, **more})
    assert answer.status_code == 200, answer.text
    job: str = answer.json()["id"]
    return job


def wait(api: httpx.Client, job: str) -> dict[str, Any]:
    for _ in range(2000):
        info: dict[str, Any] = api.get(f"{JOBS}/{job}").json()
        if info["state"] in {"JobComplete", "Failed", "Aborted"}:
            return info
        time.sleep(0.005)
    raise AssertionError(info)


def answer(api: httpx.Client, soql: str, operation: str = "query", **more: str) -> str:
    job = start(api, soql, operation, **more)
    assert wait(api, job)["state"] == "JobComplete"
    return api.get(f"{JOBS}/{job}/results").text


def test_a_job_tells_about_itself(api: httpx.Client) -> None:
    upsert(api, contact("1"), contact("2"))
    made = api.post(JOBS, json={"operation": "query", "query": "SELECT Id FROM Contact", "contentType": "CSV"}).json()
    assert (made["state"], made["object"], made["operation"]) == ("UploadComplete", "Contact", "query")
    assert "jobType" not in made
    info = wait(api, made["id"])
    moment = "2026-11-22T22:50:00.000+0000"
    assert {name: value for name, value in info.items() if name != "totalProcessingTime"} == {
        "id": made["id"],
        "operation": "query",
        "object": "Contact",
        "createdById": made["createdById"],
        "createdDate": moment,
        "systemModstamp": moment,
        "state": "JobComplete",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 59.0,
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
        "jobType": "V2Query",
        "retries": 0,
        "numberRecordsProcessed": 2,
    }
    assert [job["id"] for job in api.get(JOBS).json()["records"]] == [made["id"]]
    assert api.get(f"{DATA}/jobs/ingest").json()["records"] == []
    assert api.get(f"{DATA}/limits").json()["DailyBulkV2QueryJobs"] == {"Max": 10_000, "Remaining": 9_999}
    assert api.delete(f"{JOBS}/{made['id']}").status_code == 204
    assert api.get(f"{JOBS}/{made['id']}").status_code == 404


def test_values_as_csv_shows_them(api: httpx.Client) -> None:
    upsert(api, contact("1", LastName='O"Neill, Jr.', Description="a\nb"))
    upsert(api, enrollment("e1", "1"), enrollment("e2", "1"), url=ENROLLMENTS)
    ids = {key: each["Id"] for key, each in stored(api, "LMS_Enrollment__c", "LMS_Enrollment_Id__c").items()}
    parent = stored(api, "Contact")["1"]["Id"]
    assert answer(api, "SELECT lastname, Description, Title, IsDeleted, CreatedDate FROM Contact") == (
        '"LastName","Description","Title","IsDeleted","CreatedDate"\n'
        '"O""Neill, Jr.","a\nb","","false","2026-11-22T22:50:00.000Z"\n'
    )
    api.patch(f"{ENROLLMENTS}/e2".replace("composite/", ""), json={"Contact__c": None})
    nested = "SELECT Id, contact__r.Id, Contact__r.LMS_User_Id__c FROM LMS_Enrollment__c ORDER BY LMS_Enrollment_Id__c"
    assert answer(api, nested) == (
        f'"Id","Contact__r.Id","Contact__r.LMS_User_Id__c"\n"{ids["e1"]}","{parent}","1"\n"{ids["e2"]}","",""\n'
    )
    number = {"attributes": {"type": "LMS_Completion__c"}, "LMS_Completion_Id__c": "1", "Progress__c": 7}
    api.post(f"{DATA}/composite/sobjects", json={"records": [number]})
    assert answer(api, "SELECT Progress__c FROM LMS_Completion__c", lineEnding="CRLF") == '"Progress__c"\r\n"7.0"\r\n'
    assert answer(api, "SELECT Id FROM Account") == '"Id"\n'


def test_deleted_records_are_in_query_all_only(api: httpx.Client) -> None:
    upsert(api, contact("1"), contact("2"))
    api.delete(f"{DATA}/sobjects/Contact/LMS_User_Id__c/1")
    soql = "SELECT LMS_User_Id__c FROM Contact WHERE LastName = 'lovelace' ORDER BY LMS_User_Id__c DESC"
    assert answer(api, soql) == '"LMS_User_Id__c"\n"2"\n'
    assert answer(api, soql, "queryAll") == '"LMS_User_Id__c"\n"2"\n"1"\n'
    assert answer(api, f"{soql} LIMIT 1", "queryAll") == '"LMS_User_Id__c"\n"2"\n'


def test_results_come_in_parts_that_a_locator_names(api: httpx.Client) -> None:
    for begin in range(0, 1000, 200):
        upsert(api, *(contact(str(number)) for number in range(begin, begin + 200)))
    job = start(api, "SELECT LMS_User_Id__c FROM Contact")
    assert wait(api, job)["numberRecordsProcessed"] == 1000
    rows: list[str] = []
    sizes, locator = [], ""
    while locator != "null":
        params: dict[str, Any] = {"maxRecords": 300} | ({"locator": locator} if locator else {})
        part = api.get(f"{JOBS}/{job}/results", params=params)
        header, *more = part.text.splitlines()
        assert (part.headers["Content-Type"].partition(";")[0], header) == ("text/csv", '"LMS_User_Id__c"')
        sizes.append(int(part.headers["Sforce-NumberOfRecords"]))
        rows += more
        locator = part.headers["Sforce-Locator"]
    assert sizes == [300, 300, 300, 100]
    assert rows == [f'"{number}"' for number in range(1000)]
    whole = api.get(f"{JOBS}/{job}/results")
    assert (whole.headers["Sforce-Locator"], whole.headers["Sforce-NumberOfRecords"]) == ("null", "1000")
    assert whole.headers["Sforce-Limit-Info"].startswith("api-usage=")
    for wrong in ({"locator": "odd!"}, {"locator": "MTAwMDA"}, {"maxRecords": "0"}):
        assert api.get(f"{JOBS}/{job}/results", params=wrong).status_code == 400


def test_results_wait_for_the_end_and_an_abort_has_none(api: httpx.Client) -> None:
    configure(api, bulk_batch_seconds=0.3)
    job = start(api, "SELECT Id FROM Contact")
    early = api.get(f"{JOBS}/{job}/results")
    assert (early.status_code, early.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    assert api.delete(f"{JOBS}/{job}").status_code == 400
    assert api.patch(f"{JOBS}/{job}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    time.sleep(0.4)
    assert wait(api, job)["state"] == "Aborted"
    assert api.get(f"{JOBS}/{job}/results").status_code == 400


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"operation": "query", "query": "SELECT Id FORM Contact"}, "MALFORMED_QUERY", "unexpected token: 'FORM'"),
        ({"operation": "query", "query": "SELECT Foo FROM Contact"}, "INVALID_FIELD", "No such column 'Foo'"),
        ({"operation": "query", "query": "SELECT COUNT() FROM Contact"}, "INVALIDJOB", "not supported"),
        ({"operation": "query", "query": "SELECT Id FROM Contact OFFSET 5"}, "INVALIDJOB", "not supported"),
        ({"operation": "query"}, "INVALIDJOB", "Missing required field: query"),
        ({"operation": "insert", "query": "SELECT Id FROM Contact"}, "JSON_PARSER_ERROR", "OperationEnum"),
        ({"operation": "query", "query": "SELECT Id FROM Contact", "object": "x"}, "JSON_PARSER_ERROR", "object"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(api: httpx.Client, body: Any, code: str, message: str) -> None:
    refused = api.post(JOBS, json=body)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, code)
    assert message in refused.json()[0]["message"]


def test_simple_salesforce_queries_in_bulk(api: httpx.Client) -> None:
    upsert(api, *(contact(str(number)) for number in range(5)))
    with LoopbackSession(str(api.base_url).rstrip("/")) as session:
        client: Any = Salesforce(
            consumer_key="sandbox-client", consumer_secret="sandbox-secret", domain="sandbox", session=session
        )
        soql = "SELECT LMS_User_Id__c FROM Contact ORDER BY LMS_User_Id__c"
        parts = list(client.bulk2.Contact.query(soql, max_records=2, wait=0.01))
    assert [part.splitlines()[1:] for part in parts] == [['"0"', '"1"'], ['"2"', '"3"'], ['"4"']]
