"""Schema changes in the HubSpot simulator, by its API and behind the clients' backs: definitions, writes and reads obey."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from tests.sandbox.hubspot_portal import CONTACTS, ENROLLMENTS, calling, upsert
from tests.simulator_server import serving

PROPERTIES = "/crm/v3/properties/contacts"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(HubSpotSimulator()) as url:
        yield url


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with calling(address) as client:
        yield client


def reshape(http: httpx.Client, op: str, kind: str = "contacts", **change: Any) -> Any:
    answer = http.post("/_sandbox/schema", json={"object": kind, "op": op, **change})
    assert answer.is_success, answer.text
    return answer.json()


def refusal(http: httpx.Client, op: str, kind: str = "contacts", **change: Any) -> str:
    answer = http.post("/_sandbox/schema", json={"object": kind, "op": op, **change})
    assert answer.status_code == 400
    text: str = answer.json()["error"]
    return text


def properties(http: httpx.Client, kind: str = "contacts") -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in http.get(f"/crm/v3/properties/{kind}").json()["results"]}


def write(http: httpx.Client, *inputs: dict[str, Any], base: str = CONTACTS) -> httpx.Response:
    return http.post(f"{base}/batch/upsert", json={"inputs": list(inputs)})


def wrong(answer: httpx.Response, code: str) -> bool:
    return answer.status_code == 400 and code in answer.json()["message"]


def stored(http: httpx.Client, kind: str = "contacts") -> list[dict[str, str]]:
    return [each["properties"] for each in http.get(f"/_sandbox/records/{kind}").json()["records"]]


@pytest.mark.parametrize("way", ["api", "control"])
def test_an_option_that_is_gone_is_refused_and_stays_where_it_stands(http: httpx.Client, way: str) -> None:
    assert write(http, upsert("a", lms_status="suspended")).is_success
    if way == "api":
        options = [{"label": "Active", "value": "active", "displayOrder": 0, "hidden": False}]
        assert http.patch(f"{PROPERTIES}/lms_status", json={"options": options}).is_success
    else:
        reshape(http, "change", field="lms_status", to={"options": ["active"]})
    assert [each["value"] for each in properties(http)["lms_status"]["options"]] == ["active"]
    assert wrong(write(http, upsert("b", lms_status="suspended")), "INVALID_OPTION")
    assert [each["lms_status"] for each in stored(http)] == ["suspended"]


@pytest.mark.parametrize("way", ["api", "control"])
def test_a_hidden_option_is_shown_as_hidden(http: httpx.Client, way: str) -> None:
    if way == "api":
        options = [
            {"label": value, "value": value, "displayOrder": place, "hidden": value == "suspended"}
            for place, value in enumerate(("active", "suspended"))
        ]
        http.patch(f"{PROPERTIES}/lms_status", json={"options": options})
    else:
        reshape(http, "change", field="lms_status", to={"hidden_options": ["suspended"]})
    shown = {each["value"]: each["hidden"] for each in properties(http)["lms_status"]["options"]}
    assert shown == {"active": False, "suspended": True}


@pytest.mark.parametrize("way", ["api", "control"])
def test_an_archived_property_does_not_exist(http: httpx.Client, way: str) -> None:
    assert write(http, upsert("a", lms_username="ada")).is_success
    if way == "api":
        assert http.delete(f"{PROPERTIES}/lms_username").status_code == 204
    else:
        reshape(http, "drop", field="lms_username")
    assert "lms_username" not in properties(http)
    assert wrong(write(http, upsert("a", lms_username="x")), "PROPERTY_DOESNT_EXIST")
    read = http.get(CONTACTS, params={"properties": "lms_username"}).json()["results"][0]["properties"]
    assert "lms_username" not in read


@pytest.mark.parametrize("way", ["api", "control"])
def test_a_required_property_is_asked_for_when_a_record_is_made(http: httpx.Client, way: str) -> None:
    old = upsert("a", id_property="lms_enrollment_id")
    assert write(http, old, base=ENROLLMENTS).is_success
    if way == "api":
        answer = http.patch("/crm/v3/schemas/lms_enrollment", json={"requiredProperties": ["lms_role"]})
        assert answer.json()["requiredProperties"] == ["lms_role"]
    else:
        assert reshape(http, "change", "lms_enrollment", field="lms_role", to={"required": True})["required"] == [
            "lms_role"
        ]
    assert http.get("/crm/v3/schemas/lms_enrollment").json()["requiredProperties"] == ["lms_role"]
    refused = write(http, upsert("b", id_property="lms_enrollment_id"), base=ENROLLMENTS)
    assert (refused.status_code, refused.json()["category"]) == (400, "VALIDATION_ERROR")
    assert write(http, upsert("b", id_property="lms_enrollment_id", lms_role="x"), base=ENROLLMENTS).is_success
    assert http.delete("/crm/v3/properties/lms_enrollment/lms_role").status_code == 400
    assert "cannot be archived" in refusal(http, "drop", "lms_enrollment", field="lms_role")


def test_a_new_property_can_be_required_at_once_or_not(http: httpx.Client) -> None:
    reshape(http, "add", field="nickname", to={"type": "string"})
    assert write(http, upsert("a"), upsert("b", nickname="Ada")).is_success
    reshape(http, "add", field="region", to={"type": "enumeration", "options": ["EU", "US"], "required": True})
    assert wrong(write(http, upsert("c")), "required properties")
    assert write(http, upsert("a"), upsert("c", region="EU")).is_success


@pytest.mark.parametrize("way", ["api", "control"])
def test_a_type_changes_and_its_values_with_it(http: httpx.Client, way: str) -> None:
    assert write(http, upsert("a", lms_username="17.50"), upsert("b", lms_username="ada")).is_success
    if way == "api":
        changed = http.patch(f"{PROPERTIES}/lms_username", json={"type": "number", "fieldType": "number"})
        assert (changed.json()["type"], changed.json()["fieldType"]) == ("number", "number")
    else:
        reshape(http, "change", field="lms_username", to={"type": "number"})
    assert properties(http)["lms_username"]["type"] == "number"
    assert [each.get("lms_username") for each in stored(http)] == ["17.5", None]
    assert wrong(write(http, upsert("a", lms_username="ada")), "INVALID_INTEGER")
    assert http.patch(f"{PROPERTIES}/lms_username", json={"type": "enumeration"}).status_code == 400
    assert http.patch(f"{PROPERTIES}/lms_username", json={"type": "blob"}).status_code == 400
    assert http.patch(f"{PROPERTIES}/lms_user_id", json={"type": "datetime"}).status_code == 400


def test_a_property_that_is_not_unique_any_more_is_no_key(http: httpx.Client) -> None:
    assert write(http, upsert("a")).is_success
    reshape(http, "change", field="lms_user_id", to={"unique": False})
    assert properties(http)["lms_user_id"]["hasUniqueValue"] is False
    refused = write(http, upsert("a"))
    assert (refused.status_code, "non-unique" in refused.json()["message"]) == (400, True)
    assert http.post(CONTACTS, json={"properties": {"lms_user_id": "a"}}).status_code == 201
    assert "duplicate values" in refusal(http, "change", field="lms_user_id", to={"unique": True})
    reshape(http, "change", field="lms_username", to={"unique": True})
    assert write(http, upsert("login", id_property="lms_username")).is_success


def test_a_property_can_become_read_only(http: httpx.Client) -> None:
    reshape(http, "access", field="lms_username", to="read")
    assert properties(http)["lms_username"]["modificationMetadata"]["readOnlyValue"] is True
    assert wrong(write(http, upsert("a", lms_username="x")), "READ_ONLY_VALUE")
    reshape(http, "access", field="lms_username", to="edit")
    assert write(http, upsert("a", lms_username="x")).is_success


@pytest.mark.parametrize("gone", ["drop", "hide"])
def test_an_object_that_is_gone_is_nowhere(http: httpx.Client, gone: str) -> None:
    assert write(http, upsert("e", id_property="lms_enrollment_id"), base=ENROLLMENTS).is_success
    if gone == "drop":
        reshape(http, "drop", "lms_enrollment")
    else:
        reshape(http, "access", "lms_enrollment", to="none")
    expected = 400 if gone == "drop" else 403
    for url in (ENROLLMENTS, "/crm/v3/properties/lms_enrollment", "/crm/v3/schemas/lms_enrollment"):
        assert http.get(url).status_code == expected
    assert write(http, upsert("e", id_property="lms_enrollment_id"), base=ENROLLMENTS).status_code == expected
    assert "lms_enrollment" not in [each["name"] for each in http.get("/crm/v3/schemas").json()["results"]]
    assert http.get("/_sandbox/records/lms_enrollment").status_code == (400 if gone == "drop" else 200)


def test_a_reset_undoes_all_of_it(http: httpx.Client, address: str) -> None:
    before = properties(http)
    reshape(http, "drop", field="lms_username")
    reshape(http, "change", field="lms_user_id", to={"unique": False})
    reshape(http, "access", to="none")
    with calling(address) as again:
        assert properties(again) == before


def test_a_changed_schema_is_kept_between_starts() -> None:
    first = HubSpotSimulator()
    first.mutate({"object": "contacts", "op": "create", "properties": {"lms_user_id": "a", "lms_username": "7"}})
    first.reshape({"object": "contacts", "op": "change", "field": "lms_username", "to": {"type": "number"}})
    first.reshape({"object": "contacts", "op": "change", "field": "lms_status", "to": {"hidden_options": ["active"]}})
    first.reshape({"object": "lms_enrollment", "op": "access", "to": "none"})
    second = HubSpotSimulator()
    second.load(first.dump())
    assert second.dump() == first.dump()
    assert list(second.records("contacts")) == list(first.records("contacts"))


def test_what_cannot_be_is_refused(http: httpx.Client) -> None:
    assert "unknown object" in refusal(http, "drop", "nope")
    assert "for good" in refusal(http, "rename", field="lms_username", to="login")
    assert "no property nope" in refusal(http, "drop", field="nope")
    assert "read only" in refusal(http, "change", field="firstname", to={"type": "number"})
    assert "cannot be archived" in refusal(http, "drop", field="email")
    assert "object of HubSpot" in refusal(http, "drop")
    assert "already exists" in refusal(http, "add", field="lms_username", to={})
    assert "`to` is an object" in refusal(http, "change", field="lms_username", to={"length": 10})
    assert "needs options" in refusal(http, "change", field="lms_username", to={"type": "enumeration"})
    assert '"edit" or "read"' in refusal(http, "access", field="lms_username", to="none")
