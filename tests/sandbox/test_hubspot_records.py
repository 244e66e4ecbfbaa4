"""Corners of records in the HubSpot simulator: merged and archived ones in batches, locks, conflicts of one batch."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from tests.sandbox.hubspot_portal import CONTACTS, ENROLLMENTS, calling, codes, create, mutate, post, refusal, upsert
from tests.simulator_server import serving

UPSERT = f"{CONTACTS}/batch/upsert"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(HubSpotSimulator()) as found:
        yield found


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with calling(address) as client:
        yield client


def read(http: httpx.Client, *keys: str, status: int = 200, query: str = "", **more: Any) -> dict[str, Any]:
    return post(http, f"{CONTACTS}/batch/read{query}", *({"id": key} for key in keys), status=status, **more)


def test_a_merged_record_is_read_as_its_survivor(http: httpx.Client) -> None:
    loser, winner = create(http, CONTACTS, lms_user_id="1"), create(http, CONTACTS, lms_user_id="2")
    mutate(http, {"object": "contacts", "op": "merge", "id": loser, "into": {"id": winner}})
    assert [one["id"] for one in read(http, loser, winner)["results"]] == [winner]
    body = read(http, "1", "2", idProperty="lms_user_id", status=207)
    assert ([one["id"] for one in body["results"]], body["errors"][0]["context"]) == ([winner], {"ids": ["1"]})
    [result] = post(http, UPSERT, upsert("1", firstname="Ann"))["results"]
    assert result["new"] is True


def test_an_archived_record_is_a_miss_unless_asked_for(http: httpx.Client) -> None:
    number, other = create(http, CONTACTS, lms_user_id="1"), create(http, CONTACTS, lms_user_id="2")
    http.delete(f"{CONTACTS}/{number}")
    body = read(http, number, other, status=207)
    assert (body["numErrors"], body["errors"][0]["category"]) == (1, "OBJECT_NOT_FOUND")
    body = read(http, number, other, query="?archived=True", status=207)
    assert [one["archived"] for one in body["results"]] == [True]
    body = post(http, f"{CONTACTS}/batch/update", {"id": number, "properties": {"phone": "1"}}, status=207)
    assert body["results"] == []


@pytest.mark.parametrize(
    ("status", "headers"), [(423, {}), (477, {"Retry-After": "7"}), (502, {}), (521, {}), (523, {}), (524, {})]
)
def test_locks_and_outages_come_as_faults(http: httpx.Client, status: int, headers: dict[str, str]) -> None:
    fault = {"route": "POST .*/batch/upsert", "kind": "status", "status": status, "headers": headers, "times": 1}
    http.post("/_sandbox/faults", json=[fault])
    refused = http.post(UPSERT, json={"inputs": [upsert("1")]})
    assert (refused.status_code, refused.headers.get("retry-after")) == (status, headers.get("Retry-After"))
    assert http.get("/_sandbox/records/contacts").json()["total"] == 0
    post(http, UPSERT, upsert("1"))


def test_the_token_endpoint_can_be_limited_by_a_fault(http: httpx.Client) -> None:
    http.post("/_sandbox/faults", json=[{"route": "/oauth/", "kind": "status", "status": 429, "times": 1}])
    form = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    assert [http.post("/oauth/2026-03/token", data=form).status_code for _ in range(2)] == [429, 200]


def test_a_key_in_another_case_is_another_key_but_an_address_is_not(http: httpx.Client) -> None:
    inputs = [upsert(key, "lms_enrollment_id") for key in ("a", "A")]
    assert len(post(http, f"{ENROLLMENTS}/batch/upsert", *inputs)["results"]) == 2
    twice = [upsert(key, "email", trace=key) for key in ("a@example.com", "A@example.com")]
    body = refusal(http.post(UPSERT, json={"inputs": twice}), 400)
    assert body["message"] == "Duplicate IDs found in batch input: [a@example.com]. IDs must be unique"


def test_every_bad_record_of_a_batch_is_listed(http: httpx.Client) -> None:
    bad = {"lms_status": "gone", "email": "no", "jobtitle": "x" * 65_537, "missing": "1", "createdate": "1"}
    inputs = [upsert(name, trace=name, **{name: value}) for name, value in bad.items()]
    body = post(http, UPSERT, *inputs, upsert("good", trace="good"), status=207)
    found = {error["context"]["objectWriteTraceId"][0]: codes(error) for error in body["errors"]}
    assert found == {
        "lms_status": ["INVALID_OPTION"],
        "email": ["INVALID_EMAIL"],
        "jobtitle": ["VALUE_TOO_LONG"],
        "missing": ["PROPERTY_DOESNT_EXIST"],
        "createdate": ["READ_ONLY_VALUE"],
    }
    assert (body["numErrors"], [one["objectWriteTraceId"] for one in body["results"]]) == (5, ["good"])


def test_an_empty_text_cannot_clear_what_a_create_needs(http: httpx.Client) -> None:
    given = upsert("1", "lms_course_id", trace="a", hs_course_name="")
    path = "/crm/objects/2026-09/courses/batch/upsert"
    body = post(http, path, given, upsert("2", "lms_course_id", trace="b", hs_course_name="B"))
    assert [error["context"]["objectWriteTraceId"] for error in body["errors"]] == [["a"]]
    assert body["errors"][0]["context"]["properties"] == ["hs_course_name"]
