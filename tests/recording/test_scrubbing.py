"""What stands for a value in a recording, and what of an exchange is kept."""

import json
import re
from typing import Any

import pytest

from lms_crm_assets.exchanges import Exchange
from lms_crm_assets.recording.pseudonyms import Pseudonyms
from lms_crm_assets.recording.scrubbing import Scrubber, words

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(b"a key of the tests")


@pytest.fixture
def scrubber(pseudonyms: Pseudonyms) -> Scrubber:
    return Scrubber(pseudonyms, frozenset({"LMS_Status__c", "On hold"}))


def exchange(body: Any, **other: Any) -> Exchange:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given: dict[str, Any] = {
        "side": "lms",
        "method": "GET",
        "url": "https://lms.school.test/api/v1/users",
        "media": "",
        "sent": b"",
        "status": 200,
        "headers": JSON,
        "body": content,
    }
    return Exchange(**{**given, **other})


def answered(scrubber: Scrubber, body: Any, **other: Any) -> Any:
    return scrubber.scrubbed(exchange(body, **other))["response"]["body"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Ada Lovelace", r"text-[0-9a-f]{12}"),
        ("O&#039;Neil", r"text-[0-9a-f]{12}"),
        ("Ada@School.test", r"somebody-[0-9a-f]{12}@example\.org"),
        ("ada@school.test.1700000000", r"somebody-[0-9a-f]{12}@example\.org\.1[56]\d{8}"),
        ("https://school.test/~ada", r"https://elsewhere\.example/[0-9a-f]{12}"),
        ("4711", r"\d{8}"),
        ("0049301234567", r"text-[0-9a-f]{12}"),
        ("7f3e3c2a-8a55-4d19-9a3e-0123456789ab", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("151f4ee79abf0ea77b6cfadc9543d338", r"[0-9a-f]{32}"),
        ("2024-05-03", r"202[234]-\d\d-\d\d"),
        ("2024-05-03T10:00:00.5+02:00", r"202[234]-\d\d-\d\dT10:00:00\.5\+02:00"),
        ("Friday, 3 May 2024, 10:00 AM", r"Friday, \d{1,2} \w+ 202[234], 10:00 AM"),
    ],
)
def test_a_pseudonym_is_of_the_kind_of_its_value(pseudonyms: Pseudonyms, value: str, kind: str) -> None:
    found = pseudonyms.text(value)

    assert re.fullmatch(kind, found), found
    assert found != value
    assert pseudonyms.text(value) == found
    assert Pseudonyms(b"another key").text(value) != found


@pytest.mark.parametrize("value", ["", " ", "-", "%", "0", "87.50", "12,5 %", "100%"])
def test_what_says_nothing_of_anybody_stays(pseudonyms: Pseudonyms, value: str) -> None:
    assert pseudonyms.text(value) == value


def test_equal_ids_stay_equal_as_numbers_and_texts_and_keep_their_order(pseudonyms: Pseudonyms) -> None:
    ids = [1, 2, 98, 99, 4711, 10**12, 10**14 - 1, 2**62]
    found = [pseudonyms.number(each) for each in ids]

    assert [pseudonyms.text(str(each)) for each in ids] == [str(each) for each in found]
    assert found == sorted(set(found))
    assert not set(found) & set(ids)
    assert pseudonyms.number(0) == 0
    assert found[-1] < 2**53


def test_moments_move_together(pseudonyms: Pseudonyms) -> None:
    first, second = pseudonyms.moment(1_700_000_000), pseudonyms.moment(1_700_086_400)

    assert first is not None
    assert second is not None
    assert second - first == 86_400
    assert (1_700_000_000 - first) % (7 * 86_400) == 0
    assert pseudonyms.moment(1_700_000_000_000) == first * 1000
    assert pseudonyms.moment(4711) is None


def test_an_answer_keeps_its_shape_and_its_words_alone(scrubber: Scrubber) -> None:
    row = {
        "id": 17,
        "name": "Ada Lovelace",
        "login_id": "ada",
        "enrollment_state": "active",
        "type": "StudentEnrollment",
        "grade": "95",
        "score": 95,
        "phone": "555.1234",
        "phone2": 5551234,
        "token": "0123456789abcdef",
        "about": '{"nickname": "The Enchantress", "id": "17"}',
        "last_login": 1_700_000_000,
        "by_mail": {"ada@school.test": 1},
        "hobby": ["chess", None, True],
        "error": "ada.l",
        "status": "ada77",
    }
    found = answered(scrubber, [row])[0]

    assert {key: found[key] for key in ("enrollment_state", "type", "grade", "score")} == {
        "enrollment_state": "active",
        "type": "StudentEnrollment",
        "grade": "95",
        "score": 95,
    }
    assert "token" not in found
    text = json.dumps(found)
    for gone in ("Ada", "ada", "555", "Enchantress", "chess", "school", "1700000000"):
        assert gone not in text
    assert json.loads(found["about"])["id"] == str(found["id"])
    assert found["hobby"][1:] == [None, True]
    assert set(row) - {"token"} == set(found)


def test_a_request_is_scrubbed_as_its_answer_is(scrubber: Scrubber, pseudonyms: Pseudonyms) -> None:
    form = (
        b"wstoken=0123456789&wsfunction=core_user_get_users_by_field&field=username&values%5B0%5D=ada&page=2&userid=98"
    )
    form += b"&options%5B0%5D%5Bname%5D=limitfrom&options%5B0%5D%5Bvalue%5D=500&reportid=3"
    found = scrubber.scrubbed(
        exchange([], method="POST", sent=form, media="application/x-www-form-urlencoded", url="https://l.test/x.php")
    )["request"]

    assert found == {
        "method": "POST",
        "path": "/x.php",
        "body": [
            ["wsfunction", "core_user_get_users_by_field"],
            ["field", "username"],
            ["values[0]", pseudonyms.text("ada")],
            ["page", "2"],
            ["userid", str(pseudonyms.number(98))],
            ["options[0][name]", "limitfrom"],
            ["options[0][value]", "500"],
            ["reportid", "3"],
        ],
    }


def test_paths_and_links_lose_ids_and_host(scrubber: Scrubber, pseudonyms: Pseudonyms) -> None:
    url = "https://lms.school.test/api/v1/courses/98/enrollments?page=bookmark:ada&access_token=abc&per_page=100"
    headers = {**JSON, "Link": f'<{url}>; rel="next"', "Set-Cookie": "session=ada", "X-Request-Id": "ada"}
    found = scrubber.scrubbed(exchange([], url=url, headers=headers))

    path = f"/api/v1/courses/{pseudonyms.number(98)}/enrollments"
    page = pseudonyms.text("bookmark:ada")
    assert found["request"] == {"method": "GET", "path": path, "query": [["page", page], ["per_page", "100"]]}
    assert found["response"]["headers"] == {
        "Content-Type": "application/json",
        "Link": f'<https://lms.example{path}?page={page}&per_page=100>; rel="next"',
    }


def test_of_definitions_names_and_types_stay(scrubber: Scrubber) -> None:
    field = {
        "name": "LMS_Status__c",
        "label": "Status",
        "type": "picklist",
        "length": 255,
        "inlineHelpText": "Ask Ada",
        "picklistValues": [{"value": each, "label": each, "active": True} for each in ("active", "On hold", "Ada L.")],
    }
    url = "https://org.my.salesforce.com/services/data/v68.0/sobjects/Contact/describe"
    found = answered(scrubber, {"fields": [field]}, side="crm", url=url)["fields"][0]

    assert {key: found[key] for key in ("name", "type", "length")} == {
        "name": "LMS_Status__c",
        "type": "picklist",
        "length": 255,
    }
    assert [each["value"] for each in found["picklistValues"]][:2] == ["active", "On hold"]
    assert "Ada" not in json.dumps(found)
    assert found["label"].startswith("text-")


def test_records_of_the_crm_are_nobody_s(scrubber: Scrubber) -> None:
    url = "https://api.hubapi.com/crm/v3/objects/contacts?limit=1"
    found = answered(scrubber, {"results": [{"id": "77", "properties": {"firstname": "Ada"}}]}, side="crm", url=url)

    assert "Ada" not in json.dumps(found)
    assert found["results"][0]["id"] != "77"


def test_what_is_no_json_is_cut_down(scrubber: Scrubber) -> None:
    table = b"id,name,status\n98,Ada,active\n"
    header, row = answered(scrubber, table, headers={"content-type": "text/csv; charset=utf-8"})

    assert header == ["id", "name", "status"]
    assert (row[0] != "98", row[1].startswith("text-"), row[2]) == (True, True, "active")
    page = b"<html>Ada</html>"
    assert answered(scrubber, page, headers={"Content-Type": "text/html"}) == {
        "left out": "16 bytes that are neither JSON nor CSV"
    }
    assert answered(scrubber, b"") is None


def test_the_words_that_stay_are_those_that_the_staging_compares_with() -> None:
    assert {"StudentEnrollment", "Suspended", "fully graded", "withdrawn"} <= words()
    assert not {word for word in words() if "@" in word or any(c.isdigit() for c in word)}
