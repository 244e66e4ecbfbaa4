"""The adapter against a simulated provider over HTTP: complete, with deletes, since a moment, by keys, and in plain words."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stamina

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import CredentialError, PermissionMissingError, RetryableError, WrongAddressError
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.oneroster import OneRosterAdapter
from lms_crm_assets.sandbox.oneroster import OneRosterSimulator
from tests.conftest import empty_store
from tests.oneroster_provider import ROSTERING, adapter
from tests.sandbox_control import fault, mutate, records, requests
from tests.simulator_server import serving

ALL = list(LmsEntity)
SIZE: dict[str, Any] = {"learners": 230, "courses": 7, "enrollments": 400}


@pytest.fixture
def address() -> Iterator[str]:
    with serving(OneRosterSimulator(**SIZE)) as found:
        yield found


def pulled(found: OneRosterAdapter, since: datetime | None = None) -> dict[LmsEntity, dict[str, RawRecord]]:
    """Records by entity and key; no key comes twice in a full pull."""
    rows: dict[LmsEntity, dict[str, RawRecord]] = {}
    for page in found.pull(ALL, since):
        of_entity = rows.setdefault(page.entity, {})
        for record in page.records:
            assert since is not None or record.source_id not in of_entity
            of_entity[record.source_id] = record
    return rows


def living(rows: dict[str, RawRecord]) -> int:
    return sum(not record.is_deleted for record in rows.values())


@pytest.mark.parametrize("options", [{"page_size": 7, "concurrency": 1}, {"page_size": 90}, {}])
def test_everything_is_given_whatever_the_size_of_a_page(address: str, options: dict[str, int]) -> None:
    with adapter(address, **options) as found:
        rows = pulled(found)

    scores, ratings = records(address, "scores"), records(address, "competencies")
    assert LmsEntity.COMPLETIONS not in rows
    assert (len(rows[LmsEntity.LEARNERS]), len(rows[LmsEntity.ENROLLMENTS])) == (230, 400)
    assert {entity: living(of_entity) for entity, of_entity in rows.items()} == {
        "learners": sum(row["status"] != "deleted" for row in records(address, "learners")),
        "courses": len(records(address, "courses")),
        "enrollments": sum(row["status"] != "withdrawn" for row in records(address, "enrollments")),
        "scores": len(scores) + len(ratings),  # every result; which of them is a score the SQL tells
        "competencies": len(ratings),
    }


def test_a_provider_that_gives_shorter_pages_than_asked_for_is_read_whole() -> None:
    with serving(OneRosterSimulator(**SIZE, page_limit=20)) as address, adapter(address) as found:
        assert len(pulled(found)[LmsEntity.LEARNERS]) == 230


def test_what_is_deleted_is_a_tombstone_in_every_pull(address: str) -> None:
    learner, enrollment = records(address, "learners")[3]["id"], records(address, "enrollments")[5]["id"]
    mutate(address, object="learners", op="delete", id=learner, updated_at="2028-01-01T00:00:00Z")
    mutate(address, object="enrollments", op="delete", id=enrollment, updated_at="2028-01-01T00:00:00Z")

    for since in (None, datetime(2027, 12, 31, tzinfo=UTC)):
        with adapter(address) as found:
            rows = pulled(found, since)
        assert rows[LmsEntity.LEARNERS][learner].is_deleted
        assert rows[LmsEntity.ENROLLMENTS][enrollment].is_deleted
        assert rows[LmsEntity.ENROLLMENTS][enrollment].payload["status"] == "tobedeleted"


def test_since_a_moment_what_changed_is_given_less_the_overlap(address: str) -> None:
    changed, earlier, before = (row["id"] for row in records(address, "learners")[:3])
    for key, time in ((changed, "12:00:00"), (earlier, "11:50:01"), (before, "11:49:59")):
        mutate(
            address, object="learners", op="update", id=key, fields={"country": "NO"}, updated_at=f"2028-01-01T{time}Z"
        )  # fmt: skip

    with adapter(address, overlap_seconds=600) as found:
        pages = list(found.pull([LmsEntity.LEARNERS], datetime(2028, 1, 1, 12, tzinfo=UTC)))

    assert {record.source_id for page in pages for record in page.records} == {changed, earlier}
    assert max(page.latest for page in pages if page.latest) == datetime(2028, 1, 1, 12, tzinfo=UTC)


def test_rows_are_fetched_by_their_keys_and_what_is_gone_is_deleted(address: str) -> None:
    with adapter(address) as found:
        rows = pulled(found)
        for entity in sorted(found.capabilities.entities):
            keys = sorted(rows[entity])[:3]
            fetched = [record for page in found.fetch(entity, [*keys, "no/such one"]) for record in page.records]

            assert {record.source_id: record.is_deleted for record in fetched} == {
                **{key: rows[entity][key].is_deleted for key in keys},
                "no/such one": True,
            }
            assert [record.payload for record in fetched if record.source_id == keys[0]] == [
                rows[entity][keys[0]].payload
            ]
        assert list(found.fetch(LmsEntity.COMPLETIONS, ["x"])) == []


def test_a_score_brings_its_range_a_learner_the_organization_and_a_course_its_course(address: str) -> None:
    with adapter(address) as found:
        rows = pulled(found)

    score = next(record for key, record in rows[LmsEntity.SCORES].items() if key.startswith("score-"))
    assert (score.payload["lineItem"]["resultValueMin"], score.payload["lineItem"]["resultValueMax"]) == (0, 100)
    assert score.payload["lineItem"]["class"]["sourcedId"] == score.payload["class"]["sourcedId"]
    assert score.payload["lineItem"]["category"]["sourcedId"].startswith("cat-")
    learner = next(iter(rows[LmsEntity.LEARNERS].values()))
    assert learner.payload["primaryOrg"]["name"]
    course = next(iter(rows[LmsEntity.COURSES].values()))
    assert {"title", "courseCode"} <= course.payload["course"].keys()


def test_without_the_gradebook_its_routes_are_not_called(address: str) -> None:
    with adapter(address, gradebook=False) as found:
        assert found.capabilities.entities == {"learners", "courses", "enrollments"}
        assert set(pulled(found)) == {"learners", "courses", "enrollments"}
        assert found.probe() == []

    assert not [route for route in requests(address) if "gradebook" in route]


def test_a_contract_s_source_leads_to_it(address: str) -> None:
    text = f"""
version: 2
tenant: acme
source:
  adapter: oneroster
  url: {address}
  token_url: {address}/token
  client_id: env:OR_CLIENT
  client_secret: env:OR_SECRET
destination: {{adapter: hubspot, url: https://crm.test, access_token: env:CRM}}
objects:
  contact: {{to: contacts, match_key: lms_user_id, fields: {{lastname: family_name}}}}
"""
    found = lms_adapter(parse_contract(text, Path("tenants/acme.yaml"), {}), empty_store())

    assert isinstance(found, OneRosterAdapter)
    assert found.probe() == []
    found.close()


def test_what_it_can_see_between_full_pulls(address: str) -> None:
    with adapter(address) as found:
        assert found.capabilities.needs_full_sweep == set()
        assert LmsEntity.COMPLETIONS not in found.capabilities.entities


def test_a_good_provider_has_nothing_to_say(address: str) -> None:
    with adapter(address) as found:
        assert found.probe() == []


def test_a_client_without_the_gradebook_is_told_what_it_misses(address: str) -> None:
    with adapter(address, client_id="env:OR_POOR_CLIENT") as found:
        assert found.probe() == [
            "the client may not read lineItems: scores and competencies can't be read; grant it or set source.gradebook to false",
            "the client may not read results: scores and competencies can't be read; grant it or set source.gradebook to false",
        ]
        with pytest.raises(PermissionMissingError, match="403"):
            pulled(found)


def test_a_refused_client_is_named_and_its_secret_is_not(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OR_SECRET", "wrong-secret-value")

    with adapter(address) as found, pytest.raises(CredentialError, match=r"check source\.client_id") as caught:
        found.probe()
    assert "wrong-secret-value" not in str(caught.value)


def test_a_wrong_address_is_an_error_to_mend(address: str, unused_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unused_port}"
    for url, token_url in ((nowhere, f"{address}/token"), (f"{address}/elsewhere", f"{address}/token")):
        with (
            adapter(address, url=url, token_url=token_url) as found,
            pytest.raises(WrongAddressError, match="check source"),
        ):
            found.probe()


def test_something_else_at_the_address_is_noticed(address: str) -> None:
    fault(address, {"route": f"{ROSTERING}/users", "kind": "replace", "status": 200, "body": '{"results": []}'})

    with adapter(address) as found, pytest.raises(WrongAddressError, match="without the list 'users'"):
        found.probe()


def test_a_token_that_ends_is_got_anew() -> None:
    with (
        serving(OneRosterSimulator(**SIZE, token_calls=3)) as address,
        adapter(address, page_size=50, concurrency=1) as found,
    ):
        assert len(pulled(found)[LmsEntity.LEARNERS]) == 230
        assert requests(address)["POST /token"]["200"] > 3


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        {"kind": "cut_after"},
        {"kind": "replace", "status": 200, "body": '{"users": ['},
    ],
)
def test_passing_trouble_loses_and_doubles_nothing(address: str, trouble: dict[str, Any]) -> None:
    with adapter(address, page_size=50) as found:
        expected = pulled(found)
    fault(address, {"route": "/ims/oneroster", "share": 0.4, "times": 8, **trouble}, seed=3)

    with stamina.set_testing(True, attempts=9), adapter(address, page_size=50) as found:
        assert pulled(found) == expected


def test_trouble_that_stays_is_retriable_not_an_empty_answer(address: str) -> None:
    fault(address, {"route": f"{ROSTERING}/enrollments", "kind": "status", "status": 500})

    with (
        stamina.set_testing(True, attempts=2),
        adapter(address) as found,
        pytest.raises(RetryableError, match="answers 500"),
    ):
        pulled(found)
