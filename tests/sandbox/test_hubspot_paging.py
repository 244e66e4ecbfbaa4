"""The HubSpot simulator's ways through many records: lists, searches by the time of change, long lists of links."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.hubspot.table import Table
from tests.sandbox.hubspot_portal import CONTACTS, ENROLLMENTS, LINKS, calling, create, mutate, post, refusal, upsert
from tests.simulator_server import serving

SEARCH = f"{CONTACTS}/search"


@pytest.fixture(scope="module")
def portal() -> Iterator[tuple[HubSpotSimulator, str]]:
    simulator = HubSpotSimulator()
    with serving(simulator) as address:
        yield simulator, address


@pytest.fixture
def http(portal: tuple[HubSpotSimulator, str]) -> Iterator[httpx.Client]:
    with calling(portal[1]) as client:
        yield client


def ids(http: httpx.Client, **body: Any) -> list[str]:
    """The ids of every page of a search."""
    found: list[str] = []
    after = None
    while True:
        page = http.post(SEARCH, json={"limit": 7, **body, **({"after": after} if after else {})}).json()
        found += [one["id"] for one in page["results"]]
        if "paging" not in page:
            assert page["total"] == len(found)
            return found
        after = page["paging"]["next"]["after"]


def changed(operator: str, **values: str) -> dict[str, Any]:
    return {"filters": [{"propertyName": "lastmodifieddate", "operator": operator, **values}]}


def epoch(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["updatedAt"]).replace(tzinfo=UTC).timestamp() * 1000


def test_a_search_by_time_of_change_agrees_with_the_records(http: httpx.Client) -> None:
    rng = random.Random(7)
    post(http, f"{CONTACTS}/batch/upsert", *(upsert(str(n), firstname="Ann") for n in range(40)))
    numbers = [one["id"] for one in http.get("/_sandbox/records/contacts").json()["records"]]
    for step in range(120):  # more than the log of changes takes before it is tidied up
        named = {"object": "contacts", "id": numbers[rng.randrange(40)]}
        archived = {one["id"] for one in http.get("/_sandbox/records/contacts").json()["records"] if one["archived"]}
        if named["id"] in archived:
            mutate(http, {**named, "op": "restore"})
        elif rng.random() < 0.2:
            mutate(http, {**named, "op": "archive"})
        else:
            mutate(http, {**named, "op": "update", "properties": {"firstname": f"{step}"}})
    live = [one for one in http.get("/_sandbox/records/contacts").json()["records"] if not one["archived"]]
    assert len(live) < 40
    assert ids(http) == [one["id"] for one in live]
    moment = sorted(map(epoch, live))[len(live) // 2]
    ordered = [one["id"] for one in sorted(live, key=epoch)]
    operators: list[tuple[str, Callable[[float], bool]]] = [
        ("GTE", lambda at: at >= moment),
        ("GT", lambda at: at > moment),
        ("LTE", lambda at: at <= moment),
        ("LT", lambda at: at < moment),
        ("EQ", lambda at: at == moment),
        ("NEQ", lambda at: at != moment),
    ]
    for operator, fits in operators:
        wanted = {one["id"] for one in live if fits(epoch(one))}
        given = [changed(operator, value=str(int(moment)))]
        assert set(ids(http, filterGroups=given)) == wanted
        found = ids(http, filterGroups=given, sorts=["lastmodifieddate"])
        assert found == [number for number in ordered if number in wanted]
    both = [changed("GT", value=str(int(moment))), changed("BETWEEN", value="0", highValue=str(int(moment)))]
    assert ids(http, filterGroups=both) == [one["id"] for one in live]


def test_a_write_shows_in_the_next_page(http: httpx.Client) -> None:
    post(http, f"{CONTACTS}/batch/upsert", *(upsert(str(n), firstname="Ann") for n in range(3)))
    body = {"filterGroups": [changed("GTE", value="0")], "sorts": ["lastmodifieddate"], "properties": ["firstname"]}
    assert http.post(SEARCH, json=body).json()["total"] == 3
    number = create(http, CONTACTS, firstname="Bea")
    assert http.post(SEARCH, json=body).json()["results"][-1]["id"] == number
    http.delete(f"{CONTACTS}/{number}")
    assert http.post(SEARCH, json=body).json()["total"] == 3


def test_a_stale_record_is_found_by_its_old_time(http: httpx.Client, portal: tuple[HubSpotSimulator, str]) -> None:
    number = create(http, CONTACTS, firstname="Ann")
    old = {"filterGroups": [changed("LTE", value=http.get(f"{CONTACTS}/{number}").json()["updatedAt"])]}
    time.sleep(0.002)
    portal[0].configure({"search_lag_seconds": 60})
    http.patch(f"{CONTACTS}/{number}", json={"properties": {"firstname": "Bea"}})
    create(http, CONTACTS, firstname="Cy")
    assert ids(http, **old) == [number]
    portal[0].configure({"search_lag_seconds": 0})
    assert ids(http, **old) == []


def test_lists_keep_live_and_archived_records_apart(http: httpx.Client) -> None:
    numbers = [create(http, CONTACTS, lms_user_id=str(n)) for n in range(9)]
    for number in numbers[::2]:
        http.delete(f"{CONTACTS}/{number}")
    mutate(http, {"object": "contacts", "op": "restore", "id": numbers[4]})

    def listed(archived: str) -> list[str]:
        found, after = [], ""
        while True:
            page = http.get(f"{CONTACTS}?limit=2&archived={archived}{after}").json()
            found += [one["id"] for one in page["results"]]
            if "paging" not in page:
                return found
            after = f"&after={page['paging']['next']['after']}"

    assert listed("False") == sorted([*numbers[1::2], numbers[4]])
    assert listed("True") == [numbers[n] for n in (0, 2, 6, 8)]


def test_a_batch_read_of_links_is_paged_by_record(http: httpx.Client) -> None:
    contact, other = create(http, CONTACTS, lms_user_id="1"), create(http, CONTACTS, lms_user_id="2")
    keys = [upsert(str(n), "lms_enrollment_id") for n in range(501)]
    made = []
    for start in range(0, 501, 100):
        made += post(http, f"{ENROLLMENTS}/batch/upsert", *keys[start : start + 100])["results"]
    numbers = sorted(one["id"] for one in made)
    pairs = [{"from": {"id": number}, "to": {"id": contact}} for number in numbers]
    post(http, f"{LINKS}/batch/associate/default", *pairs, {"from": {"id": numbers[0]}, "to": {"id": other}})
    path = "/crm/v4/associations/contacts/lms_enrollment/batch/read"
    results = {one["from"]["id"]: one for one in post(http, path, {"id": contact}, {"id": other})["results"]}
    assert len(results[contact]["to"]) == 500
    assert "paging" not in results[other]
    after = results[contact]["paging"]["next"]["after"]
    [rest] = post(http, path, {"id": contact, "after": after})["results"]
    assert [one["toObjectId"] for one in (*results[contact]["to"], *rest["to"])] == numbers
    assert "paging" not in rest
    assert refusal(http.post(path, json={"inputs": [{"id": contact, "after": "x"}]}), 400)
    shown = http.get(f"{CONTACTS}/{contact}?associations=lms_enrollment").json()["associations"]
    linked = shown["p12345678_lms_enrollment"]
    assert [one["id"] for one in linked["results"]] == numbers[:100]
    assert len(http.get(linked["paging"]["next"]["link"]).json()["results"]) == 401
    shown = http.get(f"{CONTACTS}/{other}?associations=lms_enrollment").json()["associations"]
    assert "paging" not in shown["p12345678_lms_enrollment"]


def test_the_log_of_changes_is_tidied_up(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = HubSpotSimulator()
    named = {
        "object": "contacts",
        "id": str(simulator.mutate({"object": "contacts", "op": "create", "properties": {}})["id"]),
    }
    table: Table = simulator._store.table("contacts")
    [record] = table.all_live()
    moments = itertools.count(record.updated + 1)
    monkeypatch.setattr("lms_crm_assets.sandbox.hubspot.table.now_ms", lambda: next(moments))
    for _ in range(5_000):
        table.touch(record)
    assert len(table._log_ids) <= 1_002
    assert table.changed_between(record.updated, record.updated) == [record]
    assert simulator.mutate({**named, "op": "archive"})["archived"] is True
    assert table.changed_between(0, float("inf")) == []


def test_a_short_page_is_not_the_last(http: httpx.Client, portal: tuple[HubSpotSimulator, str]) -> None:
    post(http, f"{CONTACTS}/batch/upsert", *(upsert(str(n)) for n in range(9)))
    portal[0].configure({"short_search_pages": True})
    page = http.post(SEARCH, json={"limit": 7}).json()
    assert (len(page["results"]), page["total"], page["paging"]["next"]["after"]) == (4, 9, "4")
    assert len(set(ids(http))) == 9
