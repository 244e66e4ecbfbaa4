"""Options of the HubSpot simulator that change while it runs, with everything else as it was."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from tests.sandbox.hubspot_portal import (
    CONTACTS,
    COURSES,
    ENROLLMENTS,
    LINKS,
    calling,
    create,
    grant,
    post,
    refusal,
    reset,
    stats,
    upsert,
)
from tests.simulator_server import serving

REFRESH = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-token"}


@pytest.fixture(scope="module")
def portal() -> Iterator[tuple[HubSpotSimulator, str]]:
    simulator = HubSpotSimulator()
    with serving(simulator) as address:
        yield simulator, address


@pytest.fixture
def simulator(portal: tuple[HubSpotSimulator, str]) -> HubSpotSimulator:
    return portal[0]


@pytest.fixture
def http(portal: tuple[HubSpotSimulator, str]) -> Iterator[httpx.Client]:
    with calling(portal[1]) as client:
        yield client


def left(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers["X-HubSpot-RateLimit-Max"], answer.headers["X-HubSpot-RateLimit-Remaining"]


def test_a_limit_halved_midway_holds_at_once(http: httpx.Client, simulator: HubSpotSimulator) -> None:
    reset(http, requests_per_10_seconds=8)
    assert [left(http.get(CONTACTS)) for _ in range(3)] == [("8", "7"), ("8", "6"), ("8", "5")]
    simulator.configure({"requests_per_10_seconds": 4})
    answers = [http.get(CONTACTS) for _ in range(2)]
    assert [(answer.status_code, *left(answer)) for answer in answers] == [(200, "4", "0"), (429, "4", "0")]
    assert refusal(answers[1], 429)["policyName"] == "TEN_SECONDLY_ROLLING"
    simulator.configure({"requests_per_10_seconds": 2})
    assert left(http.get(CONTACTS)) == ("2", "0")
    simulator.configure({"requests_per_10_seconds": 6})
    assert left(http.get(CONTACTS)) == ("6", "1")


def test_a_limit_set_midway_looks_back(http: httpx.Client, simulator: HubSpotSimulator) -> None:
    create(http, CONTACTS, email="a@example.com")
    simulator.configure({"requests_per_10_seconds": 2, "daily_limit": 1})
    assert refusal(http.get(CONTACTS), 429)["policyName"] == "DAILY"
    simulator.configure({"daily_limit": 100})
    answers = [http.get(CONTACTS) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert len(answers[0].json()["results"]) == 1


def test_searches_and_associations_follow_too(http: httpx.Client, simulator: HubSpotSimulator) -> None:
    search = f"{CONTACTS}/search"
    assert [http.post(search, json={}).status_code for _ in range(3)] == [200] * 3
    simulator.configure({"searches_per_second": 3})
    assert refusal(http.post(search, json={}), 429)["policyName"] == "SECONDLY"
    simulator.configure({"requests_per_10_seconds": 190, "associations_per_10_seconds": 1})
    assert [http.get(f"{LINKS}/labels").status_code for _ in range(2)] == [200, 429]
    assert http.get(CONTACTS).status_code == 200


def test_an_oauth_app_has_110_requests_in_ten_seconds(http: httpx.Client, simulator: HubSpotSimulator) -> None:
    reset(http)
    token = grant(http, grant_type="client_credentials").json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert left(http.get(CONTACTS, headers=bearer)) == ("110", "109")
    simulator.configure({"oauth_requests_per_10_seconds": 2})
    assert [http.get(CONTACTS, headers=bearer).status_code for _ in range(2)] == [200, 429]


def test_tokens_stay(http: httpx.Client, simulator: HubSpotSimulator) -> None:
    old = grant(http, **REFRESH).json()
    simulator.configure({"token_calls": 1, "token_seconds": 60, "rotate_refresh_tokens": True})
    new = grant(http, **REFRESH).json()
    assert (old["expires_in"], new["expires_in"]) == (1800, 60)
    assert new["refresh_token"] != old["refresh_token"]
    assert refusal(grant(http, **REFRESH), 400)["status"] == "BAD_REFRESH_TOKEN"
    for token, statuses in ((old, [200, 200]), (new, [200, 401])):
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        assert [http.get(CONTACTS, headers=bearer).status_code for _ in range(2)] == statuses


def test_the_search_starts_and_stops_lagging(http: httpx.Client, simulator: HubSpotSimulator) -> None:
    def total() -> int:
        return int(http.post(f"{CONTACTS}/search", json={}).json()["total"])

    create(http, CONTACTS, email="a@example.com")
    simulator.configure({"search_lag_seconds": 60})
    create(http, CONTACTS, email="b@example.com")
    assert total() == 1
    simulator.configure({"search_lag_seconds": 0})
    assert total() == 2


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 1},
        {"requests_per_10_seconds": "190"},
        {"requests_per_10_seconds": True},
        {"requests_per_10_seconds": -1},
        {"daily_limit": None},
        {"search_lag_seconds": None},
        {"latency_seconds": float("nan")},
        {"rotate_refresh_tokens": 1},
        {"token_calls": 1.5},
    ],
)
def test_unknown_names_and_wrong_types_are_refused(
    http: httpx.Client, simulator: HubSpotSimulator, options: dict[str, Any]
) -> None:
    with pytest.raises(SandboxRequestError, match=next(iter(options))):
        simulator.configure({"requests_per_10_seconds": 50, **options})
    assert "X-HubSpot-RateLimit-Max" not in http.get(CONTACTS).headers  # nothing of it was taken


class TestTiers:
    SCHEMA = "/crm-object-schemas/v3/schemas"

    def test_a_tier_without_custom_objects(self, http: httpx.Client, simulator: HubSpotSimulator) -> None:
        create(http, ENROLLMENTS, lms_enrollment_id="1")
        contact = create(http, CONTACTS, email="a@example.com")
        simulator.configure({"custom_objects": False})
        for path in (ENROLLMENTS, "/crm/v3/properties/lms_enrollment", f"{self.SCHEMA}/2-1001", f"{LINKS}/labels"):
            assert refusal(http.get(path), 400)["message"].startswith("Unable to infer object type from: ")
        assert http.get(self.SCHEMA).json()["results"] == []
        assert {one["toObjectTypeId"][0] for one in http.get(f"{self.SCHEMA}/contacts").json()["associations"]} == {"0"}
        assert list(next(iter(simulator.records("contacts")))["associations"]) == ["companies", "courses"]
        schema = {"name": "badge", "labels": {}, "requiredProperties": [], "properties": [], "associatedObjects": []}
        for path in (self.SCHEMA, "/crm/v3/schemas", "/crm-object-schemas/2026-09/schemas"):
            body = refusal(http.post(path, json=schema), 403)
            assert body["category"] == "MISSING_SCOPES"
            assert body["errors"][0]["context"] == {"requiredGranularScopes": ["crm.schemas.custom.write"]}
        assert http.get(f"{CONTACTS}/{contact}").status_code == 200
        simulator.configure({"custom_objects": True})
        assert len(http.get(ENROLLMENTS).json()["results"]) == 1

    def test_courses_have_to_be_activated(self, http: httpx.Client, simulator: HubSpotSimulator) -> None:
        reset(http, courses_active=False)
        for path in (COURSES, "/crm/objects/2026-09/0-410", "/crm/v3/properties/courses"):
            assert refusal(http.get(path), 403)["category"] == "MISSING_SCOPES"
        assert http.get(CONTACTS).status_code == 200
        for library in ("/crm/v3/object-library/enablement", "/crm/object-library/2026-03/enablement"):
            active = http.get(library).json()["enablementByObjectTypeId"]
            assert active == {"0-162": False, "0-410": False, "0-420": False, "0-421": False}
            assert http.get(f"{library}/0-410").json() == {"enablement": False}
            assert refusal(http.get(f"{library}/0-1"), 404)
        simulator.configure({"courses_active": True})
        create(http, COURSES, hs_course_name="A")
        assert http.get("/crm/v3/object-library/enablement/0-410").json() == {"enablement": True}


class TestRecordFaults:
    UPSERT = f"{CONTACTS}/batch/upsert"
    FAULT = {"object": "contact", "key_pattern": "^7$", "message": "No."}  # noqa: RUF012 - never changed

    def test_a_poison_record_is_listed_with_its_trace_id(self, http: httpx.Client, simulator: HubSpotSimulator) -> None:
        simulator.configure({"record_faults": [self.FAULT]})
        inputs = [upsert(str(n), trace=f"t{n}", firstname="Ann") for n in (6, 7, 17)]
        body = post(http, self.UPSERT, *inputs, status=207)
        assert {one["objectWriteTraceId"] for one in body["results"]} == {"t6", "t17"}
        assert body["errors"] == [
            {
                "status": "error",
                "category": "VALIDATION_ERROR",
                "message": "No.",
                "context": {"objectWriteTraceId": ["t7"]},
            }
        ]
        post(http, "/crm/objects/2026-09/0-1/batch/upsert", *inputs, status=200)
        post(http, f"{ENROLLMENTS}/batch/upsert", upsert("7", "lms_enrollment_id"))
        assert stats(http)["contacts"] == {"created": 2, "unchanged": 2, "rejected": 2}

    def test_without_trace_ids_it_refuses_the_batch(self, http: httpx.Client, simulator: HubSpotSimulator) -> None:
        for category, status in (("VALIDATION_ERROR", 400), ("CONFLICT", 409)):
            simulator.configure({"record_faults": [{**self.FAULT, "category": category}]})
            body = refusal(http.post(self.UPSERT, json={"inputs": [upsert("6"), upsert("7")]}), status)
            assert (body["message"], body["category"]) == ("No.", category)
        assert http.get(CONTACTS).json()["results"] == []

    def test_it_ends_after_its_times_and_with_another_list(
        self, http: httpx.Client, simulator: HubSpotSimulator
    ) -> None:
        simulator.configure({"record_faults": [{**self.FAULT, "times": 2}]})
        simulator.configure({"requests_per_10_seconds": 100})
        answers = [http.post(self.UPSERT, json={"inputs": [upsert("7")]}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [400, 400, 200]
        simulator.configure({"record_faults": [self.FAULT]})
        simulator.configure({"record_faults": []})
        post(http, self.UPSERT, upsert("7"))

    @pytest.mark.parametrize(
        "faults",
        [
            {},
            ["7"],
            [{"object": "contacts"}],
            [{**FAULT, "key_pattern": "("}],
            [{**FAULT, "key_pattern": 7}],
            [{**FAULT, "times": "2"}],
            [{**FAULT, "object": "nothing"}],
            [{**FAULT, "status": 500}],
        ],
    )
    def test_malformed_ones_are_refused(self, http: httpx.Client, simulator: HubSpotSimulator, faults: Any) -> None:
        with pytest.raises(SandboxRequestError, match="record"):
            simulator.configure({"record_faults": faults})
        assert http.post("/_sandbox/reset", json={"record_faults": faults}).status_code == 400
