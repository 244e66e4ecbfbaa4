"""What each answer means: the class of the exception says what to do, and its text holds nothing of the record's."""

import json
from typing import Any

import pytest

from lms_crm_assets.crm.hubspot import client
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import (
    BatchRefusedError,
    LmsCrmError,
    OutcomeUnknownError,
    PermissionMissingError,
    ProtocolError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from tests.crm.hubspot.portal import adapter, contacts, globex, spec_of
from tests.sandbox_control import fault, requests

CONTACT = CrmObject.CONTACT
UPSERT = "batch/upsert"
CANARY = "Ada Lovelace"


def upsert_failing(**answer: Any) -> LmsCrmError:
    with adapter(globex()) as crm:
        fault(crm.client.url, {"route": UPSERT, "times": 1, **answer})
        with pytest.raises(LmsCrmError) as failed:
            crm.upsert(spec_of(CONTACT), contacts(["a", "b"]))
        assert CANARY not in str(failed.value)
        assert "pat-sandbox" not in str(failed.value)
        return failed.value


def answer(status: int, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    text = json.dumps({"status": "error", "message": f"about {CANARY}", **body})
    return {"kind": "status", "status": status, "headers": headers or {}, "body": text}


LIMIT: dict[str, Any] = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}


@pytest.mark.parametrize(
    ("told", "kind", "wait"),
    [
        (answer(429, **LIMIT), RateLimitedError, None),
        (answer(429, {"Retry-After": "10"}, **LIMIT), RateLimitedError, 10),
        (answer(429, {"Retry-After": "1000000000"}, **LIMIT), RateLimitedError, 3600),
        (answer(477, {"Retry-After": "7"}), RateLimitedError, 7),
        (answer(423), RetryableError, 2),
        (answer(423, {"Retry-After": "30"}), RetryableError, 30),
        *((answer(status), RetryableError, None) for status in (500, 502, 503, 504, 521, 523, 524)),
        ({"kind": "status", "status": 503, "body": "<html>busy</html>"}, RetryableError, None),
        (answer(429, **{**LIMIT, "policyName": "DAILY"}), QuotaReachedError, None),
        ({"kind": "cut_before"}, OutcomeUnknownError, None),
        ({"kind": "cut_after"}, OutcomeUnknownError, None),
        ({"kind": "replace", "status": 200, "body": "<html>hello</html>"}, OutcomeUnknownError, None),
        ({"kind": "replace", "status": 200, "body": "[]"}, OutcomeUnknownError, None),
        ({"kind": "replace", "status": 200, "body": "{}"}, OutcomeUnknownError, None),
        ({"kind": "replace", "status": 200, "body": ""}, OutcomeUnknownError, None),
        ({"kind": "replace", "status": 207, "body": '{"results": ['}, OutcomeUnknownError, None),
    ],
)
def test_trouble_that_passes(sandbox: Sandbox, told: dict[str, Any], kind: type, wait: float | None) -> None:  # noqa: ARG001 - environment
    failed = upsert_failing(**told)

    assert isinstance(failed, RetryableError)
    assert type(failed) is kind or (kind is OutcomeUnknownError and isinstance(failed, OutcomeUnknownError))
    assert failed.retry_after_seconds == wait


@pytest.mark.parametrize(
    ("told", "kind", "said"),
    [
        (answer(400, category="VALIDATION_ERROR"), BatchRefusedError, "400 VALIDATION_ERROR"),
        (answer(409, category="CONFLICT"), BatchRefusedError, "409 CONFLICT"),
        (answer(404, category="OBJECT_NOT_FOUND"), ProtocolError, "404 OBJECT_NOT_FOUND"),
        (answer(405, category=f"of {CANARY}"), ProtocolError, "405 UNKNOWN"),
        (
            answer(
                403,
                category="MISSING_SCOPES",
                errors=[{"context": {"requiredGranularScopes": ["crm.objects.contacts.write"]}}],
            ),
            PermissionMissingError,
            "grant the app or service key the scope crm.objects.contacts.write",
        ),
        (answer(403), PermissionMissingError, "check the scopes"),
    ],
)
def test_trouble_that_stays(sandbox: Sandbox, told: dict[str, Any], kind: type, said: str) -> None:  # noqa: ARG001 - as above
    failed = upsert_failing(**told)

    assert type(failed) is kind
    assert said in str(failed)
    assert not isinstance(failed, BatchRefusedError) or failed.detail == f"about {CANARY}"


def test_a_redirect_is_not_followed_with_the_token(sandbox: Sandbox) -> None:
    elsewhere = {"Location": f"{sandbox.school}/stolen"}

    failed = upsert_failing(**answer(308, elsewhere))

    assert type(failed) is ProtocolError
    assert requests(sandbox.school) == {}


def test_an_answer_that_does_not_come_leaves_the_outcome_unknown(
    sandbox: Sandbox,  # noqa: ARG001 - as above
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_TIMEOUT_SECONDS", (5, 0.2))

    assert isinstance(upsert_failing(kind="delay", seconds=1.0), OutcomeUnknownError)


def test_nothing_at_the_address_was_asked_nothing(sandbox: Sandbox, unused_port: int) -> None:  # noqa: ARG001 - as above
    nowhere = f"http://127.0.0.1:{unused_port}"
    with adapter(globex(url=nowhere)) as crm:
        with pytest.raises(UnreachableError, match=f"HubSpot at {nowhere} can't be reached"):
            crm.upsert(spec_of(CONTACT), contacts(["a"]))
        with pytest.raises(WrongAddressError, match=r"check destination\.url"):
            crm.probe()


def test_another_site_at_the_address_is_a_wrong_address(sandbox: Sandbox) -> None:
    fault(sandbox.hubspot, {"route": "contacts", "kind": "status", "status": 200, "body": "<html>welcome</html>"})

    with adapter(globex()) as crm, pytest.raises(WrongAddressError, match=r"check destination\.url"):
        crm.probe()


def test_reads_are_made_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lms_crm_assets.ops.patience._FIRST_WAIT_SECONDS", 0.01)
    fault(sandbox.hubspot, {"route": "properties", "kind": "status", "status": 503, "times": 2})

    with adapter(globex()) as crm:
        assert crm.discover("contacts") is not None
        assert (crm.traffic["calls"], crm.traffic["failed"]) == (4, 2)
