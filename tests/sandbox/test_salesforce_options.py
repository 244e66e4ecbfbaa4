"""What can be arranged in the Salesforce simulator: limits, locks, rules and faults, all while it runs; merges."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from tests.salesforce_server import (
    CONTACTS,
    DATA,
    ENROLLMENTS,
    FORM,
    NOW,
    Clock,
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


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def base_url(clock: Clock) -> Iterator[str]:
    with serving(SalesforceSimulator(clock=clock, daily_limit=1000)) as address:
        yield address


@pytest.fixture
def api(base_url: str, clock: Clock) -> Iterator[httpx.Client]:
    clock.now = NOW
    with signed_in(base_url) as client:
        yield client


# Live options


def test_options_change_what_happens_next_and_leave_records_and_sessions(api: httpx.Client, clock: Clock) -> None:
    upsert(api, contact("1"))
    assert api.post("/_sandbox/options", json={"daily_limit": 2}).json() == {"changed": ["daily_limit"]}
    assert api.get(f"{DATA}/limits").json()["DailyApiRequests"] == {"Max": 2, "Remaining": 0}
    assert api.get(f"{DATA}/limits").json()[0]["message"] == "TotalRequests Limit exceeded."
    configure(api, daily_limit=100, token_seconds=60)
    assert list(stored(api, "Contact")) == ["1"]
    clock.now += 60
    assert api.get(f"{DATA}/limits").status_code == 401
    configure(api, token_seconds=3600, token_calls=1)
    sign_in(api)
    assert [api.get(f"{DATA}/limits").status_code for _ in range(2)] == [200, 401]


def test_a_reset_takes_options_back_to_those_of_the_start(api: httpx.Client) -> None:
    configure(api, daily_limit=5)
    api.post("/_sandbox/reset")
    sign_in(api)
    assert api.get(f"{DATA}/limits").json()["DailyApiRequests"]["Max"] == 1000


def test_latency_can_be_switched_on_and_off(api: httpx.Client) -> None:
    configure(api, latency_seconds=0.8)
    began = time.monotonic()
    api.get(f"{DATA}/limits")
    assert time.monotonic() - began >= 0.8
    configure(api, latency_seconds=0.0)
    began = time.monotonic()
    api.get(f"{DATA}/limits")
    assert time.monotonic() - began < 0.8


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"odd": 1, "daily_limit": 1}, "unknown options: odd"),
        ({"daily_limit": "5"}, "daily_limit has to be a whole number from 0 on"),
        ({"daily_limit": True}, "daily_limit has to be a whole number from 0 on"),
        ({"concurrent_limit": 0}, "concurrent_limit has to be a whole number from 1 on"),
        ({"latency_seconds": -1}, "latency_seconds has to be seconds from 0 on"),
        ({"rotate_refresh_tokens": 1}, "rotate_refresh_tokens has to be true or false"),
        ({"duplicate_rule": "warn"}, 'duplicate_rule has to be null, "block" or "alert"'),
        (
            {"validation_rules": [{"object": "Contact"}]},
            "validation_rules has to be a list of objects with field, message, object, pattern",
        ),
        ({"row_faults": [{"object": "Nope", "statusCode": "X", "message": ""}]}, "there is no Nope"),
        (
            {"row_faults": [{"object": "Contact", "statusCode": "X", "message": "", "key_pattern": "("}]},
            "row_faults has to be a regular expression",
        ),
        ([1], "options are an object of names and values"),
    ],
)
def test_odd_options_are_refused_and_change_nothing(api: httpx.Client, options: Any, error: str) -> None:
    answer = api.post("/_sandbox/options", json=options)
    assert answer.status_code == 400
    assert error in answer.json()["error"]
    assert api.get(f"{DATA}/limits").json()["DailyApiRequests"]["Max"] == 1000
    with pytest.raises(SandboxRequestError):
        SalesforceSimulator(odd=1)


def test_a_rotated_refresh_token_is_refused_as_expired(api: httpx.Client) -> None:
    configure(api, rotate_refresh_tokens=True)
    form = FORM | {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    rotated = api.post("/services/oauth2/token", data=form).json()["refresh_token"]
    refused = api.post("/services/oauth2/token", data=form)
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "expired access/refresh token"},
    )
    configure(api, rotate_refresh_tokens=False)
    kept = api.post("/services/oauth2/token", data=form | {"refresh_token": rotated}).json()
    assert "refresh_token" not in kept


def test_too_many_requests_at_the_same_time_are_refused(api: httpx.Client, base_url: str) -> None:
    configure(api, concurrent_limit=3, latency_seconds=1.0)
    statuses: list[Any] = []

    def call() -> None:
        with httpx.Client(base_url=base_url, headers=api.headers) as client:
            answer = client.get(f"{DATA}/limits")
            statuses.append((answer.status_code, answer.json() if answer.status_code != 200 else None))

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    refused = (403, [{"message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
    assert statuses.count(refused) == 2
    assert statuses.count((200, None)) == 3
    assert api.get(f"{DATA}/limits").status_code == 200


# Row locks


def test_a_parent_is_locked_for_others_while_a_child_is_written(api: httpx.Client, clock: Clock) -> None:
    upsert(api, contact("u1"), contact("u2"))
    configure(api, lock_seconds=2.0)
    assert codes(upsert(api, enrollment("1", "u1"), enrollment("2", "u1"), url=ENROLLMENTS)) == ["", ""]
    results = upsert(api, enrollment("3", "u1"), enrollment("4", "u2"), url=ENROLLMENTS)
    assert codes(results) == ["UNABLE_TO_LOCK_ROW", ""]
    held = stored(api, "Contact")["u1"]["Id"]
    message = f"unable to obtain exclusive access to this record or 1 records: {held}"
    assert results[0]["errors"] == [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": message, "fields": []}]
    alone = api.patch(f"{DATA}/sobjects/Contact/{held}", json={"Title": "Dr"})
    assert (alone.status_code, alone.json()) == (
        400,
        [{"message": message, "errorCode": "UNABLE_TO_LOCK_ROW", "fields": []}],
    )
    assert api.delete(f"{DATA}/sobjects/Contact/{held}").json()[0]["errorCode"] == "UNABLE_TO_LOCK_ROW"
    clock.now += 2
    assert codes(upsert(api, enrollment("3", "u1"), url=ENROLLMENTS)) == [""]
    assert api.post("/_sandbox/mutate", json={"object": "Contact", "op": "update", "id": held, "fields": {}}).is_success


# Rules


@pytest.mark.parametrize("rule", ["block", "alert"])
def test_a_duplicate_rule_refuses_a_contact_with_a_known_address(api: httpx.Client, rule: str) -> None:
    upsert(api, contact("1", Email="ada@example.com"))
    configure(api, duplicate_rule=rule)
    known = stored(api, "Contact")["1"]["Id"]
    other = contact("2", Email="ADA@example.com")
    (refused,) = upsert(api, other)
    error = refused["errors"][0]
    assert (error["statusCode"], error["message"]) == ("DUPLICATES_DETECTED", "Use one of these records?")
    found = error["duplicateResult"]
    assert (found["allowSave"], found["duplicateRuleEntityType"]) == (rule == "alert", "Contact")
    match = found["matchResults"][0]["matchRecords"][0]["record"]
    assert match == {"attributes": {"type": "Contact", "url": f"{DATA}/sobjects/Contact/{known}"}, "Id": known}
    alone = api.post(f"{DATA}/sobjects/Contact", json={"LastName": "x", "Email": "ada@example.com"})
    assert (alone.status_code, alone.json()[0]["duplicateResut"]) == (400, found)
    assert alone.json()[0].keys() == {"duplicateResut", "errorCode", "message"}
    headers = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    assert codes(upsert(api, other, headers=headers)) == (["DUPLICATES_DETECTED"] if rule == "block" else [""])
    # Its own address is no duplicate, nor is that of a deleted record.
    assert codes(upsert(api, contact("1", Email="ada@example.com", Title="x"))) == [""]
    api.delete(f"{DATA}/sobjects/Contact/{known}")
    api.delete(f"{DATA}/sobjects/Contact/LMS_User_Id__c/2")
    assert codes(upsert(api, contact("3", Email="ada@example.com"))) == [""]


def test_a_validation_rule_refuses_with_its_own_text(api: httpx.Client) -> None:
    rule = {"object": "Contact", "field": "LastName", "pattern": "(?i)^test", "message": "No test people, please"}
    upsert(api, contact("0", LastName="Tester"))
    configure(api, validation_rules=[rule])
    results = upsert(api, contact("1", LastName="Test"), contact("2"))
    expected = {
        "statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "message": "No test people, please",
        "fields": ["LastName"],
    }
    assert (codes(results)[1], results[0]["errors"]) == ("", [expected])
    # A rule looks at the whole record, whatever was written.
    assert api.patch(f"{DATA}/sobjects/Contact/LMS_User_Id__c/0", json={"Title": "x"}).status_code == 400
    change = {"object": "Contact", "op": "create", "fields": {"LastName": "testing"}}
    assert "No test people" in api.post("/_sandbox/mutate", json=change).json()["error"]
    configure(api, validation_rules=[])
    assert codes(upsert(api, contact("1", LastName="Test"))) == [""]


# Row faults


def test_single_rows_are_refused_so_many_times(api: httpx.Client) -> None:
    fault = {
        "object": "Contact",
        "key_pattern": "^2$",
        "statusCode": "UNABLE_TO_LOCK_ROW",
        "message": "unable to obtain exclusive access to this record",
        "times": 2,
    }
    configure(api, row_faults=[fault])
    rows = [contact(str(number)) for number in range(1, 4)]
    assert [codes(upsert(api, *rows))[1] for _ in range(3)] == ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", ""]
    assert sorted(stored(api, "Contact")) == ["1", "2", "3"]
    assert api.get("/_sandbox/stats").json()["records"]["Contact"]["rejected"] == 2


def test_a_share_of_rows_is_refused_in_bulk_and_by_rest(api: httpx.Client) -> None:
    fault = {"object": "Contact", "statusCode": "SOME_CODE", "message": "no", "share": 0.3}
    configure(api, row_faults=[fault])
    refused = codes(upsert(api, *(contact(str(number)) for number in range(200)))).count("SOME_CODE")
    assert 30 < refused < 90
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "LMS_User_Id__c"}
    job = api.post(f"{DATA}/jobs/ingest", json=body).json()["id"]
    content = "LMS_User_Id__c,LastName\n" + "".join(f"b{number},x\n" for number in range(200))
    api.put(f"{DATA}/jobs/ingest/{job}/batches", content=content, headers={"Content-Type": "text/csv"})
    api.patch(f"{DATA}/jobs/ingest/{job}", json={"state": "UploadComplete"})
    while (info := api.get(f"{DATA}/jobs/ingest/{job}").json())["state"] != "JobComplete":
        time.sleep(0.01)
    assert 30 < info["numberRecordsFailed"] < 90
    assert '"SOME_CODE:no:--"' in api.get(f"{DATA}/jobs/ingest/{job}/failedResults").text


# Merges


def test_a_merge_moves_children_and_leaves_a_trace(api: httpx.Client) -> None:
    upsert(api, contact("winner"), contact("loser"))
    upsert(api, enrollment("1", "loser"), enrollment("2", "winner"), url=ENROLLMENTS)
    ids = {key: each["Id"] for key, each in stored(api, "Contact").items()}
    change = {
        "object": "Contact",
        "op": "merge",
        "key_field": "LMS_User_Id__c",
        "key": "loser",
        "into": {"id": ids["winner"]},
    }
    gone = api.post("/_sandbox/mutate", json=change).json()
    assert (gone["Id"], gone["IsDeleted"], gone["MasterRecordId"]) == (ids["loser"], True, ids["winner"])
    children = stored(api, "LMS_Enrollment__c", "LMS_Enrollment_Id__c")
    assert {each["Contact__c"] for each in children.values()} == {ids["winner"]}
    soql = "SELECT Id, MasterRecordId FROM Contact WHERE IsDeleted = true"
    (row,) = api.get(f"{DATA}/queryAll", params={"q": soql}).json()["records"]
    assert (row["Id"], row["MasterRecordId"]) == (ids["loser"], ids["winner"])
    deleted = api.patch(f"{DATA}/sobjects/Contact/{ids['loser']}", json={"Title": "x"})
    assert (deleted.status_code, deleted.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    again = api.post("/_sandbox/mutate", json=change)
    assert again.json()["error"] == "no live Contact with LMS_User_Id__c loser"
    odd = {"object": "LMS_Course__c", "op": "merge", "id": "x", "into": {}}
    assert api.post("/_sandbox/mutate", json=odd).status_code == 400
    fields = {each["name"]: each for each in api.get(f"{DATA}/sobjects/Contact/describe").json()["fields"]}
    assert (fields["MasterRecordId"]["updateable"], fields["MasterRecordId"]["referenceTo"]) == (False, ["Contact"])
    # The key is free again.
    assert upsert(api, contact("loser"), url=CONTACTS)[0]["created"]
