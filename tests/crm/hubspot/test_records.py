"""Batches of records, judged by what the portal holds afterwards."""

import json
from typing import Any

import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, OutcomeStatus, Treatment
from lms_crm_assets.errors import RetryableError
from tests.crm.hubspot.portal import UNLIMITED, adapter, configure, contacts, globex, keys_of, reset, spec_of
from tests.sandbox_control import fault, records, requests

CONTACT, COURSE = spec_of(CrmObject.CONTACT), spec_of(CrmObject.COURSE)
VERSIONS = pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])


def held(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return keys_of(records(sandbox.hubspot, "contacts"), "lms_user_id")


@VERSIONS
def test_one_bad_record_of_a_hundred_costs_only_itself(sandbox: Sandbox, version: str) -> None:
    keys = [f"u{n}" for n in range(100)]
    writes = contacts(keys)
    writes[41] = CrmWrite("u41", None, Action.CREATE, {"email": "no address"})

    with adapter(globex(api_version=version)) as crm:
        outcomes = crm.upsert(CONTACT, writes)
        found = crm.read(CONTACT, keys)

    stored = held(sandbox)
    assert set(stored) == set(keys) - {"u41"}
    assert [outcome.external_id for outcome in outcomes] == keys
    bad = outcomes.pop(41)
    assert (bad.status, bad.code, bad.treatment) == (OutcomeStatus.REJECTED, "INVALID_EMAIL", Treatment.REJECT)
    # The simulator shuffles its results: each outcome has the id of its own record.
    assert {o.external_id: o.crm_id for o in outcomes} == {key: record["id"] for key, record in stored.items()}
    assert {o.status for o in outcomes} == {OutcomeStatus.SUCCEEDED}
    assert {r.external_id: (r.crm_id, r.values["email"]) for r in found} == {
        key: (record["id"], record["properties"]["email"]) for key, record in stored.items()
    }
    routes = set(requests(sandbox.hubspot))
    assert all(("{version}" in route) == (version != "v3") for route in routes), routes


@VERSIONS
def test_a_record_is_updated_listed_and_archived(sandbox: Sandbox, version: str) -> None:
    with adapter(globex(api_version=version)) as crm:
        (made,) = crm.upsert(COURSE, [CrmWrite("c1", None, Action.CREATE, {"hs_course_name": "One"})])
        crm.upsert(COURSE, [CrmWrite("c1", made.crm_id, Action.UPDATE, {"lms_course_code": "C-1"})])
        pages = list(crm.snapshot(COURSE))
        gone = crm.archive(COURSE, [CrmWrite("c1", made.crm_id, Action.ARCHIVE, {})])

    (listed,) = pages[0]
    assert (listed.external_id, listed.crm_id) == ("c1", made.crm_id)
    assert (listed.values["hs_course_name"], listed.values["lms_course_code"]) == ("One", "C-1")
    assert gone[0].status is OutcomeStatus.SUCCEEDED
    assert [record["archived"] for record in records(sandbox.hubspot, "courses")] == [True]


@pytest.mark.parametrize(
    ("category", "status", "treatment"),
    [
        ("VALIDATION_ERROR", OutcomeStatus.REJECTED, Treatment.REJECT),
        ("CONFLICT", OutcomeStatus.FAILED, Treatment.ONCE_MORE),
        ("INTERNAL_ERROR", OutcomeStatus.FAILED, Treatment.RESEND),
    ],
)
def test_what_can_be_done_about_a_record_is_in_its_outcome(
    sandbox: Sandbox, category: str, status: OutcomeStatus, treatment: Treatment
) -> None:
    poison = {"object": "contacts", "key_pattern": "^u2$", "category": category}
    configure(sandbox.hubspot, record_faults=[poison])

    with adapter(globex()) as crm:
        outcomes = crm.upsert(CONTACT, contacts(["u1", "u2", "u3"]))

    assert (outcomes[1].status, outcomes[1].code, outcomes[1].treatment) == (status, category, treatment)
    assert set(held(sandbox)) == {"u1", "u3"}
    configure(sandbox.hubspot, record_faults=[])


def test_a_record_that_the_answer_leaves_out_is_unknown(sandbox: Sandbox) -> None:
    row = {"id": "7", "properties": {"lms_user_id": "u1"}}
    body = json.dumps({"status": "COMPLETE", "results": [row]})
    fault(sandbox.hubspot, {"route": "upsert", "kind": "replace", "status": 200, "body": body})

    with adapter(globex()) as crm:
        told, untold = crm.upsert(CONTACT, contacts(["u1", "u2"]))

    assert (told.status, told.crm_id) == (OutcomeStatus.SUCCEEDED, "7")
    assert (untold.status, untold.code, untold.treatment) == (OutcomeStatus.FAILED, "NO_RESULT", Treatment.READ_BACK)


def test_an_error_that_names_the_key_in_place_of_the_trace_is_understood(sandbox: Sandbox) -> None:
    error = {"status": "error", "category": "VALIDATION_ERROR", "message": "no", "context": {"ids": ["u2"]}}
    row = {"id": "7", "properties": {"lms_user_id": "u1"}}
    body = json.dumps({"status": "COMPLETE", "results": [row], "errors": [error]})
    fault(sandbox.hubspot, {"route": "upsert", "kind": "replace", "status": 200, "body": body})

    with adapter(globex()) as crm:
        outcomes = crm.upsert(CONTACT, contacts(["u1", "u2"]))

    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.SUCCEEDED, OutcomeStatus.REJECTED]


def test_keys_are_read_a_hundred_at_a_time_and_missing_ones_left_out(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, **UNLIMITED)
    keys = [f"u{n}" for n in range(250)]
    with adapter(globex()) as crm:
        for start in range(0, 250, 100):
            crm.upsert(CONTACT, contacts(keys[start : start + 100]))
        found = crm.read(CONTACT, [*keys, "nobody"])

    assert {record.external_id for record in found} == set(keys)
    assert requests(sandbox.hubspot)["POST /crm/v3/objects/{type}/batch/read"] == {"200": 2, "207": 1}


def test_a_read_that_failed_for_some_says_nothing_of_them(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lms_crm_assets.ops.patience._FIRST_WAIT_SECONDS", 0.01)
    error = {"status": "error", "category": "INTERNAL_ERROR", "message": "no", "context": {"ids": ["u1"]}}
    body = json.dumps({"status": "COMPLETE", "results": [], "errors": [error]})
    fault(sandbox.hubspot, {"route": "batch/read", "kind": "replace", "status": 207, "body": body})

    with adapter(globex()) as crm, pytest.raises(RetryableError, match="INTERNAL_ERROR"):
        crm.read(CONTACT, ["u1"])
