"""What changed since: nothing is missed behind the search's limits, and its rate is kept."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lms_crm_assets.crm.hubspot.search import EndOfSearchError, Search
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import Action, CrmObject, CrmWrite
from tests.crm.hubspot.portal import UNLIMITED, adapter, contacts, globex, reset, spec_of
from tests.sandbox_control import mutate, records, requests

CONTACT, COURSE, ENROLLMENT = (spec_of(o) for o in (CrmObject.CONTACT, CrmObject.COURSE, CrmObject.ENROLLMENT))
SEARCH = "POST /crm/v3/objects/{type}/search"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def fill(address: str, number: int) -> None:
    """So many contacts, a hundred a call."""
    with httpx.Client(base_url=address, headers={"Authorization": "Bearer pat-sandbox"}) as client:
        for start in range(0, number, 100):
            inputs = [{"properties": {"lms_user_id": f"u{n}"}} for n in range(start, min(start + 100, number))]
            client.post("/crm/v3/objects/contacts/batch/create", json={"inputs": inputs}).raise_for_status()


def test_more_changes_than_a_search_gives_are_all_found(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, **UNLIMITED, search_lag_seconds=1.0)
    fill(sandbox.hubspot, 10_400)
    mutate(sandbox.hubspot, object="contacts", op="create", properties={"email": "nobody@school.test"})

    with adapter(globex()) as crm:
        found = [record.external_id for page in crm.changed_since(CONTACT, LONG_AGO) for record in page]
        while len(set(found)) < 10_400:  # what the index had not taken in yet
            found += [record.external_id for page in crm.changed_since(CONTACT, datetime.now(UTC)) for record in page]

    assert set(found) == {f"u{n}" for n in range(10_400)}
    assert set(requests(sandbox.hubspot)[SEARCH]) == {"200"}


def test_a_change_that_the_index_showed_late_is_found_by_the_next_search(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, search_lag_seconds=1.5)
    with adapter(globex()) as crm:
        crm.upsert(COURSE, [CrmWrite("c1", None, Action.CREATE, {"hs_course_name": "One"})])
        captured = datetime.now(UTC)
        assert list(crm.changed_since(COURSE, captured - timedelta(minutes=5))) == []
        found: list[str] = []
        while not found:
            found = [record.external_id for page in crm.changed_since(COURSE, captured) for record in page]

    assert found == ["c1"]


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_changes_come_with_their_parents(sandbox: Sandbox, version: str) -> None:
    reset(sandbox.hubspot)
    with adapter(globex(api_version=version)) as crm:
        (contact,) = crm.upsert(CONTACT, contacts(["u1"]))
        (child,) = crm.upsert(ENROLLMENT, [CrmWrite("e1", None, Action.CREATE, {"lms_role": "student"})])
        other = {"object": "contacts", "id": contact.crm_id}
        mutate(sandbox.hubspot, object="lms_enrollment", op="associate", id=child.crm_id, to=other)
        ((record,),) = crm.changed_since(ENROLLMENT, LONG_AGO)

    assert (record.external_id, record.values["lms_role"]) == ("e1", "student")
    assert record.parents == {CrmObject.CONTACT: [contact.crm_id], CrmObject.COURSE: []}


def test_short_pages_of_a_portal_are_followed(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, **UNLIMITED, short_search_pages=True)
    fill(sandbox.hubspot, 700)

    with adapter(globex()) as crm:
        found = {record.external_id for page in crm.changed_since(CONTACT, LONG_AGO) for record in page}

    assert found == {f"u{n}" for n in range(700)}


def test_searches_of_many_threads_keep_to_five_a_second(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot)
    with adapter(globex()) as crm, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: list(crm.changed_since(CONTACT, LONG_AGO)), range(16)))

        assert requests(sandbox.hubspot)[SEARCH] == {"200": 16}
        assert crm.traffic["rate_limited"] == 0


class Index:
    """Rows by time of change that `ask` searches, a page of 200; `meanwhile` is called after each page."""

    def __init__(self, moments: Mapping[str, int]) -> None:
        self.moments = dict(moments)
        self.asked = 0

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += 1
        since = int(body["filterGroups"][0]["filters"][0]["value"])
        offset = int(body.get("after", 0))
        found = sorted((moment, key) for key, moment in self.moments.items() if moment >= since)
        page = found[offset : offset + 200]
        assert offset + 200 <= 10_000
        answer: dict[str, Any] = {"results": [_row(key, moment) for moment, key in page]}
        if len(found) > offset + 200:
            answer["paging"] = {"next": {"after": str(offset + 200)}}
        self.meanwhile(page)
        return answer

    def meanwhile(self, page: list[tuple[int, str]]) -> None:
        """Nothing happens."""


def _row(key: str, moment: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(moment / 1000, UTC).isoformat()
    return {"id": key, "properties": {"lms_user_id": key, "lastmodifieddate": at}}


def test_records_that_change_while_they_are_read_hide_no_other() -> None:
    class Restless(Index):
        def meanwhile(self, page: list[tuple[int, str]]) -> None:
            if self.asked < 10:
                self.moments.update({key: 18 * 10**11 + self.asked for _, key in page[:50]})

    index = Restless({f"k{n:04}": 17 * 10**11 + n for n in range(2_000)})

    pages = Search(CONTACT, index.ask).changed_since(LONG_AGO)

    assert {row["id"] for page in pages for row in page} == {f"k{n:04}" for n in range(2_000)}


def test_a_short_page_is_not_the_last() -> None:
    pages: list[dict[str, Any]] = [
        {"results": [], "paging": {"next": {"after": "200"}}},
        {"results": [_row("a", 17 * 10**11)], "paging": {"next": {"after": "400"}}},
        {"results": [_row("a", 17 * 10**11), _row("b", 17 * 10**11)]},
    ]

    found = Search(CONTACT, lambda _: pages.pop(0)).changed_since(LONG_AGO)

    assert [[row["id"] for row in page] for page in found] == [["a"], ["b"]]


def test_too_many_changes_in_one_moment_are_the_end_of_a_search() -> None:
    index = Index({f"k{n:05}": 17 * 10**11 for n in range(10_001)})

    with pytest.raises(EndOfSearchError):
        list(Search(CONTACT, index.ask).changed_since(LONG_AGO))

    assert index.asked == 50 + 1


def test_behind_the_end_of_a_search_everything_is_listed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    reset(sandbox.hubspot, **UNLIMITED)
    fill(sandbox.hubspot, 1_000)
    moment = {"updatedAt": "2026-01-01T00:00:00Z", "properties": {"lms_user_id": "u0"}}
    answer = {"results": [{"id": "1", **moment}], "paging": {"next": {"after": "200"}}}
    monkeypatch.setattr("lms_crm_assets.crm.hubspot.search._MOST_RESULTS", 300)

    with adapter(globex()) as crm:
        httpx.post(
            f"{sandbox.hubspot}/_sandbox/faults",
            json=[{"route": "search", "kind": "status", "status": 200, "body": json.dumps(answer)}],
        )
        since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=60)
        found = {record.external_id for page in crm.changed_since(CONTACT, since) for record in page}

    assert found == {record["properties"]["lms_user_id"] for record in records(sandbox.hubspot, "contacts")}


def test_a_row_that_was_changed_after_it_was_indexed_hides_none_behind_it() -> None:
    """The index has the time at which it took a row in, the row shows the newest one."""
    began = datetime.now(UTC) - timedelta(hours=2)
    indexed = [began + timedelta(seconds=n) for n in range(600)]
    shown = {50: datetime.now(UTC)}

    def ask(body: Mapping[str, Any]) -> Mapping[str, Any]:
        start, after = int(body["filterGroups"][0]["filters"][0]["value"]), int(body.get("after", 0))
        hits = [n for n, moment in enumerate(indexed) if moment.timestamp() * 1000 >= start]
        page = hits[after : after + 200]
        results = [
            {"id": str(n), "properties": {"lastmodifieddate": shown.get(n, indexed[n]).isoformat()}} for n in page
        ]
        more = {"paging": {"next": {"after": str(after + 200)}}} if after + 200 < len(hits) else {}
        return {"results": results, **more}

    found = {row["id"] for rows in Search(CONTACT, ask).changed_since(began) for row in rows}

    assert found == {str(n) for n in range(600)}
