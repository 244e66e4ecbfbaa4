"""Reading, describing and writing by REST, over HTTP against the sandbox."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.crm.salesforce import SalesforceAdapter
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, OutcomeStatus
from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.snapshot.capture import land_records
from tests.conftest import empty_store
from tests.crm.salesforce.support import TOKEN, Answer, Received, adapter, calls, contact, scripted, spec_of
from tests.sandbox_control import fault, mutate, records

CONTACT, COURSE, COMPLETION = spec_of(CrmObject.CONTACT), spec_of(CrmObject.COURSE), spec_of(CrmObject.COMPLETION)
AWKWARD = "Ünï \"quoted\", 'single',\nnew line, \\ backslash, 漢字 🎓, =cmd"


def completion(key: str, **values: str | None) -> CrmWrite:
    parents: dict[str, str] = {CrmObject.CONTACT: "u1", CrmObject.COURSE: "c1"} if key != "orphan" else {}
    return CrmWrite(key, None, Action.CREATE, values, parents)


def fill(crm: SalesforceAdapter) -> None:
    """Records of all types, with what CSV and JSON could disagree about."""
    course = CrmWrite(
        "c1", None, Action.CREATE, {"Name": "Course", "Visible__c": "true", "Starts_At__c": "2026-01-31T23:59:59Z"}
    )
    hidden = CrmWrite("c2", None, Action.CREATE, {"Name": "Null", "Visible__c": "false", "Code__c": "007"})
    crm.upsert(COURSE, [course, hidden])
    crm.upsert(CONTACT, [contact("u1", FirstName=AWKWARD[:40]), contact("u2", LMS_Username__c="true")])
    crm.upsert(
        COMPLETION,
        [
            completion("1", State__c="completed", Progress__c="100.00", Completed_At__c="2026-02-28T12:00:00Z"),
            completion("2", Progress__c="0.50", Score__c="1234567.12345"),
            completion("3", Score__c="-0.00001"),
            completion("orphan", State__c="not_started"),
        ],
    )


def everything(crm: SalesforceAdapter, obj: CrmObject) -> list[CrmRecord]:
    return sorted((each for page in crm.snapshot(spec_of(obj)) for each in page), key=lambda each: each.external_id)


@pytest.mark.parametrize("obj", [CrmObject.CONTACT, CrmObject.COURSE, CrmObject.COMPLETION])
def test_both_ways_of_a_snapshot_give_equal_records(sandbox: Sandbox, tmp_path: Path, obj: CrmObject) -> None:
    with adapter() as rest, adapter(bulk_query_from=1) as bulk:
        fill(rest)
        by_rest, by_bulk = everything(rest, obj), everything(bulk, obj)
        read = rest.read(spec_of(obj), [each.external_id for each in by_rest])

    assert by_rest == by_bulk == sorted(read, key=lambda each: each.external_id)
    assert len(by_rest) == {CrmObject.CONTACT: 2, CrmObject.COURSE: 2, CrmObject.COMPLETION: 4}[obj]
    assert calls(sandbox.salesforce, "/jobs/query") == {"200": 1}
    # Equal values may still be spelled in two ways.
    land_records([by_rest], tmp_path / "rest")
    land_records([by_bulk], tmp_path / "bulk")
    assert (tmp_path / "rest").read_bytes() == (tmp_path / "bulk").read_bytes()


def test_few_records_are_read_without_a_job_or_a_call_that_counts(sandbox: Sandbox) -> None:
    with adapter() as crm:
        crm.upsert(CONTACT, [contact("1")])
        assert len(everything(crm, CrmObject.CONTACT)) == 1

    assert calls(sandbox.salesforce, "/query") == {"200": 1}


def test_a_snapshot_has_many_pages(sandbox: Sandbox) -> None:
    with adapter() as crm:
        for start in range(0, 2200, 200):
            crm.upsert(CONTACT, [contact(str(n)) for n in range(start, start + 200)])
        pages = [len(page) for page in crm.snapshot(CONTACT)]

    assert pages == [2000, 200]
    assert calls(sandbox.salesforce, "/query/{locator}") == {"200": 1}


def test_a_page_that_comes_again_ends_the_reading(sandbox: Sandbox) -> None:
    with adapter() as crm:
        fault(
            sandbox.salesforce,
            {
                "route": "/query",
                "kind": "replace",
                "status": 200,
                "body": '{"totalSize": 3, "done": false, "nextRecordsUrl": "/services/data/v68.0/query/01g-1", "records": []}',
            },
        )

        with pytest.raises(ProtocolError, match="again and again"):
            list(crm.snapshot(CONTACT))


@pytest.mark.parametrize(
    "trouble",
    [
        {"route": "POST .*/jobs/query$", "kind": "cut_after", "times": 1},
        {"route": "GET .*/jobs/query/[^/]+$", "kind": "replace", "status": 200, "body": "<html>", "times": 1},
        {"route": "GET .*/results", "kind": "cut_after", "times": 1},
        {"route": "GET .*/results", "kind": "replace", "status": 200, "body": "<html>\n</html>", "times": 1},
    ],
)
def test_a_bulk_query_is_asked_again(sandbox: Sandbox, trouble: dict[str, Any]) -> None:
    with adapter(bulk_query_from=1) as crm:
        crm.upsert(CONTACT, [contact(str(n)) for n in range(5)])
        fault(sandbox.salesforce, trouble)

        assert len(everything(crm, CrmObject.CONTACT)) == 5


def test_a_bulk_query_comes_in_parts(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lms_crm_assets.crm.salesforce.bulk_query._ROWS_A_PAGE", 2)
    with adapter(bulk_query_from=1) as crm:
        crm.upsert(CONTACT, [contact(str(n)) for n in range(5)])
        pages = [[each.external_id for each in page] for page in crm.snapshot(CONTACT)]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(key for page in pages for key in page) == ["0", "1", "2", "3", "4"]
    assert calls(sandbox.salesforce, "/jobs/query/{job}/results") == {"200": 3}


def test_a_bulk_query_that_fails_may_be_asked_by_the_next_run(sandbox: Sandbox) -> None:
    with adapter(bulk_query_from=1) as crm:
        crm.upsert(CONTACT, [contact("1")])
        body = '{"id": "7501", "state": "Failed", "errorMessage": "secret"}'
        fault(sandbox.salesforce, {"route": "GET .*/jobs/query/[^/]+$", "kind": "replace", "status": 200, "body": body})

        with pytest.raises(RetryableError, match="Failed") as caught:
            list(crm.snapshot(CONTACT))

    assert "secret" not in str(caught.value)


def test_changed_since_gives_what_changed(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    with adapter() as crm:
        crm.upsert(CONTACT, [contact("1"), contact("2")])
        now = datetime.now(UTC)

        recent = [each.external_id for page in crm.changed_since(CONTACT, now - timedelta(minutes=5)) for each in page]
        later = [each for page in crm.changed_since(CONTACT, now + timedelta(minutes=5)) for each in page]

    assert sorted(recent) == ["1", "2"]
    assert later == []


def test_a_description_that_did_not_change_is_told_by_a_304(sandbox: Sandbox) -> None:
    store = empty_store()
    with adapter(store) as crm:
        first = crm.discover("Contact")
        again = crm.discover("Contact")
    # What another process has.
    with adapter(OperationalStore(store.folder)) as crm:
        later = crm.discover("Contact")

    assert first == again == later
    assert first is not None
    assert first.fields["LastName"].required
    assert calls(sandbox.salesforce, "/sobjects/{sobject}/describe") == {"200": 1, "304": 2}


def test_a_description_that_is_none_is_asked_for_again_and_not_kept(sandbox: Sandbox) -> None:
    with adapter() as crm:
        fault(sandbox.salesforce, {"route": "/describe", "kind": "replace", "status": 200, "body": "{}", "times": 1})

        assert crm.discover("Contact") is not None
        assert crm.discover("No_Such__c") is None


def test_large_bodies_are_sent_compressed_and_small_ones_are_not(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    def answer(request: Received) -> Answer:
        if request.path == TOKEN:
            return 200, {}, b'{"access_token": "x"}'
        packed = request.headers.get("content-encoding") == "gzip"
        body = orjson.loads(gzip.decompress(request.body) if packed else request.body)
        results = [{"success": True, "id": "003"} for _ in body["records"]]
        return 200, {"Content-Type": "application/json"}, orjson.dumps(results)

    with scripted(answer) as server, adapter(url=server.address) as crm:
        crm.upsert(CONTACT, [contact("1")])
        crm.upsert(CONTACT, [contact(str(n)) for n in range(200)])

    _, small, large = server.received
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert len(large.body) < 3000


def test_the_quota_is_learned_from_every_answer(sandbox: Sandbox) -> None:
    httpx.post(f"{sandbox.salesforce}/_sandbox/reset", json={"daily_limit": 5000}).raise_for_status()
    with adapter() as crm:
        crm.upsert(CONTACT, [contact("1")])
        assert crm.quota() == (1, 5000)
        with pytest.raises(ProtocolError):
            crm._org.call(lambda sf: sf.query("nonsense"))
        assert crm.quota() == (2, 5000)

    assert calls(sandbox.salesforce, "/limits").total() == 0


def test_an_app_with_a_share_of_its_own_does_not_hide_the_orgs_quota(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    def answer(request: Received) -> Answer:
        if request.path == TOKEN:
            return 200, {}, b'{"access_token": "x"}'
        usage = "per-app-api-usage=17/250(appName=x); api-usage=25/5000"
        return 200, {"Sforce-Limit-Info": usage}, b'{"DailyApiRequests": {"Max": 1, "Remaining": 1}}'

    with scripted(answer) as server, adapter(url=server.address) as crm:
        crm.probe()
        assert crm.quota() == (25, 5000)


def test_one_bad_record_of_200_is_rejected_alone(sandbox: Sandbox) -> None:
    writes = [contact(str(n), Email="nonsense" if n == 77 else None) for n in range(200)]
    with adapter() as crm:
        outcomes = crm.upsert(CONTACT, writes)

    assert [outcome.external_id for outcome in outcomes] == [write.external_id for write in writes]
    assert [o.external_id for o in outcomes if o.status is not OutcomeStatus.SUCCEEDED] == ["77"]
    assert outcomes[77].code == "INVALID_EMAIL_ADDRESS"
    ids = {each["LMS_User_Id__c"]: each["Id"] for each in records(sandbox.salesforce, "Contact")}
    assert {o.external_id: o.crm_id for o in outcomes if o.crm_id} == ids
    assert len(ids) == 199


def test_keys_of_all_kinds_are_read_in_short_addresses(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    keys = ["it's", 'a "quote"', "back\\slash", "漢字 🎓", "per%cent", *(f"key-{n:060}" for n in range(245))]
    with adapter() as crm:
        for start in range(0, len(keys), 200):
            crm.upsert(CONTACT, [contact(key) for key in keys[start : start + 200]])

        assert sorted(each.external_id for each in crm.read(CONTACT, [*keys, "missing"])) == sorted(keys)
        assert crm.read(CONTACT, []) == []


def test_archiving_twice_is_archiving(sandbox: Sandbox) -> None:
    with adapter() as crm:
        (created,) = crm.upsert(CONTACT, [contact("1")])
        gone = CrmWrite("1", created.crm_id, Action.ARCHIVE, {})
        assert [crm.archive(CONTACT, [gone])[0].status for _ in range(2)] == [OutcomeStatus.SUCCEEDED] * 2

    assert [each["IsDeleted"] for each in records(sandbox.salesforce, "Contact")] == [True]


def test_every_call_passes_the_gate_and_names_the_contracts_version(sandbox: Sandbox) -> None:
    with adapter(api_version="62.0") as crm:
        fill(crm)
        everything(crm, CrmObject.COMPLETION)
        counted = crm.traffic["calls"]

    log = httpx.get(f"{sandbox.salesforce}/_sandbox/log").json()["calls"]
    assert counted == len(log)
    assert {found[1] for call in log if (found := re.search(r"/data/v([\d.]+)/", call["path"]))} == {"62.0"}


def test_an_edit_in_the_crm_is_seen(sandbox: Sandbox) -> None:
    with adapter() as crm:
        crm.upsert(CONTACT, [contact("1")])
        mutate(
            sandbox.salesforce,
            object="Contact",
            op="update",
            key_field="LMS_User_Id__c",
            key="1",
            fields={"LastName": "Roe"},
        )

        assert [each.values["LastName"] for each in crm.read(CONTACT, ["1"])] == ["Roe"]
