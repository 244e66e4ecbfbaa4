"""The Salesforce simulator over real HTTP, with httpx for the wire's letter and simple-salesforce for its use."""

import gzip
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceMoreThanOneRecord

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.salesforce import SalesforceSimulator
from lms_crm_assets.sandbox.salesforce.ids import long_id
from tests.salesforce_server import CONTACTS, DATA, FORM, NOW, Clock, LoopbackSession, contact, sign_in
from tests.simulator_server import serving

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
NOT_FOUND = [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]
EXPIRED = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def simulator(clock: Clock) -> SalesforceSimulator:
    return SalesforceSimulator(clock=clock)


@pytest.fixture(scope="module")
def base_url(simulator: SalesforceSimulator) -> Iterator[str]:
    with serving(simulator) as found:
        yield found


@pytest.fixture
def anonymous(base_url: str, clock: Clock) -> Iterator[httpx.Client]:
    """A client without a session, on an org that is empty."""
    clock.now = NOW
    with httpx.Client(base_url=base_url) as client:
        client.post("/_sandbox/reset")
        yield client


@pytest.fixture
def api(anonymous: httpx.Client) -> httpx.Client:
    sign_in(anonymous)
    return anonymous


@pytest.fixture
def salesforce(anonymous: httpx.Client) -> Iterator[Any]:
    """A signed-in simple-salesforce; Any, because its attributes are typed as three things at once."""
    with LoopbackSession(str(anonymous.base_url).rstrip("/")) as session:
        yield Salesforce(
            consumer_key="sandbox-client", consumer_secret="sandbox-secret", domain="sandbox", session=session
        )


def upsert(api: httpx.Client, *records: dict[str, Any], url: str = CONTACTS, **more: Any) -> Any:
    answer = api.patch(url, json={"records": records, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def query(api: httpx.Client, soql: str, resource: str = "query") -> Any:
    answer = api.get(f"{DATA}/{resource}", params={"q": soql})
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(api: httpx.Client, condition: str) -> list[str]:
    found = query(api, f"SELECT LMS_User_Id__c FROM Contact WHERE {condition}")
    return [record["LMS_User_Id__c"] for record in found["records"]]


# Tokens


@pytest.mark.parametrize(
    ("form", "basic"),
    [
        (FORM, None),
        ({"grant_type": "client_credentials"}, ("sandbox-client", "sandbox-secret")),
        (FORM | {"grant_type": "password", "username": "sandbox@example.com", "password": "sandbox-password"}, None),
        (FORM | {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}, None),
    ],
)
def test_each_grant_gives_a_token_that_opens_the_api(
    anonymous: httpx.Client, base_url: str, form: dict[str, str], basic: tuple[str, str] | None
) -> None:
    authorization = httpx.BasicAuth(*basic) if basic else httpx.USE_CLIENT_DEFAULT
    answer = anonymous.post("/services/oauth2/token", data=form, auth=authorization).json()
    assert {"access_token", "instance_url", "id", "token_type", "issued_at", "signature", "scope"} <= answer.keys()
    assert "expires_in" not in answer
    assert answer["instance_url"] == base_url
    assert ("api_instance_url" in answer) == (form["grant_type"] == "client_credentials")
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert anonymous.get(f"{DATA}/limits", headers=headers).status_code == 200


def assertion(**claims: Any) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    all_claims = {"iss": "sandbox-client", "sub": "u", "aud": "https://login.salesforce.com", "exp": int(NOW) + 180}
    return jwt.encode({k: v for k, v in (all_claims | claims).items() if v is not None}, key, algorithm="RS256")


@pytest.mark.parametrize(
    ("form", "status", "error", "description"),
    [
        (FORM | {"client_id": "x"}, 400, "invalid_client_id", "client identifier invalid"),
        (FORM | {"client_secret": "x"}, 400, "invalid_client", "invalid client credentials"),
        (FORM | {"grant_type": "magic"}, 400, "unsupported_grant_type", "grant type not supported"),
        (FORM | {"grant_type": "password", "username": "x"}, 400, "invalid_grant", "authentication failure"),
        (FORM | {"grant_type": "refresh_token"}, 400, "invalid_grant", "expired access/refresh token"),
        ({"grant_type": JWT_GRANT, "assertion": "a.b.c"}, 400, "invalid_grant", "invalid assertion"),
        (
            {"grant_type": JWT_GRANT, "assertion": assertion(iss="x")},
            400,
            "invalid_client_id",
            "client identifier invalid",
        ),
        ({"grant_type": JWT_GRANT, "assertion": assertion(aud=None)}, 400, "invalid_grant", "audience is invalid"),
        ({"grant_type": JWT_GRANT, "assertion": assertion(exp=None)}, 400, "invalid_grant", "invalid assertion"),
        ({"grant_type": JWT_GRANT, "assertion": assertion(exp=int(NOW))}, 400, "invalid_grant", "invalid assertion"),
    ],
)
def test_a_wrong_token_request_is_refused(
    anonymous: httpx.Client, form: dict[str, str], status: int, error: str, description: str
) -> None:
    answer = anonymous.post("/services/oauth2/token", data=form)
    assert (answer.status_code, answer.json()) == (status, {"error": error, "error_description": description})


def test_a_wrong_basic_header_is_401(anonymous: httpx.Client) -> None:
    answer = anonymous.post(
        "/services/oauth2/token", data={"grant_type": "client_credentials"}, auth=("sandbox-client", "x")
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_a_rotated_refresh_token_works_once(anonymous: httpx.Client) -> None:
    anonymous.post("/_sandbox/reset", json={"rotate_refresh_tokens": True})
    form = FORM | {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    rotated = anonymous.post("/services/oauth2/token", data=form).json()["refresh_token"]
    assert anonymous.post("/services/oauth2/token", data=form).status_code == 400
    again = anonymous.post("/services/oauth2/token", data=form | {"refresh_token": rotated}).json()
    assert again["refresh_token"] != rotated


def test_jwt_login_of_simple_salesforce(base_url: str, clock: Clock) -> None:
    clock.now = time.time()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with LoopbackSession(base_url) as session:
        client = Salesforce(username="u", consumer_key="sandbox-client", privatekey=pem, session=session)
        assert client.limits()["DailyApiRequests"]["Max"] == 100_000


def test_a_session_ends_with_its_calls_or_its_time(anonymous: httpx.Client, clock: Clock) -> None:
    anonymous.post("/_sandbox/reset", json={"token_calls": 2, "token_seconds": 60})
    sign_in(anonymous)
    answers = [anonymous.get(f"{DATA}/limits") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert answers[2].json() == EXPIRED
    sign_in(anonymous)
    clock.now += 60
    assert anonymous.get(f"{DATA}/limits").json() == EXPIRED


def test_requests_without_a_session_are_refused(anonymous: httpx.Client) -> None:
    assert anonymous.get(f"{DATA}/limits").json() == EXPIRED
    odd = anonymous.get(f"{DATA}/limits", headers={"Authorization": "Basic eDp5"})
    assert (odd.status_code, odd.json()[0]["errorCode"]) == (401, "INVALID_AUTH_HEADER")
    assert anonymous.get("/services/data").json()[-1]["version"] == "68.0"


def test_simple_salesforce_refreshes_an_ended_session(salesforce: Any, clock: Clock) -> None:
    salesforce.Contact.create({"LastName": "Hopper"})
    clock.now += 7200
    assert salesforce.query("SELECT COUNT() FROM Contact")["totalSize"] == 1


# The shape of requests


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", f"{DATA}/jobs/odd", 404, NOT_FOUND),
        ("GET", "/services/data/v30.0/limits", 404, NOT_FOUND),
        ("GET", "/services/data/v69.0/limits", 404, NOT_FOUND),
        ("PATCH", CONTACTS.replace("v59", "v45"), 404, NOT_FOUND),
        ("GET", f"{DATA}/sobjects/Nope/describe", 404, NOT_FOUND),
        (
            "PATCH",
            f"{DATA}/sobjects/Contact/FirstName/x",
            404,
            "Provided external ID field does not exist or is not accessible: FirstName",
        ),
        (
            "GET",
            f"{DATA}/sobjects/Contact/abc",
            404,
            "Provided external ID field does not exist or is not accessible: abc",
        ),
        ("GET", f"{DATA}/sobjects/Contact/0035i0000000009AAA", 404, NOT_FOUND),
        ("POST", f"{DATA}/query", 405, "HTTP Method 'POST' not allowed. Allowed are GET,HEAD"),
        ("PUT", f"{DATA}/sobjects/Contact/x", 405, "HTTP Method 'PUT' not allowed. Allowed are DELETE,GET,HEAD,PATCH"),
    ],
)
def test_wrong_addresses_are_refused(api: httpx.Client, method: str, path: str, status: int, body: Any) -> None:
    answer = api.request(method, path, content=b"{}" if method == "PATCH" else None)
    shown = answer.json() if isinstance(body, list) else answer.json()[0]["message"]
    assert (answer.status_code, shown) == (status, body)
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=1/100000"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The HTTP entity body is required, but this request has no entity body."),
        (b'{"LastName": "x"', "Unexpected end-of-input at [line:1, column:17]"),
        (b"{'LastName': 1}", "Unexpected character (''' (code 39)): expected a valid value at [line:1, column:2]"),
        (
            b"[]",
            "Cannot deserialize instance of sobject from START_ARRAY value [ or request may be missing a required field at [line:1, column:1]",
        ),
        (
            b'{\n "LastName": 5}',
            "Cannot deserialize instance of string from VALUE_NUMBER_INT value 5 or request may be missing a required field at [line:2, column:14]",
        ),
        (
            b'{"LastName": true}',
            "Cannot deserialize instance of string from VALUE_TRUE value true or request may be missing a required field at [line:1, column:14]",
        ),
    ],
)
def test_a_body_that_is_no_record_is_a_parser_error(api: httpx.Client, content: bytes, message: str) -> None:
    answer = api.post(f"{DATA}/sobjects/Contact", content=content)
    assert (answer.status_code, answer.json()) == (400, [{"message": message, "errorCode": "JSON_PARSER_ERROR"}])


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("Progress__c", "12", "double from VALUE_STRING value 12"),
        ("Progress__c", True, "double from VALUE_TRUE value true"),
        ("Completed_At__c", "2017-10-17 00:00:00", "datetime from VALUE_STRING value 2017-10-17 00:00:00"),
        ("Completed_At__c", "2017-10-17T00:00:00", "datetime from VALUE_STRING value 2017-10-17T00:00:00"),
        ("Completed_At__c", 1508198400, "datetime from VALUE_NUMBER_INT value 1508198400"),
        ("State__c", {}, "string from START_OBJECT value {"),
    ],
)
def test_one_wrong_json_type_refuses_the_whole_batch(api: httpx.Client, field: str, value: Any, shown: str) -> None:
    good = {"attributes": {"type": "LMS_Completion__c"}, "LMS_Completion_Id__c": "1"}
    url = f"{DATA}/composite/sobjects/LMS_Completion__c/LMS_Completion_Id__c"
    answer = api.patch(url, json={"records": [good, good | {"LMS_Completion_Id__c": "2", field: value}]})
    assert answer.status_code == 400
    assert answer.json()[0]["errorCode"] == "JSON_PARSER_ERROR"
    assert answer.json()[0]["message"].startswith(f"Cannot deserialize instance of {shown} or request may be missing")
    assert query(api, "SELECT COUNT() FROM LMS_Completion__c")["totalSize"] == 0


def test_request_and_answer_bodies_may_be_compressed(api: httpx.Client) -> None:
    body = orjson.dumps({"records": [contact(str(number)) for number in range(100)]})
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        answer = api.patch(CONTACTS, content=packed, headers={"Content-Encoding": encoding, "Accept-Encoding": "gzip"})
        assert (answer.status_code, answer.headers["Content-Encoding"], len(answer.json())) == (200, "gzip", 100)
    plain = api.get(f"{DATA}/sobjects", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert api.post(CONTACTS, content=b"x", headers={"Content-Encoding": "br"}).status_code == 415
    typed = api.post(f"{DATA}/sobjects/Contact", content=b"<a/>", headers={"Content-Type": "text/xml"})
    assert (typed.status_code, typed.json()[0]["errorCode"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_the_daily_limit_counts_down_and_refuses(anonymous: httpx.Client, clock: Clock) -> None:
    anonymous.post("/_sandbox/reset", json={"daily_limit": 2})
    sign_in(anonymous)
    first, second, third = (anonymous.get(f"{DATA}/limits") for _ in range(3))
    assert first.json()["DailyApiRequests"] == {"Max": 2, "Remaining": 1}
    assert second.headers["Sforce-Limit-Info"] == "api-usage=2/2"
    assert third.status_code == 403
    assert third.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    clock.now += 86_400
    sign_in(anonymous)
    assert anonymous.get(f"{DATA}/limits").status_code == 200


# Describe


def test_describe_tells_what_is_required_and_how_fields_are_keyed(api: httpx.Client) -> None:
    described = api.get(f"{DATA}/sobjects/contact/describe").json()
    fields = {field["name"]: field for field in described["fields"]}
    required = [n for n, f in fields.items() if f["createable"] and not f["nillable"] and not f["defaultedOnCreate"]]
    assert (described["name"], described["keyPrefix"], required) == ("Contact", "003", ["LastName"])
    key = fields["LMS_User_Id__c"]
    assert (key["externalId"], key["unique"], key["idLookup"], key["caseSensitive"], key["length"]) == (
        True,
        True,
        True,
        False,
        64,
    )
    assert [value["value"] for value in fields["LMS_Status__c"]["picklistValues"]] == ["active", "suspended"]
    assert fields["LMS_Status__c"]["restrictedPicklist"]
    assert fields["AccountId"]["referenceTo"] == ["Account"]
    assert not fields["Name"]["createable"]
    assert {child["childSObject"] for child in described["childRelationships"]} == {
        "LMS_Enrollment__c",
        "LMS_Completion__c",
        "LMS_Competency__c",
    }


def test_describe_is_304_when_nothing_changed(api: httpx.Client) -> None:
    url = f"{DATA}/sobjects/Contact/describe"
    changed = api.get(url).headers["Last-Modified"]
    answer = api.get(url, headers={"If-Modified-Since": changed})
    assert (answer.status_code, answer.content) == (304, b"")
    assert api.get(url, headers={"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}).status_code == 200


def test_simple_salesforce_describes_and_reads_metadata(salesforce: Any) -> None:
    assert "LMS_Course__c" in [each["name"] for each in salesforce.describe()["sobjects"]]
    assert salesforce.LMS_Enrollment__c.describe()["fields"][0]["name"] == "Id"
    assert salesforce.Contact.metadata()["objectDescribe"]["keyPrefix"] == "003"


# Single records


def test_a_record_is_created_read_updated_and_deleted(salesforce: Any, api: httpx.Client) -> None:
    created = salesforce.Contact.create({"LastName": "Lovelace", "FirstName": "Ada"})
    assert created == {"id": "0035i0000000001AAA", "success": True, "errors": []}
    assert salesforce.Contact.get(created["id"])["Name"] == "Ada Lovelace"
    assert salesforce.Contact.update(created["id"], {"FirstName": None}) == 204
    read = api.get(f"{DATA}/sobjects/Contact/0035i0000000001", params={"fields": "Name,createddate"}).json()
    url = f"{DATA}/sobjects/Contact/{created['id']}"
    assert read == {
        "attributes": {"type": "Contact", "url": url},
        "Name": "Lovelace",
        "CreatedDate": "2026-11-22T22:50:00.000+0000",
    }
    assert salesforce.Contact.delete(created["id"]) == 204
    gone = api.get(url)
    assert (gone.status_code, gone.json()) == (
        404,
        [{"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}],
    )
    assert query(api, "SELECT Id FROM Contact")["totalSize"] == 0
    assert query(api, "SELECT Id, IsDeleted FROM Contact", "queryAll")["records"][0]["IsDeleted"]


def test_upsert_by_key_creates_then_updates(api: httpx.Client) -> None:
    url = f"{DATA}/sobjects/Contact/LMS_User_Id__c/u%2F1"
    first = api.patch(url, json={"LastName": "A"})
    done = {"id": "0035i0000000001AAA", "success": True, "errors": []}
    assert (first.status_code, first.json()) == (201, done | {"created": True})
    second = api.patch(url.replace("u%2F1", "U%2F1"), json={"LastName": "B"})
    assert (second.status_code, second.json()) == (200, done | {"created": False})
    assert api.patch(url.replace("v59", "v45"), json={"LastName": "C"}).status_code == 204
    assert api.get(url).json()["LastName"] == "C"
    only = api.patch(f"{DATA}/sobjects/Contact/LMS_User_Id__c/new?updateOnly=true", json={"LastName": "D"})
    assert (only.status_code, only.json()) == (404, NOT_FOUND)
    for name in ("LMS_User_Id__c", "Id"):
        refused = api.patch(url, json={"LastName": "E", name: "u/1"})
        message = f"The {name} field should not be specified in the sobject data."
        assert (refused.status_code, refused.json()) == (
            400,
            [{"message": message, "errorCode": "INVALID_FIELD", "fields": []}],
        )
    assert api.delete(url).status_code == 204
    assert api.get(url).json() == NOT_FOUND


def test_a_key_that_several_records_hold_answers_300_with_their_urls(api: httpx.Client, salesforce: Any) -> None:
    sign_in(api)
    upsert(api, contact("1", Email="a@example.com"), contact("2", Email="A@Example.com"))
    answer = api.get(f"{DATA}/sobjects/Contact/Email/a@example.com")
    assert (answer.status_code, len(answer.json()), answer.json()[0][:30]) == (300, 2, f"{DATA}/sobjects/C"[:30])
    with pytest.raises(SalesforceMoreThanOneRecord):
        salesforce.Contact.upsert("Email/a@example.com", {"LastName": "x"})
    (result,) = upsert(api, contact("3", Email="a@example.com"), url=f"{DATA}/composite/sobjects/Contact/Email")
    assert result["errors"][0]["statusCode"] == "DUPLICATE_EXTERNAL_ID"


def test_ids_carry_the_check_characters_of_real_ones() -> None:
    assert long_id("001D000000IqhSL") == "001D000000IqhSLIAZ"  # REST guide, sObject Rows
    assert long_id("001D000000IqhSLIAA") is None


def test_a_write_to_an_id_that_never_was_is_a_404(api: httpx.Client) -> None:
    answer = api.patch(f"{DATA}/sobjects/Contact/0035i0000000009AAA", json={"LastName": "x"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "INVALID_CROSS_REFERENCE_KEY")


# The rules of a row

READ_ONLY = "Please check the security settings of this field and verify that it is read/write for your profile or permission set."


@pytest.mark.parametrize(
    ("values", "code", "message", "fields"),
    [
        ({"foo": 1}, "INVALID_FIELD", "No such column 'foo' on sobject of type Contact", []),
        ({"Course__r": {"Name": "x"}}, "INVALID_FIELD", "No such column 'Course__r' on sobject of type Contact", []),
        ({"LastName": " "}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"]),
        (
            {"LMS_Country__c": "GBR"},
            "STRING_TOO_LONG",
            "LMS Country: data value too large: GBR (max length=2)",
            ["LMS_Country__c"],
        ),
        (
            {"LMS_Status__c": "x"},
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "LMS Status: bad value for restricted picklist field: x",
            ["LMS_Status__c"],
        ),
        ({"Email": "x@y"}, "INVALID_EMAIL_ADDRESS", "Email: invalid email address: x@y", ["Email"]),
        (
            {"LMS_User_Id__c": "TAKEN"},
            "DUPLICATE_VALUE",
            "duplicate value found: LMS_User_Id__c duplicates value on record with id: 0035i0000000001",
            ["LMS_User_Id__c"],
        ),
        (
            {"CreatedDate": "x"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            f"Unable to create/update fields: CreatedDate. {READ_ONLY}",
            ["CreatedDate"],
        ),
        ({"AccountId": "x"}, "MALFORMED_ID", "Account ID: id value of incorrect type: x", ["AccountId"]),
        (
            {"AccountId": "0035i0000000001AAA"},
            "FIELD_INTEGRITY_EXCEPTION",
            "Account ID: id value of incorrect type: 0035i0000000001AAA",
            ["AccountId"],
        ),
        (
            {"AccountId": "0015i0000000001AAA"},
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            ["AccountId"],
        ),
    ],
)
def test_a_row_is_refused_alone_and_in_a_batch(
    api: httpx.Client, values: dict[str, Any], code: str, message: str, fields: list[str]
) -> None:
    upsert(api, contact("taken"))
    alone = api.post(f"{DATA}/sobjects/Contact", json=contact("new") | values)
    assert (alone.status_code, alone.json()) == (400, [{"message": message, "errorCode": code, "fields": fields}])
    refused, created = api.post(
        f"{DATA}/composite/sobjects", json={"records": [contact("new") | values, contact("ok")]}
    ).json()
    assert refused == {"success": False, "errors": [{"statusCode": code, "message": message, "fields": fields}]}
    assert created["success"]


def test_values_are_normalised_as_the_platform_does(api: httpx.Client) -> None:
    upsert(api, contact("1", FirstName="  Ada ", Email="Ada@Example.COM", Title=""))
    (shown,) = query(api, "SELECT FirstName, Email, Title FROM Contact")["records"]
    assert (shown["FirstName"], shown["Email"], shown["Title"]) == ("Ada", "ada@example.com", None)
    course = {
        "attributes": {"type": "LMS_Course__c"},
        "Name": "C",
        "LMS_Course_Id__c": "1",
        "Starts_At__c": "2026-11-23T00:50:00.999+0200",
    }
    completion = {
        "attributes": {"type": "LMS_Completion__c"},
        "LMS_Completion_Id__c": "1",
        "Progress__c": 99.005,
        "Score__c": 7,
    }
    api.post(f"{DATA}/composite/sobjects", json={"records": [course, completion]})
    (shown,) = query(api, "SELECT Name, Starts_At__c, Visible__c FROM LMS_Course__c")["records"]
    assert (shown["Starts_At__c"], shown["Visible__c"]) == ("2026-11-22T22:50:00.000+0000", False)
    (shown,) = query(api, "SELECT Name, Progress__c, Score__c FROM LMS_Completion__c")["records"]
    assert (shown["Name"], shown["Progress__c"], shown["Score__c"]) == ("CMP-00000001", 99.01, 7.0)
    url = f"{DATA}/sobjects/LMS_Completion__c"
    assert api.post(url, json={"Progress__c": 1000}).json()[0]["errorCode"] == "NUMBER_OUTSIDE_VALID_RANGE"
    nulled = api.post(f"{DATA}/sobjects/LMS_Course__c", json={"Name": "x", "Visible__c": None})
    assert nulled.json()[0]["errorCode"] == "INVALID_TYPE_ON_FIELD_IN_RECORD"


# Collections


def test_collections_results_come_in_input_order_with_row_errors(api: httpx.Client) -> None:
    results = upsert(api, contact("1"), contact("2", Email="bad"), contact("3"))
    assert [result["success"] for result in results] == [True, False, True]
    assert [result["created"] for result in upsert(api, contact("3"), contact("4"))] == [False, True]
    stats = api.get("/_sandbox/stats").json()
    assert stats["records"]["Contact"] == {"created": 3, "rejected": 1, "unchanged": 1}
    assert stats["requests"]["PATCH /services/data/{version}/composite/sobjects/{sobject}/{field}"] == {"200": 2}


def test_all_rows_that_share_a_key_are_refused(api: httpx.Client) -> None:
    results = upsert(api, contact("a"), contact("b"), contact("A", LastName="x"))
    error = {
        "statusCode": "DUPLICATE_VALUE",
        "message": "Duplicate external id specified: A",
        "fields": ["LMS_User_Id__c"],
    }
    assert [result["success"] for result in results] == [False, True, False]
    assert results[2]["errors"] == [error]


def test_all_or_none_takes_everything_back(api: httpx.Client) -> None:
    upsert(api, contact("1", FirstName="Ada"))
    results = upsert(api, contact("1", FirstName="x"), contact("2"), contact("3", Email="bad"), allOrNone=True)
    codes = [result["errors"][0]["statusCode"] for result in results]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK"] * 2 + ["INVALID_EMAIL_ADDRESS"]
    assert keys(api, "FirstName = 'Ada'") == ["1"]
    assert [result["created"] for result in upsert(api, contact("2"), contact("3"))] == [True, True]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"records": [contact(str(number)) for number in range(201)]}, "EXCEEDED_ID_LIMIT"),
        ({"records": [{"LMS_User_Id__c": "1", "LastName": "x"}]}, "INVALID_INPUT"),
        ({"records": [{"attributes": {"type": "Nope"}}]}, "INVALID_TYPE"),
        ({"records": [contact("1"), {"attributes": {"type": "LMS_Course__c"}}]}, "INVALID_TYPE"),
        ({"records": {}}, "JSON_PARSER_ERROR"),
        ({"records": ["x"]}, "JSON_PARSER_ERROR"),
        ({"records": [], "allornone": True}, "JSON_PARSER_ERROR"),
        ({"records": [], "allOrNone": "true"}, "JSON_PARSER_ERROR"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_refused_as_a_whole(api: httpx.Client, body: dict[str, Any], code: str) -> None:
    answer = api.patch(CONTACTS, json=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert query(api, "SELECT COUNT() FROM Contact")["totalSize"] == 0


def test_a_row_needs_its_key_and_no_id(api: httpx.Client) -> None:
    rows = [
        contact("1", LMS_User_Id__c=None),
        contact("2", Id="0035i0000000001AAA"),
        contact("x" * 65),
        contact("none"),
    ]
    results = upsert(api, *rows)
    codes = [r["errors"][0]["statusCode"] for r in results if not r["success"]]
    assert codes == ["MISSING_ARGUMENT", "INVALID_FIELD", "STRING_TOO_LONG"]
    assert results[3]["created"]
    odd = api.patch(
        f"{DATA}/composite/sobjects", json={"records": [contact("3", id=results[3]["id"]), contact("4", id=5)]}
    )
    assert (odd.status_code, odd.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    assert keys(api, "Id != null") == ["none"]


def test_lookups_by_external_id(api: httpx.Client) -> None:
    upsert(api, contact("u1"))
    url = f"{DATA}/composite/sobjects/LMS_Enrollment__c/LMS_Enrollment_Id__c"

    def enrollment(key: str, **values: Any) -> dict[str, Any]:
        return {"attributes": {"type": "LMS_Enrollment__c"}, "LMS_Enrollment_Id__c": key} | values

    results = upsert(
        api,
        enrollment("1", Contact__r={"LMS_User_Id__c": "U1"}),
        enrollment("2", Contact__r=None),
        enrollment("3", Contact__r={"LMS_User_Id__c": "1580"}),
        enrollment("4", Contakt__r={"LMS_User_Id__c": "u1"}),
        enrollment("5", Contact__r={"FirstName": "u1"}),
        enrollment("6", Contact__c="0035i0000000001"),
        url=url,
    )
    assert [result["success"] for result in results] == [True, True, False, False, False, True]
    assert [result["errors"][0]["message"] for result in results if result["errors"]] == [
        "Foreign key external ID: 1580 not found for field LMS_User_Id__c in entity Contact",
        "No such column 'Contakt__r' on sobject of type LMS_Enrollment__c",
        "Field name provided, FirstName does not match an External ID, Salesforce Id, or indexed field for Contact",
    ]
    found = query(api, "SELECT Contact__c, Contact__r.LMS_User_Id__c FROM LMS_Enrollment__c ORDER BY Name")["records"]
    parent = {
        "attributes": {"type": "Contact", "url": f"{DATA}/sobjects/Contact/0035i0000000001AAA"},
        "LMS_User_Id__c": "u1",
    }
    assert [each["Contact__r"] for each in found] == [parent, None, parent]
    api.delete(f"{DATA}/sobjects/Contact/0035i0000000001AAA")
    assert query(api, "SELECT COUNT() FROM LMS_Enrollment__c WHERE Contact__c = null")["totalSize"] == 3
    (deleted,) = upsert(api, enrollment("6", Contact__c="0035i0000000001"), url=url)
    assert deleted["errors"][0] == {
        "statusCode": "ENTITY_IS_DELETED",
        "message": "entity is deleted",
        "fields": ["Contact__c"],
    }


def test_collections_create_update_retrieve_and_delete(api: httpx.Client) -> None:
    url = f"{DATA}/composite/sobjects"
    first, second = (each["id"] for each in api.post(url, json={"records": [contact("1"), contact("2")]}).json())
    missing = "0035i0000000009AAA"
    rows = [contact("1", id=first, FirstName="A"), contact("9", id=missing), contact("9")]
    results = api.patch(url, json={"records": rows}).json()
    assert [r["errors"][0]["statusCode"] if r["errors"] else r["id"] for r in results] == [
        first,
        "INVALID_CROSS_REFERENCE_KEY",
        "MISSING_ARGUMENT",
    ]
    read = api.get(f"{url}/Contact", params={"ids": f"{first},{missing}", "fields": "Id,FirstName"}).json()
    assert [each and each["FirstName"] for each in read] == ["A", None]
    assert api.post(f"{url}/Contact", json={"ids": [second], "fields": ["Id"]}).json()[0]["Id"] == second
    results = api.delete(url, params={"ids": f"{second},x,{first}", "allOrNone": "true"}).json()
    assert [r["errors"][0]["statusCode"] for r in results][1] == "MALFORMED_ID"
    assert api.delete(url, params={"ids": second}).json() == [{"id": second, "success": True, "errors": []}]
    assert api.delete(url, params={"ids": second}).json()[0]["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"


# Composite


def test_composite_passes_values_on_and_rolls_back(api: httpx.Client) -> None:
    def requests_of(status: str) -> list[dict[str, Any]]:
        return [
            {"method": "POST", "url": f"{DATA}/sobjects/Contact", "referenceId": "c", "body": {"LastName": "x"}},
            {
                "method": "POST",
                "url": f"{DATA}/sobjects/LMS_Enrollment__c",
                "referenceId": "e",
                "body": {"Contact__c": "@{c.id}", "Status__c": status},
            },
            {
                "method": "GET",
                "url": f"{DATA}/query?q=SELECT+COUNT()+FROM+Contact+WHERE+Id='@{{c.id}}'",
                "referenceId": "q",
            },
        ]

    good = api.post(f"{DATA}/composite", json={"compositeRequest": requests_of("active")}).json()["compositeResponse"]
    assert [each["httpStatusCode"] for each in good] == [201, 201, 200]
    assert (good[2]["referenceId"], good[2]["body"]["totalSize"]) == ("q", 1)
    bad = api.post(f"{DATA}/composite", json={"allOrNone": True, "compositeRequest": requests_of("odd")})
    codes = [each["body"][0]["errorCode"] for each in bad.json()["compositeResponse"]]
    assert (bad.status_code, codes) == (
        200,
        ["PROCESSING_HALTED", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "PROCESSING_HALTED"],
    )
    assert query(api, "SELECT COUNT() FROM Contact")["totalSize"] == 1
    unknown = requests_of("active")[1:2]
    halted = api.post(f"{DATA}/composite", json={"compositeRequest": unknown}).json()["compositeResponse"][0]
    assert (halted["httpStatusCode"], halted["body"][0]["errorCode"]) == (400, "PROCESSING_HALTED")
    many = api.post(f"{DATA}/composite", json={"compositeRequest": requests_of("active") * 9})
    assert (many.status_code, many.json()[0]["errorCode"]) == (400, "LIMIT_EXCEEDED")


# Query


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("FirstName = 'ADA'", "1"),
        ("FirstName != 'ada'", "23"),
        ("FirstName = null", "3"),
        ("FirstName LIKE 'a%'", "1"),
        (r"FirstName LIKE 'O\'Bri_n'", "2"),
        (r"FirstName = 'O\'Brien'", "2"),
        ("FirstName IN ('ada', null)", "13"),
        ("FirstName NOT IN ('ada')", "23"),
        ("NOT (FirstName = 'ada' OR FirstName = null)", "2"),
        ("(LMS_Status__c = 'active' AND LastName > 'b') OR LMS_User_Id__c = '1'", "13"),
        ("LMS_User_Id__c IN ('3', '1', '9') AND IsDeleted = false", "31"),
        ("Id = '0035i0000000002'", "2"),
        ("CreatedDate >= 2026-11-22T22:50:00Z AND LastModifiedDate < 2026-11-22T23:50:01+01:00", "123"),
        ("SystemModstamp > 2026-11-22T22:50:00.000+0000", ""),
        ("Contact.Name LIKE '%c' ORDER BY LMS_User_Id__c DESC", "321"),
        ("Id != null ORDER BY FirstName", "312"),
        ("Id != null ORDER BY FirstName DESC NULLS LAST, Id LIMIT 2", "21"),
        ("Id != null ORDER BY LMS_User_Id__c ASC LIMIT 1 OFFSET 1", "2"),
    ],
)
def test_conditions_and_order(api: httpx.Client, condition: str, expected: str) -> None:
    upsert(
        api,
        contact("1", FirstName="Ada", LastName="A c"),
        contact("2", FirstName="O'Brien", LastName="Bc"),
        contact("3", LastName="Cc", LMS_Status__c="active"),
    )
    assert keys(api, condition) == list(expected)


@pytest.mark.parametrize(
    ("soql", "code", "message"),
    [
        (
            "SELECT Id FORM Contact",
            "MALFORMED_QUERY",
            "\nSELECT Id FORM Contact\n          ^\nERROR at Row:1:Column:11\nunexpected token: 'FORM'",
        ),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ('SELECT Id FROM Contact WHERE Name = "x"', "MALFORMED_QUERY", "no viable alternative at character '\"'"),
        (
            "SELECT Id FROM Contact WHERE Id = null AND Id = null OR Id = null",
            "MALFORMED_QUERY",
            "unexpected token: 'OR'",
        ),
        ("SELECT Id, id FROM Contact", "MALFORMED_QUERY", "duplicate field selected: id"),
        (" ", "MALFORMED_QUERY", "SOQL statements cannot be empty or null"),
        ("SELECT Id FROM Nope", "INVALID_TYPE", "sObject type 'Nope' is not supported."),
        (
            "SELECT Foo FROM Contact",
            "INVALID_FIELD",
            "ERROR at Row:1:Column:8\nNo such column 'Foo' on entity 'Contact'.",
        ),
        ("SELECT Nope__r.Id FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Nope__r' in field path."),
        (
            "SELECT Id FROM Contact WHERE CreatedDate > '2026'",
            "INVALID_FIELD",
            "must be of type dateTime and should not be enclosed in quotes",
        ),
        (
            "SELECT Id FROM Contact WHERE FirstName = 5",
            "INVALID_FIELD",
            "must be of type string and should be enclosed in quotes",
        ),
        (
            "SELECT Id FROM Contact WHERE Description = 'x'",
            "INVALID_FIELD",
            "field 'Description' can not be filtered in a query call",
        ),
        ("SELECT Id FROM Contact WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        (
            "SELECT Id FROM Contact LIMIT 1 OFFSET 2001",
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Maximum SOQL offset allowed is 2000",
        ),
    ],
)
def test_a_wrong_query_is_refused(api: httpx.Client, soql: str, code: str, message: str) -> None:
    answer = api.get(f"{DATA}/query", params={"q": soql})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert message in answer.json()[0]["message"]


def test_queries_are_paged(api: httpx.Client, salesforce: Any) -> None:
    sign_in(api)
    for start in (0, 200, 400):
        upsert(api, *(contact(str(number)) for number in range(start, start + 200)))
    sizes = []
    answer = api.get(
        f"{DATA}/query", params={"q": "SELECT Id FROM Contact"}, headers={"Sforce-Query-Options": "batchSize=250"}
    ).json()
    while not answer["done"]:
        sizes.append(len(answer["records"]))
        answer = api.get(answer["nextRecordsUrl"]).json()
    assert ([*sizes, len(answer["records"])], answer["totalSize"], "nextRecordsUrl" in answer) == (
        [250, 250, 100],
        600,
        False,
    )
    lost = api.get(f"{DATA}/query/01g5i0000000099AAA-2000")
    assert (lost.status_code, lost.json()) == (
        400,
        [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}],
    )
    assert query(api, "SELECT COUNT() FROM Contact") == {"totalSize": 600, "done": True, "records": []}
    assert api.get(f"{DATA}/query").json()[0]["message"] == "A query string has to be specified"
    assert salesforce.query_all("SELECT Id FROM Contact")["totalSize"] == 600
    with pytest.raises(SalesforceMalformedRequest):
        salesforce.query("SELECT")


# What the sandbox's core asks for


def test_mutations_behind_the_clients_backs(api: httpx.Client, simulator: SalesforceSimulator, clock: Clock) -> None:
    upsert(api, contact("1"))
    clock.now += 60
    change = {"object": "Contact", "op": "update", "key_field": "LMS_User_Id__c", "key": "1", "fields": {"Title": "T"}}
    changed = api.post("/_sandbox/mutate", json=change).json()
    assert (changed["Title"], changed["LastModifiedDate"]) == ("T", "2026-11-22T22:51:00.000+0000")
    assert api.post("/_sandbox/mutate", json=change | {"op": "delete"}).json()["IsDeleted"]
    listed = api.get("/_sandbox/records/Contact").json()
    assert (listed["total"], listed["records"][0]["IsDeleted"]) == (1, True)
    assert not api.post("/_sandbox/mutate", json=change | {"op": "undelete"}).json()["IsDeleted"]
    created = api.post(
        "/_sandbox/mutate", json={"object": "Contact", "op": "create", "fields": {"LastName": "x"}}
    ).json()
    assert created["Id"] == "0035i0000000002AAA"
    refused = api.post("/_sandbox/mutate", json=change | {"fields": {"Email": "bad"}})
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": "INVALID_EMAIL_ADDRESS: Email: invalid email address: bad"},
    )
    with pytest.raises(SandboxRequestError):
        simulator.records("Nope")


def test_the_state_survives_dump_and_load(api: httpx.Client, simulator: SalesforceSimulator, clock: Clock) -> None:
    upsert(api, contact("1"), contact("2"))
    api.delete(f"{DATA}/sobjects/Contact/LMS_User_Id__c/2")
    again = SalesforceSimulator(clock=clock)
    again.load(orjson.loads(orjson.dumps(simulator.dump())))
    assert list(again.records("Contact")) == list(simulator.records("Contact"))
    assert again.dump() == simulator.dump()
    created = again.mutate({"object": "Contact", "op": "create", "fields": {"LastName": "x"}})
    assert created["Id"] == "0035i0000000003AAA"


def test_a_reset_empties_the_org_and_ends_its_sessions(api: httpx.Client) -> None:
    upsert(api, contact("1"))
    api.post("/_sandbox/reset", json={"daily_limit": 5})
    assert api.get(f"{DATA}/limits").json() == EXPIRED
    sign_in(api)
    assert query(api, "SELECT COUNT() FROM Contact")["totalSize"] == 0
    assert api.post("/_sandbox/reset", json={"odd": 1}).status_code == 400
