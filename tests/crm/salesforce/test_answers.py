"""What answers mean: the class of the error says what to do, and records are judged one by one."""

import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject, CrmWrite, OutcomeStatus, Treatment
from lms_crm_assets.errors import (
    BatchRefusedError,
    FatalError,
    LmsCrmError,
    OutcomeUnknownError,
    PermissionMissingError,
    ProtocolError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    SchemaChangedError,
    TooManyAtOnceError,
    UnreachableError,
)
from tests.conftest import empty_store
from tests.crm.salesforce.support import adapter, calls, contact, options, spec_of
from tests.sandbox_control import fault, records

CONTACT = spec_of(CrmObject.CONTACT)
UPSERT = "PATCH .*/composite/sobjects/"
MAIL = "learner@example.com"
HTML = f"<html>{MAIL}</html>"


def told(code: str, message: str = MAIL) -> str:
    return f'[{{"message": "{message}", "errorCode": "{code}"}}]'


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ({"kind": "cut_before"}, OutcomeUnknownError),
        ({"kind": "cut_after"}, OutcomeUnknownError),
        ({"kind": "replace", "status": 200, "body": HTML}, OutcomeUnknownError),
        ({"kind": "replace", "status": 200, "body": ""}, OutcomeUnknownError),
        ({"kind": "replace", "status": 200, "body": "[]"}, OutcomeUnknownError),
        ({"kind": "replace", "status": 200, "body": "null"}, OutcomeUnknownError),
        ({"kind": "replace", "status": 200, "body": "[7]"}, OutcomeUnknownError),
        ({"kind": "replace", "status": 200, "body": '[{"success": true}, {"success": true}]'}, OutcomeUnknownError),
        ({"kind": "status", "status": 500, "body": HTML}, RetryableError),
        ({"kind": "status", "status": 503, "body": told("SERVER_UNAVAILABLE")}, RetryableError),
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "9"}}, RateLimitedError),
        (
            {
                "kind": "status",
                "status": 403,
                "body": told("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
            },
            TooManyAtOnceError,
        ),
        (
            {"kind": "status", "status": 403, "body": told("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")},
            QuotaReachedError,
        ),
        ({"kind": "status", "status": 403, "body": told("INSUFFICIENT_ACCESS")}, PermissionMissingError),
        ({"kind": "status", "status": 400, "body": told("JSON_PARSER_ERROR")}, BatchRefusedError),
        ({"kind": "status", "status": 400, "body": told("INVALID_FIELD", "No such column 'X'")}, SchemaChangedError),
        ({"kind": "status", "status": 404, "body": told("NOT_FOUND")}, FatalError),
        ({"kind": "status", "status": 308, "headers": {"Location": "https://elsewhere.example/"}}, ProtocolError),
    ],
)
def test_an_answer_to_a_batch_says_what_to_do_and_no_learners_data(
    sandbox: Sandbox, trouble: dict[str, Any], error: type[LmsCrmError]
) -> None:
    with adapter() as crm:
        crm.probe()
        fault(sandbox.salesforce, {"route": UPSERT} | trouble)

        with pytest.raises(error) as caught:
            crm.upsert(CONTACT, [contact("1", Email=MAIL)])

    assert type(caught.value) is error
    assert MAIL not in "".join(traceback.format_exception(caught.value))
    assert calls(sandbox.salesforce, "/composite/sobjects/{sobject}/{field}").total() == 1
    if isinstance(caught.value, RateLimitedError) and not isinstance(caught.value, TooManyAtOnceError):
        assert caught.value.retry_after_seconds == 9
    if isinstance(caught.value, BatchRefusedError):
        assert (caught.value.code, caught.value.detail) == ("JSON_PARSER_ERROR", MAIL)
    assert len(records(sandbox.salesforce, "Contact")) == (trouble["kind"] in {"cut_after", "replace"})


def test_a_write_that_was_never_sent_is_unreachable(sandbox: Sandbox, unused_port: int) -> None:
    with adapter() as crm:
        crm.probe()
        crm._org._session._base = crm._org._session._base._replace(netloc=f"127.0.0.1:{unused_port}")

        with pytest.raises(UnreachableError):
            crm.upsert(CONTACT, [contact("1")])

    assert records(sandbox.salesforce, "Contact") == []


def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_unknown(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with adapter() as crm:
        crm.probe()
        monkeypatch.setattr("lms_crm_assets.crm.salesforce.session._TIMEOUT_SECONDS", (5, 0.05))
        fault(sandbox.salesforce, {"route": UPSERT, "kind": "delay", "seconds": 0.5})

        with pytest.raises(OutcomeUnknownError):
            crm.upsert(CONTACT, [contact("1")])


def test_reads_are_tried_again(sandbox: Sandbox) -> None:
    with adapter() as crm:
        crm.upsert(CONTACT, [contact("1")])
        fault(
            sandbox.salesforce,
            {"route": "/query", "kind": "cut_after", "times": 1},
            {"route": "/query", "kind": "replace", "status": 200, "body": HTML, "times": 1},
            {"route": "/query", "kind": "replace", "status": 200, "body": '{"records": [{}]}', "times": 1},
        )

        assert [each.external_id for each in crm.read(CONTACT, ["1"])] == ["1"]


def test_calls_that_are_too_many_at_once_narrow_the_gate_and_go_on(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, concurrent_limit=2, latency_seconds=0.02)
    with adapter(concurrency=12) as crm, ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda key: crm.read(CONTACT, [str(key)]), range(60)))

    answered = calls(sandbox.salesforce, "/query")
    assert answered["200"] == 60
    assert 0 < answered["403"] < 60
    assert crm.traffic["rate_limited"] == answered["403"]


def test_a_refused_read_is_for_a_person(sandbox: Sandbox) -> None:
    with adapter() as crm:
        fault(sandbox.salesforce, {"route": "/query", "kind": "status", "status": 400, "body": told("SOME_CODE")})

        with pytest.raises(ProtocolError, match="SOME_CODE"):
            crm.read(CONTACT, ["1"])


def test_used_up_calls_stop_every_process(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, daily_limit=3)
    store = empty_store()
    with adapter(store) as crm:
        for _ in range(3):
            crm.upsert(CONTACT, [contact("1")])
        assert crm.quota() == (3, 3)
        before = calls(sandbox.salesforce, "/composite/sobjects/{sobject}/{field}").total()

        with pytest.raises(QuotaReachedError), adapter(store) as other:
            other.upsert(CONTACT, [contact("2")])

    assert calls(sandbox.salesforce, "/composite/sobjects/{sobject}/{field}").total() == before


@pytest.mark.parametrize(
    ("changed", "write", "status", "treatment"),
    [
        ({}, contact("1", Email="nonsense"), OutcomeStatus.REJECTED, Treatment.REJECT),
        (
            {"row_faults": [{"object": "Contact", "statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain"}]},
            contact("1"),
            OutcomeStatus.FAILED,
            Treatment.RESEND,
        ),
        (
            {"row_faults": [{"object": "Contact", "statusCode": "DUPLICATE_VALUE", "message": "duplicate value"}]},
            contact("1"),
            OutcomeStatus.FAILED,
            Treatment.ONCE_MORE,
        ),
    ],
)
def test_a_records_refusal_says_what_may_still_be_done(
    sandbox: Sandbox, changed: dict[str, Any], write: CrmWrite, status: OutcomeStatus, treatment: Treatment
) -> None:
    options(sandbox.salesforce, **changed)
    with adapter() as crm:
        (refused,) = crm.upsert(CONTACT, [write])

    assert (refused.status, refused.treatment) == (status, treatment)
    assert refused.code


def test_a_child_before_its_parent_is_held(sandbox: Sandbox) -> None:
    with adapter() as crm:
        completion = contact("1:1", {CrmObject.CONTACT: "nobody"})
        child = type(completion)("1:1", None, completion.action, {"State__c": "completed"}, completion.parents)
        (outcome,) = crm.upsert(spec_of(CrmObject.COMPLETION), [child])

    assert (outcome.status, outcome.code, outcome.treatment) == (
        OutcomeStatus.FAILED,
        "INVALID_FIELD",
        Treatment.HOLD,
    )
    assert records(sandbox.salesforce, "LMS_Completion__c") == []
