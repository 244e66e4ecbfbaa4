"""Schema changes in the Salesforce simulator behind the clients' backs: describe, writes, queries and bulk jobs obey."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from tests.salesforce_server import (
    CONTACTS,
    DATA,
    ENROLLMENTS,
    Clock,
    codes,
    contact,
    enrollment,
    signed_in,
    stored,
    upsert,
)
from tests.simulator_server import serving

JOBS = f"{DATA}/jobs/ingest"
COMPLETIONS = f"{DATA}/composite/sobjects/LMS_Completion__c/LMS_Completion_Id__c"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(SalesforceSimulator(clock=Clock())) as address:
        yield address


@pytest.fixture
def api(base_url: str) -> Iterator[httpx.Client]:
    with signed_in(base_url) as client:
        yield client


def reshape(api: httpx.Client, op: str, sobject: str = "Contact", **change: Any) -> Any:
    answer = api.post("/_sandbox/schema", json={"object": sobject, "op": op, **change})
    assert answer.is_success, answer.text
    return answer.json()


def refusal(api: httpx.Client, op: str, sobject: str = "Contact", **change: Any) -> str:
    answer = api.post("/_sandbox/schema", json={"object": sobject, "op": op, **change})
    assert answer.status_code == 400
    text: str = answer.json()["error"]
    return text


def described(api: httpx.Client, sobject: str = "Contact") -> dict[str, dict[str, Any]]:
    answer = api.get(f"{DATA}/sobjects/{sobject}/describe")
    assert answer.is_success, answer.text
    return {each["name"]: each for each in answer.json()["fields"]}


def query(api: httpx.Client, text: str) -> httpx.Response:
    return api.get(f"{DATA}/query", params={"q": text})


def bulk(api: httpx.Client, content: str, sobject: str = "Contact", key: str = "LMS_User_Id__c") -> dict[str, Any]:
    body = {"object": sobject, "operation": "upsert", "externalIdFieldName": key}
    job: str = api.post(JOBS, json=body).json()["id"]
    api.put(f"{JOBS}/{job}/batches", content=content, headers={"Content-Type": "text/csv"})
    api.patch(f"{JOBS}/{job}", json={"state": "UploadComplete"})
    return ended(api, job)


def ended(api: httpx.Client, job: str) -> dict[str, Any]:
    while True:
        info: dict[str, Any] = api.get(f"{JOBS}/{job}").json()
        if info["state"] in {"JobComplete", "Failed"}:
            return info | {"failed": api.get(f"{JOBS}/{job}/failedResults").text}
        time.sleep(0.01)


def test_a_new_required_field_refuses_what_lacks_it(api: httpx.Client) -> None:
    upsert(api, contact("old"))
    reshape(api, "add", field="Region__c", to={"type": "string", "length": 20, "required": True})
    region = described(api)["Region__c"]
    assert (region["nillable"], region["defaultedOnCreate"], region["createable"]) == (False, False, True)
    assert (region["length"], region["permissionable"]) == (20, False)
    # Also the record that was there before: the platform asks for the field whenever it is saved.
    assert codes(upsert(api, contact("new"), contact("old", Title="Dr"))) == ["REQUIRED_FIELD_MISSING"] * 2
    assert codes(upsert(api, contact("new", Region__c="EU"), contact("old", Region__c="EU"))) == ["", ""]
    assert codes(upsert(api, contact("old", Title="Dr"))) == [""]
    failed = bulk(api, "LMS_User_Id__c,LastName\nthird,Hopper\n")
    assert "REQUIRED_FIELD_MISSING:Required fields are missing: [Region__c]:Region__c --" in failed["failed"]
    assert set(stored(api, "Contact")) == {"old", "new"}


def test_a_new_optional_field_hinders_nobody(api: httpx.Client) -> None:
    upsert(api, contact("old"))
    reshape(api, "add", field="Nickname__c", to={"type": "string"})
    assert described(api)["Nickname__c"]["nillable"] is True
    assert codes(upsert(api, contact("old", Title="Dr"), contact("new", Nickname__c="Ada"))) == ["", ""]
    assert stored(api, "Contact")["old"]["Nickname__c"] is None
    assert query(api, "SELECT Id FROM Contact WHERE Nickname__c = 'ada'").json()["totalSize"] == 1


@pytest.mark.parametrize("gone", ["drop", "hide", "rename"])
def test_a_field_that_is_gone_is_no_column(api: httpx.Client, gone: str) -> None:
    upsert(api, contact("a", LMS_Username__c="ada"))
    match gone:
        case "drop":
            reshape(api, "drop", field="LMS_Username__c")
        case "hide":
            reshape(api, "access", field="LMS_Username__c", to="none")
        case _:
            reshape(api, "rename", field="LMS_Username__c", to="Login__c")
    assert "LMS_Username__c" not in described(api)
    (refused,) = upsert(api, contact("a", LMS_Username__c="lovelace"))
    assert refused["errors"][0] | {"fields": []} == {
        "statusCode": "INVALID_FIELD",
        "message": "No such column 'LMS_Username__c' on sobject of type Contact",
        "fields": [],
    }
    for text in ("SELECT LMS_Username__c FROM Contact", "SELECT Id FROM Contact WHERE LMS_Username__c = 'ada'"):
        answer = query(api, text)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_FIELD")
        assert "No such column 'LMS_Username__c' on entity 'Contact'" in answer.json()[0]["message"]
    failed = bulk(api, "LMS_User_Id__c,LMS_Username__c\na,lovelace\n")
    assert failed["state"] == "Failed"
    assert failed["errorMessage"] == "InvalidBatch : Field name not found : LMS_Username__c"
    held = stored(api, "Contact")["a"]
    assert {name: held.get(name) for name in ("LMS_Username__c", "Login__c")} == {
        "drop": {"LMS_Username__c": None, "Login__c": None},
        "hide": {"LMS_Username__c": "ada", "Login__c": None},
        "rename": {"LMS_Username__c": None, "Login__c": "ada"},
    }[gone]
    if gone == "rename":
        assert query(api, "SELECT Id FROM Contact WHERE Login__c = 'ada'").json()["totalSize"] == 1
    if gone == "hide":
        reshape(api, "access", field="LMS_Username__c", to="edit")
        assert query(api, "SELECT Id FROM Contact WHERE LMS_Username__c = 'ada'").json()["totalSize"] == 1


def test_a_dropped_field_s_name_can_be_taken_anew_without_its_values(api: httpx.Client) -> None:
    upsert(api, contact("a", LMS_Username__c="ada"))
    for _ in range(2):
        reshape(api, "drop", field="LMS_Username__c")
        reshape(api, "add", field="LMS_Username__c", to={"type": "string", "length": 10})
    assert stored(api, "Contact")["a"]["LMS_Username__c"] is None


def test_a_read_only_field_is_seen_and_not_written(api: httpx.Client) -> None:
    upsert(api, contact("a", LMS_Username__c="ada"))
    reshape(api, "access", field="LMS_Username__c", to="read")
    field = described(api)["LMS_Username__c"]
    assert (field["createable"], field["updateable"]) == (False, False)
    assert codes(upsert(api, contact("a", LMS_Username__c="x"))) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]
    failed = bulk(api, "LMS_User_Id__c,LMS_Username__c\na,x\n")
    assert "INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields: LMS_Username__c." in failed["failed"]
    assert query(api, "SELECT LMS_Username__c FROM Contact").json()["records"][0]["LMS_Username__c"] == "ada"
    change = {"object": "Contact", "op": "update", "key_field": "LMS_User_Id__c", "key": "a"}
    person = api.post("/_sandbox/mutate", json={**change, "fields": {"LMS_Username__c": "by hand"}})
    assert person.json()["LMS_Username__c"] == "by hand"
    reshape(api, "access", field="LMS_User_Id__c", to="read")
    by_key = f"{DATA}/sobjects/Contact/LMS_User_Id__c"
    assert codes(upsert(api, contact("b"))) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]
    refused = api.patch(f"{by_key}/b", json={"LastName": "B"})
    assert refused.json()[0]["errorCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    assert api.patch(f"{by_key}/a", json={"LastName": "Known"}).status_code == 200
    reshape(api, "access", "LMS_Enrollment__c", field="Contact__c", to="read")
    assert codes(upsert(api, enrollment("e", "a"), url=ENROLLMENTS)) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]


def test_lengths_and_digits_narrow(api: httpx.Client) -> None:
    upsert(api, contact("a", LMS_Username__c="a" * 30))
    reshape(api, "change", field="LMS_Username__c", to={"length": 10})
    assert described(api)["LMS_Username__c"]["length"] == 10
    assert codes(upsert(api, contact("b", LMS_Username__c="b" * 11), contact("c", LMS_Username__c="c" * 10))) == [
        "STRING_TOO_LONG",
        "",
    ]
    assert len(stored(api, "Contact")["a"]["LMS_Username__c"]) == 30
    reshape(api, "change", "LMS_Completion__c", field="Progress__c", to={"precision": 3, "scale": 1})
    field = described(api, "LMS_Completion__c")["Progress__c"]
    assert (field["precision"], field["scale"]) == (3, 1)
    row = {"attributes": {"type": "LMS_Completion__c"}}
    rows = [row | {"LMS_Completion_Id__c": key, "Progress__c": value} for key, value in (("x", 100), ("y", 33.37))]
    assert codes(upsert(api, *rows, url=COMPLETIONS)) == ["NUMBER_OUTSIDE_VALID_RANGE", ""]
    assert stored(api, "LMS_Completion__c", "LMS_Completion_Id__c")["y"]["Progress__c"] == pytest.approx(33.4)


def test_picklists_lose_values_and_become_restricted(api: httpx.Client) -> None:
    def listed() -> dict[str, bool]:
        return {each["value"]: each["active"] for each in described(api)["LMS_Status__c"]["picklistValues"]}

    upsert(api, contact("a", LMS_Status__c="suspended"))
    reshape(api, "change", field="LMS_Status__c", to={"inactive": ["suspended"]})
    assert listed() == {"active": True, "suspended": False}
    bad = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert codes(upsert(api, contact("b", LMS_Status__c="suspended"))) == [bad]
    reshape(api, "change", field="LMS_Status__c", to={"values": ["active"], "inactive": []})
    assert listed() == {"active": True}
    assert codes(upsert(api, contact("b", LMS_Status__c="suspended"), contact("a", Title="Dr"))) == [bad, ""]
    assert stored(api, "Contact")["a"]["LMS_Status__c"] == "suspended"
    reshape(api, "change", field="LMS_Status__c", to={"restricted": False})
    assert described(api)["LMS_Status__c"]["restrictedPicklist"] is False
    assert codes(upsert(api, contact("b", LMS_Status__c="anything"))) == [""]
    reshape(api, "change", field="LMS_Status__c", to={"restricted": True})
    assert described(api)["LMS_Status__c"]["restrictedPicklist"] is True
    assert codes(upsert(api, contact("c", LMS_Status__c="anything"))) == [bad]


def test_a_type_changes_and_its_values_with_it(api: httpx.Client) -> None:
    upsert(api, contact("a", LMS_Username__c="17.5"), contact("b", LMS_Username__c="ada"))
    reshape(api, "change", field="LMS_Username__c", to={"type": "double", "precision": 6, "scale": 2})
    field = described(api)["LMS_Username__c"]
    assert (field["type"], field["soapType"], field["length"]) == ("double", "xsd:double", 0)
    assert [each["LMS_Username__c"] for each in stored(api, "Contact").values()] == [17.5, None]
    refused = api.patch(CONTACTS, json={"records": [contact("a", LMS_Username__c="lovelace")]})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    failed = bulk(api, "LMS_User_Id__c,LMS_Username__c\na,lovelace\n")
    assert "INVALID_TYPE_ON_FIELD_IN_RECORD" in failed["failed"]
    reshape(api, "change", field="LMS_Username__c", to={"type": "string", "length": 50})
    assert codes(upsert(api, contact("b", LMS_Username__c="lovelace"))) == [""]


def test_a_key_that_is_no_longer_unique_meets_several_records(api: httpx.Client) -> None:
    upsert(api, contact("a"))
    reshape(api, "change", field="LMS_User_Id__c", to={"unique": False})
    field = described(api)["LMS_User_Id__c"]
    assert (field["unique"], field["externalId"], field["idLookup"]) == (False, True, True)
    api.post(f"{DATA}/sobjects/Contact", json={"LMS_User_Id__c": "A", "LastName": "Twin"})
    assert codes(upsert(api, contact("a", Title="Dr"))) == ["DUPLICATE_EXTERNAL_ID"]
    assert "duplicate values" in refusal(api, "change", field="LMS_User_Id__c", to={"unique": True})


def test_a_field_that_is_no_external_id_any_more_is_no_key(api: httpx.Client) -> None:
    upsert(api, contact("a"))
    reshape(api, "change", field="LMS_User_Id__c", to={"external_id": False, "unique": False})
    field = described(api)["LMS_User_Id__c"]
    assert (field["unique"], field["externalId"], field["idLookup"]) == (False, False, False)
    answer = api.patch(CONTACTS, json={"records": [contact("a")]})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "LMS_User_Id__c"}
    assert api.post(JOBS, json=body).json()[0]["errorCode"] == "INVALIDJOB"
    (refused,) = upsert(api, enrollment("e", "a"), url=ENROLLMENTS)
    assert refused["errors"][0]["statusCode"] == "INVALID_FIELD"


@pytest.mark.parametrize("gone", ["drop", "hide"])
def test_an_object_that_is_gone_is_nowhere(api: httpx.Client, gone: str) -> None:
    upsert(api, contact("a"))
    upsert(api, enrollment("e", "a"), url=ENROLLMENTS)
    if gone == "drop":
        reshape(api, "drop", "LMS_Enrollment__c")
    else:
        reshape(api, "access", "LMS_Enrollment__c", to="none")
    assert api.get(f"{DATA}/sobjects/LMS_Enrollment__c/describe").status_code == 404
    names = [each["name"] for each in api.get(f"{DATA}/sobjects").json()["sobjects"]]
    assert "LMS_Enrollment__c" not in names
    children = api.get(f"{DATA}/sobjects/Contact/describe").json()["childRelationships"]
    assert "LMS_Enrollment__c" not in [each["childSObject"] for each in children]
    assert api.patch(ENROLLMENTS, json={"records": [enrollment("e", "a")]}).status_code == 404
    assert query(api, "SELECT Id FROM LMS_Enrollment__c").json()[0]["errorCode"] == "INVALID_TYPE"
    body = {"object": "LMS_Enrollment__c", "operation": "upsert", "externalIdFieldName": "LMS_Enrollment_Id__c"}
    assert api.post(JOBS, json=body).json()[0]["errorCode"] == "INVALIDJOB"
    kept = api.get("/_sandbox/records/LMS_Enrollment__c")
    assert kept.status_code == (400 if gone == "drop" else 200)


@pytest.mark.parametrize("gone", ["field", "parent"])
def test_a_lookup_that_is_gone_is_no_relationship(api: httpx.Client, gone: str) -> None:
    upsert(api, contact("a"))
    upsert(api, enrollment("e", "a"), url=ENROLLMENTS)
    if gone == "field":
        reshape(api, "drop", "LMS_Enrollment__c", field="Course__c")
    else:
        reshape(api, "drop", "LMS_Course__c")
    assert "Course__c" not in described(api, "LMS_Enrollment__c")
    course = {"Course__r": {"LMS_Course_Id__c": "c"}}
    assert codes(upsert(api, enrollment("e", "a", **course), url=ENROLLMENTS)) == ["INVALID_FIELD"]
    answer = query(api, "SELECT Course__r.LMS_Course_Id__c FROM LMS_Enrollment__c")
    assert "Didn't understand relationship 'Course__r'" in answer.json()[0]["message"]
    failed = bulk(
        api, "LMS_Enrollment_Id__c,Course__r.LMS_Course_Id__c\ne,c\n", "LMS_Enrollment__c", "LMS_Enrollment_Id__c"
    )
    assert failed["errorMessage"] == "InvalidBatch : Field name not found : Course__r.LMS_Course_Id__c"


def test_a_relationship_to_an_object_that_cannot_be_seen_is_none(api: httpx.Client) -> None:
    upsert(api, contact("a"))
    reshape(api, "access", "Contact", to="none")
    (refused,) = upsert(api, enrollment("e", "a"), url=ENROLLMENTS)
    assert refused["errors"][0]["message"] == "No such column 'Contact__r' on sobject of type LMS_Enrollment__c"


def test_a_job_at_work_meets_the_change_at_once(api: httpx.Client) -> None:
    api.post("/_sandbox/options", json={"bulk_batch_rows": 100, "bulk_batch_seconds": 0.2})
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "LMS_User_Id__c"}
    job: str = api.post(JOBS, json=body).json()["id"]
    content = "LMS_User_Id__c,LastName,LMS_Username__c\n" + "".join(f"{n},Name,user{n}\n" for n in range(300))
    api.put(f"{JOBS}/{job}/batches", content=content, headers={"Content-Type": "text/csv"})
    api.patch(f"{JOBS}/{job}", json={"state": "UploadComplete"})
    while api.get(f"{JOBS}/{job}").json()["numberRecordsProcessed"] < 100:
        time.sleep(0.01)
    reshape(api, "drop", field="LMS_Username__c")
    done = ended(api, job)
    assert (done["state"], done["errorMessage"]) == (
        "Failed",
        "InvalidBatch : Field name not found : LMS_Username__c",
    )
    assert len(stored(api, "Contact")) == done["numberRecordsProcessed"] < 300
    rest = api.get(f"{JOBS}/{job}/unprocessedrecords").text
    assert len(rest.splitlines()) == 1 + 300 - done["numberRecordsProcessed"]


def test_clients_that_ask_whether_it_changed_are_told(api: httpx.Client) -> None:
    url = f"{DATA}/sobjects/Contact/describe"
    seen = api.get(url).headers["Last-Modified"]
    assert api.get(url, headers={"If-Modified-Since": seen}).status_code == 304
    reshape(api, "add", field="Nickname__c", to={"type": "string"})
    changed = api.get(url, headers={"If-Modified-Since": seen})
    assert changed.status_code == 200
    seen = changed.headers["Last-Modified"]
    reshape(api, "drop", field="Nickname__c")
    assert api.get(url, headers={"If-Modified-Since": seen}).status_code == 200


def test_a_reset_undoes_all_of_it(api: httpx.Client) -> None:
    before = described(api)
    answer = api.post(
        "/_sandbox/schema",
        json=[
            {"object": "Contact", "op": "drop", "field": "LMS_Username__c"},
            {"object": "Contact", "op": "add", "field": "Region__c", "to": {"type": "string", "required": True}},
            {"object": "LMS_Course__c", "op": "drop"},
        ],
    )
    assert answer.json() == {"object": "LMS_Course__c", "visible": False, "fields": []}
    assert described(api) != before
    with signed_in(str(api.base_url)) as again:
        assert described(again) == before
        assert described(again, "LMS_Enrollment__c")["Course__c"]["referenceTo"] == ["LMS_Course__c"]


def test_a_changed_schema_is_kept_between_starts() -> None:
    first = SalesforceSimulator(clock=Clock())
    first.mutate({"object": "Contact", "op": "create", "fields": {"LastName": "Ada", "LMS_Username__c": "ada"}})
    for change in (
        {"op": "rename", "field": "LMS_Username__c", "to": "Login__c"},
        {"op": "drop", "field": "LMS_Country__c"},
        {
            "op": "add",
            "field": "LMS_Country__c",
            "to": {"type": "picklist", "values": ["GB", "FR"], "inactive": ["FR"]},
        },
        {"op": "access", "field": "Login__c", "to": "none"},
    ):
        first.reshape({"object": "Contact", **change})
    second = SalesforceSimulator(clock=Clock())
    second.load(first.dump())
    assert list(second.records("Contact")) == list(first.records("Contact"))
    assert second.dump() == first.dump()


def test_what_setup_refuses_is_refused(api: httpx.Client) -> None:
    assert "standard field" in refusal(api, "change", field="Email", to={"length": 10})
    assert "standard field" in refusal(api, "drop", field="LastName")
    assert "standard object" in refusal(api, "drop")
    assert "is required" in refusal(api, "access", field="LastName", to="none")
    assert "no field Id" in refusal(api, "access", field="Id", to="none")
    assert "unknown object" in refusal(api, "drop", "Nope__c", field="X__c")
    assert "unknown operation" in refusal(api, "shrink", field="LMS_Username__c")
    assert "no field Nope__c" in refusal(api, "drop", field="Nope__c")
    assert "has a field LMS_Status__c already" in refusal(api, "rename", field="LMS_Username__c", to="LMS_Status__c")
    assert "ends in __c" in refusal(api, "add", field="Region", to={"type": "string"})
    assert "needs values" in refusal(api, "change", field="LMS_Username__c", to={"type": "picklist"})
    assert "holds 1 to 255 characters" in refusal(api, "change", field="LMS_Username__c", to={"length": 300})
    assert "wrong attribute lenght" in refusal(api, "change", field="LMS_Username__c", to={"lenght": 3})
    assert "a lookup remains one" in refusal(
        api, "change", "LMS_Enrollment__c", field="Course__c", to={"type": "string"}
    )
    assert "open to everybody" in _required_but_hidden(api)


def _required_but_hidden(api: httpx.Client) -> str:
    reshape(api, "access", field="LMS_Country__c", to="none")
    return refusal(api, "change", field="LMS_Country__c", to={"required": True})
