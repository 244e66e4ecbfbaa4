"""Bulk API 2.0 ingest of the Salesforce simulator: the life of a job, its CSV, what becomes of each row."""

import csv
import gzip
import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceOperationError

from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from tests.salesforce_server import (
    DATA,
    ENROLLMENTS,
    NOW,
    Clock,
    LoopbackSession,
    codes,
    configure,
    contact,
    enrollment,
    sign_in,
    signed_in,
    stored,
    upsert,
)
from tests.simulator_server import serving

JOBS = f"{DATA}/jobs/ingest"
UPSERT = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "LMS_User_Id__c"}
FINAL = {"JobComplete", "Failed", "Aborted"}


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def base_url(clock: Clock) -> Iterator[str]:
    with serving(SalesforceSimulator(clock=clock)) as address:
        yield address


@pytest.fixture
def api(base_url: str, clock: Clock) -> Iterator[httpx.Client]:
    clock.now = NOW
    with signed_in(base_url) as client:
        yield client


def create(api: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = api.post(JOBS, json=UPSERT | body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def put(api: httpx.Client, job: str, content: str | bytes, **headers: str) -> httpx.Response:
    return api.put(f"{JOBS}/{job}/batches", content=content, headers={"Content-Type": "text/csv"} | headers)


def close(api: httpx.Client, job: str, state: str = "UploadComplete") -> httpx.Response:
    return api.patch(f"{JOBS}/{job}", json={"state": state})


def wait(api: httpx.Client, job: str, states: set[str] | frozenset[str] = frozenset(FINAL)) -> dict[str, Any]:
    for _ in range(2000):
        info: dict[str, Any] = api.get(f"{JOBS}/{job}").json()
        if info["state"] in states:
            return info
        time.sleep(0.005)
    raise AssertionError(info)


def load(api: httpx.Client, content: str | bytes, **body: Any) -> dict[str, Any]:
    job = create(api, **body)["id"]
    answer = put(api, job, content)
    assert (answer.status_code, answer.content) == (201, b"")
    assert close(api, job).json()["state"] == "UploadComplete"
    return wait(api, job)


def results(api: httpx.Client, job: str, kind: str) -> list[dict[str, str]]:
    answer = api.get(f"{JOBS}/{job}/{kind}")
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/csv"), answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def failures(api: httpx.Client, job: str, key: str = "LMS_User_Id__c") -> dict[str, str]:
    return {row[key]: row["sf__Error"] for row in results(api, job, "failedResults")}


def many(number: int, start: int = 0) -> str:
    rows = "".join(f"{key},Name {key}\n" for key in range(start, start + number))
    return f"LMS_User_Id__c,LastName\n{rows}"


# The life of a job


def test_a_job_tells_about_itself_from_open_to_complete(api: httpx.Client) -> None:
    made = create(api)
    job = made["id"]
    assert (len(job), job[:3]) == (18, "750")
    moment = "2026-11-22T22:50:00.000+0000"
    brief = {
        "id": job,
        "operation": "upsert",
        "object": "Contact",
        "createdById": made["createdById"],
        "createdDate": moment,
        "systemModstamp": moment,
        "state": "Open",
        "externalIdFieldName": "LMS_User_Id__c",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 59.0,
        "contentUrl": f"services/data/v59.0/jobs/ingest/{job}/batches",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    assert made == brief
    put(api, job, many(3))
    assert close(api, job).json() == {k: v for k, v in brief.items() if k != "contentUrl"} | {"state": "UploadComplete"}
    info = wait(api, job)
    assert info["state"] == "JobComplete"
    counts = ("retries", "numberRecordsProcessed", "numberRecordsFailed", "apexProcessingTime")
    assert [info[name] for name in counts] == [0, 3, 0, 0]
    assert {"totalProcessingTime", "apiActiveProcessingTime"} <= info.keys()
    assert info["jobType"] == "V2Ingest"
    assert "errorMessage" not in info
    assert len(stored(api, "Contact")) == 3


def test_results_hold_the_rows_with_ids_and_errors_in_an_order_of_their_own(api: httpx.Client) -> None:
    upsert(api, contact("5"))
    content = many(30) + "bad,\n"
    job = load(api, content)["id"]
    successful = results(api, job, "successfulResults")
    assert list(successful[0]) == ["sf__Id", "sf__Created", "LMS_User_Id__c", "LastName"]
    by_key = {row["LMS_User_Id__c"]: row for row in successful}
    held = stored(api, "Contact")
    assert {key: row["sf__Id"] for key, row in by_key.items()} == {key: each["Id"] for key, each in held.items()}
    assert [key for key, row in by_key.items() if row["sf__Created"] == "false"] == ["5"]
    assert list(by_key) != sorted(by_key, key=int)
    assert results(api, job, "failedResults") == [
        {
            "sf__Id": "",
            "sf__Error": "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --",
            "LMS_User_Id__c": "bad",
            "LastName": "",
        }
    ]
    raw = api.get(f"{JOBS}/{job}/failedResults").text
    assert raw.splitlines()[0] == '"sf__Id","sf__Error",LMS_User_Id__c,LastName'
    assert api.get(f"{JOBS}/{job}/unprocessedrecords").text == "LMS_User_Id__c,LastName\n"
    assert api.get("/_sandbox/stats").json()["records"]["Contact"] == {"created": 30, "updated": 1, "rejected": 1}


def test_data_goes_up_once_and_only_while_the_job_is_open(api: httpx.Client) -> None:
    job = create(api)["id"]
    assert put(api, job, many(1)).status_code == 201
    second = put(api, job, many(1, 1))
    assert (second.status_code, second.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    assert second.json()[0]["message"].startswith(f"Found multiple contents for job: <{job[:15]}>, please 'Close'")
    close(api, job)
    wait(api, job)
    assert put(api, job, many(1)).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    closed = close(api, job)
    assert (closed.status_code, closed.json()) == (
        400,
        [{"message": "Closing already Completed Job not allowed", "errorCode": "INVALIDJOBSTATE"}],
    )
    aborted = close(api, job, "Aborted")
    assert aborted.json()[0]["message"] == "Aborting already Completed Job not allowed"


def test_uploads_are_plain_csv_of_a_bounded_size(api: httpx.Client) -> None:
    job = create(api)["id"]
    for headers in ({"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}):
        refused = put(api, job, gzip.compress(many(1).encode()), **headers)
        assert (refused.status_code, refused.json()[0]["errorCode"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    configure(api, bulk_upload_bytes=1_000_000)
    large = put(api, job, "x" * 1_000_001)
    assert (large.status_code, large.json()[0]["errorCode"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    assert put(api, job, many(1), **{"Content-Type": "text/csv; charset=UTF-8"}).status_code == 201


def test_a_job_is_aborted_with_its_rest_unprocessed(api: httpx.Client) -> None:
    configure(api, bulk_batch_rows=100, bulk_batch_seconds=0.5)
    job = create(api)["id"]
    put(api, job, many(250) + 'last,"a\nb"\n')
    assert api.get(f"{JOBS}/{job}/successfulResults").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    close(api, job)
    for _ in range(1000):
        info = api.get(f"{JOBS}/{job}").json()
        if info["numberRecordsProcessed"]:
            break
        time.sleep(0.005)
    assert info["state"] == "InProgress"
    assert api.delete(f"{JOBS}/{job}").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert close(api, job, "Aborted").json()["state"] == "Aborted"
    time.sleep(0.7)
    info = wait(api, job)
    assert (info["state"], info["numberRecordsProcessed"]) == ("Aborted", 100)
    assert len(results(api, job, "successfulResults")) == 100
    rest = results(api, job, "unprocessedrecords")
    assert ([row["LMS_User_Id__c"] for row in rest[:2]], len(rest)) == (["100", "101"], 151)
    assert rest[-1]["LastName"] == "a\nb"
    assert len(stored(api, "Contact")) == 100


def test_an_abort_stops_in_the_middle_of_an_internal_batch(api: httpx.Client) -> None:
    configure(api, bulk_batch_rows=60_000)
    job = create(api)["id"]
    put(api, job, many(60_000))
    close(api, job)
    while not api.get(f"{JOBS}/{job}").json()["numberRecordsProcessed"]:
        pass
    assert close(api, job, "Aborted").status_code == 200
    time.sleep(0.1)
    processed = wait(api, job)["numberRecordsProcessed"]
    assert 0 < processed < 60_000
    assert len(results(api, job, "successfulResults")) == len(stored(api, "Contact")) == processed
    assert len(results(api, job, "unprocessedrecords")) == 60_000 - processed


def test_an_open_job_can_be_aborted_and_deleted(api: httpx.Client) -> None:
    job = create(api)["id"]
    assert api.delete(f"{JOBS}/{job}").status_code == 400
    close(api, job, "Aborted")
    answer = api.delete(f"{JOBS}/{job}")
    assert (answer.status_code, answer.content) == (204, b"")
    for path in ("", "/successfulResults", "/batches"):
        gone = api.request("PUT" if path == "/batches" else "GET", f"{JOBS}/{job}{path}")
        assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_jobs_are_listed_a_thousand_at_a_time(api: httpx.Client) -> None:
    made = [create(api)["id"] for _ in range(1001)]
    first = api.get(JOBS).json()
    assert (first["done"], len(first["records"]), first["records"][0]["jobType"]) == (False, 1000, "V2Ingest")
    second = api.get(first["nextRecordsUrl"]).json()
    assert (second["done"], second["nextRecordsUrl"]) == (True, None)
    assert [job["id"] for job in first["records"] + second["records"]] == made
    assert api.get(JOBS, params={"jobType": "Classic"}).json()["records"] == []


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"object": "Nope"}, "INVALIDJOB", "Unable to find object: Nope"),
        ({"externalIdFieldName": None}, "JSON_PARSER_ERROR", "Cannot deserialize instance of string"),
        ({"externalIdFieldName": ""}, "INVALIDJOB", "Missing required field: externalIdFieldName"),
        ({"externalIdFieldName": "FirstName"}, "INVALIDJOB", "Field name provided, FirstName does not match"),
        ({"operation": "merge"}, "JSON_PARSER_ERROR", "Cannot deserialize instance of OperationEnum"),
        ({"operation": "hardDelete"}, "FEATURENOTENABLED", "hardDelete operation requires special user profile"),
        ({"lineEnding": "CR"}, "JSON_PARSER_ERROR", "Cannot deserialize instance of LineEndingEnum"),
        ({"contentType": "JSON"}, "JSON_PARSER_ERROR", "Cannot deserialize instance of ContentTypeEnum"),
        ({"columnDelimiter": ","}, "JSON_PARSER_ERROR", "Cannot deserialize instance of ColumnDelimiterEnum"),
        ({"odd": 1}, "JSON_PARSER_ERROR", 'Unrecognized field "odd"'),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(api: httpx.Client, body: dict[str, Any], code: str, message: str) -> None:
    answer = api.post(JOBS, json=UPSERT | body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert answer.json()[0]["message"].startswith(message)
    assert api.get(JOBS).json()["records"] == []


def test_every_call_counts_and_says_so(api: httpx.Client) -> None:
    before = api.get(f"{DATA}/limits").json()
    answer = api.post(JOBS, json=UPSERT)
    job = answer.json()["id"]
    used = [put(api, job, many(1)), close(api, job), api.get(f"{JOBS}/{job}"), put(api, job, many(1))]
    assert [each.headers["Sforce-Limit-Info"] for each in used] == [f"api-usage={n}/100000" for n in range(3, 7)]
    wait(api, job)
    after = api.get(f"{DATA}/limits").json()
    assert before["DailyBulkApiBatches"] == {"Max": 15_000, "Remaining": 15_000}
    assert after["DailyBulkApiBatches"] == {"Max": 15_000, "Remaining": 14_999}


def test_the_day_has_so_many_internal_batches(api: httpx.Client) -> None:
    configure(api, bulk_batches_a_day=2, bulk_batch_rows=10)
    info = load(api, many(25))
    assert (info["state"], info["errorMessage"]) == ("Failed", "ExceededQuota : ApiBatchItems Limit exceeded.")
    assert len(results(api, info["id"], "unprocessedrecords")) == 5
    refused = api.post(JOBS, json=UPSERT)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "EXCEEDEDQUOTA")


def test_jobs_need_a_version_that_has_them_and_no_composite_request(api: httpx.Client) -> None:
    assert api.post(JOBS.replace("v59", "v40"), json=UPSERT).status_code == 404
    inner = {"method": "GET", "url": JOBS, "referenceId": "a"}
    answer = api.post(f"{DATA}/composite", json={"compositeRequest": [inner]}).json()["compositeResponse"][0]
    assert (answer["httpStatusCode"], answer["body"][0]["errorCode"]) == (400, "INVALID_INPUT")


def test_other_requests_are_served_while_a_job_works(api: httpx.Client) -> None:
    job = create(api)["id"]
    put(api, job, many(20_000))
    close(api, job)
    seen = set()
    while (info := api.get(f"{JOBS}/{job}").json())["state"] not in FINAL:
        seen.add(info["numberRecordsProcessed"])
    assert (info["state"], info["numberRecordsProcessed"]) == ("JobComplete", 20_000)
    # Answers came while it worked; how many depends on the machine.
    assert seen - {0, 20_000}
    assert api.get(f"{DATA}/limits").json()["DailyBulkApiBatches"]["Remaining"] == 14_998


def test_a_reset_ends_jobs(api: httpx.Client) -> None:
    configure(api, bulk_batch_seconds=0.1)
    job = create(api)["id"]
    put(api, job, many(10))
    close(api, job)
    api.post("/_sandbox/reset")
    sign_in(api)
    time.sleep(0.2)
    assert api.get(f"{JOBS}/{job}").status_code == 404
    assert stored(api, "Contact") == {}


# The CSV


def test_quotes_hold_delimiters_quotes_and_line_ends(api: httpx.Client) -> None:
    content = 'LMS_User_Id__c,LastName,Description\n1,"O""Neill, Jr.","first\nsecond\r\nthird"\n2,Zoë,\n'
    info = load(api, content)
    assert (info["state"], info["numberRecordsFailed"]) == ("JobComplete", 0)
    held = stored(api, "Contact")
    assert (held["1"]["LastName"], held["1"]["Description"]) == ('O"Neill, Jr.', "first\nsecond\r\nthird")
    assert held["2"]["LastName"] == "Zoë"
    by_key = {row["LMS_User_Id__c"]: row for row in results(api, info["id"], "successfulResults")}
    assert by_key["1"]["Description"] == "first\nsecond\r\nthird"


def test_empty_cells_are_ignored_and_the_null_word_nulls(api: httpx.Client) -> None:
    upsert(api, contact("1", FirstName="Ada", Title="Dr", Email="ada@example.com"))
    load(api, "LMS_User_Id__c,LastName,FirstName,Title,Email\n1,,,#N/A,#N/A\n")
    held = stored(api, "Contact")["1"]
    assert (held["LastName"], held["FirstName"], held["Title"], held["Email"]) == ("Lovelace", "Ada", None, None)


@pytest.mark.parametrize(
    ("line_ending", "content", "good"),
    [
        ("LF", "LMS_User_Id__c,LastName\n1,A\n2,B", True),
        ("CRLF", "LMS_User_Id__c,LastName\r\n1,A\r\n2,B\r\n", True),
        ("LF", "LMS_User_Id__c,LastName\r\n1,A\r\n", False),
        ("CRLF", "LMS_User_Id__c,LastName\n1,A\n", False),
        ("LF", "LMS_User_Id__c,LastName\n1,A\n2,B\r\n", False),
    ],
)
def test_line_ends_are_those_of_the_job(api: httpx.Client, line_ending: str, content: str, good: bool) -> None:  # noqa: FBT001
    info = load(api, content, lineEnding=line_ending)
    if good:
        assert (info["state"], info["numberRecordsProcessed"]) == ("JobComplete", 2)
        raw = api.get(f"{JOBS}/{info['id']}/successfulResults").text
        assert raw.endswith("\r\n") == (line_ending == "CRLF")
        return
    message = f"LineEnding is invalid on user data. Current LineEnding setting is {line_ending}"
    assert (info["state"], info["errorMessage"]) == ("Failed", f"ClientInputError : {message}")
    assert stored(api, "Contact") == {}
    assert api.get(f"{JOBS}/{info['id']}/unprocessedrecords").text == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("LMS_User_Id__c,foo\n1,x\n", "InvalidBatch : Field name not found : foo"),
        ("LMS_User_Id__c, LastName\n1,x\n", "InvalidBatch : Field name not found :  LastName"),
        ("LMS_User_Id__c,Account.Nope\n1,x\n", "InvalidBatch : Field name not found : Account.Nope"),
        ("\ufeffLMS_User_Id__c,LastName\n1,x\n", "InvalidBatch : Field name not found : \ufeffLMS_User_Id__c"),
        ("LastName,lastname\n1,x\n", "InvalidBatch : Duplicate column found : lastname"),
        ("LMS_User_Id__c,LastName\n1,x,y\n", "InvalidBatch : A row has 3 columns where the header has 2"),
        ('LMS_User_Id__c,LastName\n1,"x" y\n', "InvalidBatch : Failed to parse CSV"),
        (b"LMS_User_Id__c,LastName\n1,\xe9\n", "InvalidBatch : Failed to parse CSV: the data is not UTF-8"),
        ("", "InvalidBatch : The CSV is empty"),
    ],
)
def test_a_malformed_file_fails_the_job(api: httpx.Client, content: str | bytes, message: str) -> None:
    info = load(api, content)
    assert info["state"] == "Failed"
    assert info["errorMessage"].startswith(message)
    assert (info["numberRecordsProcessed"], stored(api, "Contact")) == (0, {})
    assert results(api, info["id"], "failedResults") == []


def test_other_delimiters(api: httpx.Client) -> None:
    info = load(api, 'LMS_User_Id__c;LastName\n1;"A;B,C"\n', columnDelimiter="SEMICOLON")
    assert stored(api, "Contact")["1"]["LastName"] == "A;B,C"
    raw = api.get(f"{JOBS}/{info['id']}/successfulResults").text
    assert raw.startswith('"sf__Id";"sf__Created";LMS_User_Id__c;LastName\n')


def test_values_are_read_from_text(api: httpx.Client) -> None:
    upsert(api, contact("u1"))
    courses = (
        "LMS_Course_Id__c,Name,Visible__c,Starts_At__c\n"
        "1,A,TRUE,2026-11-22T22:50:00.000Z\n2,B,0,2026-11-23T00:50:00+02:00\n3,C,perhaps,\n4,D,,22/11/2026\n"
    )
    body = {"object": "LMS_Course__c", "externalIdFieldName": "LMS_Course_Id__c"}
    job = load(api, courses, **body)["id"]
    held = stored(api, "LMS_Course__c", "LMS_Course_Id__c")
    assert [held[key]["Visible__c"] for key in "12"] == [True, False]
    assert {held[key]["Starts_At__c"] for key in "12"} == {"2026-11-22T22:50:00.000+0000"}
    kind = "INVALID_TYPE_ON_FIELD_IN_RECORD"
    assert failures(api, job, "LMS_Course_Id__c") == {
        "3": f"{kind}:Visible: value not of required type: perhaps:Visible__c --",
        "4": f"{kind}:Starts At: value not of required type: 22/11/2026:Starts_At__c --",
    }
    completions = "LMS_Completion_Id__c,Progress__c,Contact__r.LMS_User_Id__c\n1,99.5,u1\n2,many,u1\n3,1,1580\n4,1000,\n5,1_0,\n6,1.25e1,\n"
    body = {"object": "LMS_Completion__c", "externalIdFieldName": "LMS_Completion_Id__c"}
    job = load(api, completions, **body)["id"]
    held = stored(api, "LMS_Completion__c", "LMS_Completion_Id__c")
    assert (held["1"]["Progress__c"], held["1"]["Contact__c"][:3]) == (99.5, "003")
    assert held["6"]["Progress__c"] == 12.5
    errors = failures(api, job, "LMS_Completion_Id__c")
    assert errors["5"] == f"{kind}:Progress: value not of required type: 1_0:Progress__c --"
    assert errors["2"] == f"{kind}:Progress: value not of required type: many:Progress__c --"
    foreign = "Foreign key external ID: 1580 not found for field LMS_User_Id__c in entity Contact"
    assert errors["3"] == f"INVALID_FIELD:{foreign}:--"
    assert errors["4"].startswith("NUMBER_OUTSIDE_VALID_RANGE:")


# The rules of rows


def test_rows_of_one_internal_batch_that_share_a_key_all_fail(api: httpx.Client) -> None:
    configure(api, bulk_batch_rows=3)
    info = load(api, "LMS_User_Id__c,LastName\na,1\nA,2\nb,3\nb,4\n")
    assert info["numberRecordsFailed"] == 2
    assert failures(api, info["id"]) == {
        "a": "DUPLICATE_VALUE:Duplicate external id specified: a:LMS_User_Id__c --",
        "A": "DUPLICATE_VALUE:Duplicate external id specified: A:LMS_User_Id__c --",
    }
    assert [each["LastName"] for each in stored(api, "Contact").values()] == ["4"]


def test_insert_update_and_delete(api: httpx.Client) -> None:
    job = load(api, "LMS_User_Id__c,LastName\n1,A\n2,B\n1,C\n", operation="insert")["id"]
    assert failures(api, job)["1"].startswith("DUPLICATE_VALUE:duplicate value found: LMS_User_Id__c duplicates value")
    ids = {key: each["Id"] for key, each in stored(api, "Contact").items()}
    refused = load(api, f"Id,LastName\n{ids['1']},A\n", operation="insert")["id"]
    assert failures(api, refused, "LastName")["A"].startswith("INVALID_FIELD_FOR_INSERT_UPDATE:cannot specify Id")
    content = f"Id,LastName\n{ids['1']},New\n0035i0000000009AAA,x\n,y\n"
    job = load(api, content, operation="update")["id"]
    assert failures(api, job, "LastName") == {
        "x": "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
        "y": "MISSING_ARGUMENT:Id not specified in an update call:--",
    }
    assert stored(api, "Contact")["1"]["LastName"] == "New"
    info = load(api, f"Id\n{ids['1']}\n", operation="delete")
    assert (info["state"], stored(api, "Contact")["1"]["IsDeleted"]) == ("JobComplete", True)
    assert results(api, info["id"], "successfulResults") == [
        {"sf__Id": ids["1"], "sf__Created": "false", "Id": ids["1"]}
    ]
    info = load(api, f"Id,LastName\n{ids['2']},x\n", operation="delete")
    assert info["errorMessage"] == "InvalidBatch : The 'delete' batch must contain only ids"


def test_a_row_without_its_key_or_with_a_read_only_field_fails_alone(api: httpx.Client) -> None:
    job = load(api, "LMS_User_Id__c,LastName,Name\n,A,\n1,B,x\n2,C,\n")["id"]
    errors = {row["LastName"]: row["sf__Error"] for row in results(api, job, "failedResults")}
    assert errors["A"] == "MISSING_ARGUMENT:LMS_User_Id__c not specified:LMS_User_Id__c --"
    assert errors["B"].startswith("INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields: Name.")
    assert list(stored(api, "Contact")) == ["2"]


def test_a_batch_meets_the_lock_of_another_write_on_the_parent(api: httpx.Client, clock: Clock) -> None:
    upsert(api, contact("u1"))
    configure(api, lock_seconds=5.0)
    upsert(api, enrollment("0", "u1"), url=ENROLLMENTS)
    body = {"object": "LMS_Enrollment__c", "externalIdFieldName": "LMS_Enrollment_Id__c"}
    content = "LMS_Enrollment_Id__c,Contact__r.LMS_User_Id__c\n1,u1\n2,u1\n"
    refused = load(api, content, **body)
    held = stored(api, "Contact")["u1"]["Id"]
    message = f"unable to obtain exclusive access to this record or 1 records: {held}"
    assert failures(api, refused["id"], "LMS_Enrollment_Id__c") == dict.fromkeys(
        "12", f"UNABLE_TO_LOCK_ROW:{message}:--"
    )
    clock.now += 5
    assert load(api, content, **body)["numberRecordsFailed"] == 0
    assert codes(upsert(api, enrollment("3", "u1"), url=ENROLLMENTS)) == ["UNABLE_TO_LOCK_ROW"]


# A client that others wrote


@pytest.fixture
def salesforce(api: httpx.Client) -> Iterator[Any]:
    """A signed-in simple-salesforce; Any, because its attributes are typed as three things at once."""
    with LoopbackSession(str(api.base_url).rstrip("/")) as session:
        yield Salesforce(
            consumer_key="sandbox-client", consumer_secret="sandbox-secret", domain="sandbox", session=session
        )


def test_simple_salesforce_loads_in_bulk(salesforce: Any, api: httpx.Client) -> None:
    rows = [{"LMS_User_Id__c": str(n), "LastName": f"Name {n}"} for n in range(5)] + [{"LMS_User_Id__c": "x"}]
    (done,) = salesforce.bulk2.Contact.upsert(records=rows, external_id_field="LMS_User_Id__c", wait=0.01)
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"], done["numberRecordsTotal"]) == (6, 1, 6)
    assert "REQUIRED_FIELD_MISSING" in salesforce.bulk2.Contact.get_failed_records(done["job_id"])
    everything = salesforce.bulk2.Contact.get_all_ingest_records(done["job_id"])
    assert [len(everything[f"{kind}Records"]) for kind in ("successful", "failed", "unprocessed")] == [5, 1, 0]
    (done,) = salesforce.bulk2.Contact.insert(records=[{"LastName": "Hopper"}], wait=0.01)
    assert done["numberRecordsFailed"] == 0
    ids = [{"Id": each["Id"]} for each in stored(api, "Contact", "Id").values()]
    (done,) = salesforce.bulk2.Contact.delete(records=ids, wait=0.01)
    assert done["numberRecordsProcessed"] == 6
    with pytest.raises(SalesforceOperationError, match="Field name not found : foo"):
        salesforce.bulk2.Contact.insert(records=[{"foo": "x"}], wait=0.01)


def test_an_upload_that_breaks_off_leaves_the_job_open(api: httpx.Client, base_url: str) -> None:
    job = create(api)["id"]

    def half() -> Iterator[bytes]:
        yield b"LMS_User_Id__c,LastName\n"
        raise KeyboardInterrupt

    def send() -> None:
        with pytest.raises(KeyboardInterrupt), httpx.Client(base_url=base_url, headers=api.headers) as client:
            client.put(f"{JOBS}/{job}/batches", content=half(), headers={"Content-Type": "text/csv"})

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    # The server notices the broken connection in its own time.
    for _ in range(100):
        answer = put(api, job, many(2))
        if answer.status_code == 201:
            break
        time.sleep(0.05)
    assert answer.status_code == 201
    close(api, job)
    assert wait(api, job)["numberRecordsProcessed"] == 2


def test_lookups_of_rows_to_parents_loaded_before(api: httpx.Client) -> None:
    load(api, many(2))
    assert upsert(api, enrollment("1", "0"), url=ENROLLMENTS)
    body = {"object": "LMS_Enrollment__c", "externalIdFieldName": "LMS_Enrollment_Id__c"}
    load(api, "LMS_Enrollment_Id__c,Contact__r.LMS_User_Id__c\n1,1\n2,#N/A\n", **body)
    held = stored(api, "LMS_Enrollment__c", "LMS_Enrollment_Id__c")
    assert held["1"]["Contact__c"] == stored(api, "Contact")["1"]["Id"]
    assert held["2"]["Contact__c"] is None
