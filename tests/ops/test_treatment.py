"""The retry taxonomy: what is done about each answer (facts: reliability, salesforce, hubspot, lms)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms_crm_assets.domain import Treatment
from lms_crm_assets.ops.treatment import Answer, System, treatment

T = Treatment


@pytest.mark.parametrize(
    ("system", "answer", "expected"),
    [
        # Connections and bodies.
        ("salesforce", Answer(None, sent=False), T.RETRY),
        ("salesforce", Answer(None), T.READ_BACK),
        ("hubspot", Answer(200, readable=False), T.READ_BACK),
        ("lms", Answer(204, readable=False), T.READ_BACK),
        # Trouble of the other side's own.
        *[
            (system, Answer(status), T.RETRY)
            for system in ("salesforce", "hubspot", "lms")
            for status in (500, 502, 503, 504)
        ],
        ("hubspot", Answer(423, "LOCKED"), T.RETRY),
        ("hubspot", Answer(521), T.RETRY),
        ("salesforce", Answer(503, "SERVER_UNAVAILABLE"), T.RESEND),
        # Rates and quotas.
        ("hubspot", Answer(429, "TEN_SECONDLY_ROLLING"), T.SLOW_DOWN),
        ("hubspot", Answer(429, "SECONDLY"), T.SLOW_DOWN),
        ("hubspot", Answer(477, "MIGRATION_IN_PROGRESS"), T.SLOW_DOWN),
        ("hubspot", Answer(429, "DAILY"), T.PAUSE),
        ("salesforce", Answer(429), T.SLOW_DOWN),
        ("salesforce", Answer(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), T.PAUSE),
        (
            "salesforce",
            Answer(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
            T.NARROW,
        ),
        ("lms", Answer(429), T.SLOW_DOWN),
        ("lms", Answer(403, message="403 Forbidden (Rate Limit Exceeded)"), T.SLOW_DOWN),
        # Credentials and permissions.
        ("salesforce", Answer(401, "INVALID_SESSION_ID", "Session expired or invalid"), T.REFRESH),
        ("hubspot", Answer(401, "EXPIRED_AUTHENTICATION"), T.REFRESH),
        ("hubspot", Answer(403, "MISSING_SCOPES"), T.PARK),
        ("salesforce", Answer(403, "INSUFFICIENT_ACCESS"), T.PARK),
        ("lms", Answer(403), T.PARK),
        # Whole batches.
        ("hubspot", Answer(400, "VALIDATION_ERROR"), T.BISECT),
        ("hubspot", Answer(409, "CONFLICT", "Contact already exists. Existing ID: 7"), T.BISECT),
        ("salesforce", Answer(400, "JSON_PARSER_ERROR"), T.BISECT),
        ("salesforce", Answer(400, "INVALID_FIELD", "No such column 'foo' on sobject of type Bar"), T.STOP),
        ("salesforce", Answer(400, "INVALID_TYPE", "sObject type 'Bar' is not supported."), T.STOP),
        ("hubspot", Answer(400, "VALIDATION_ERROR", "Unable to infer object type from: p_gone"), T.STOP),
        ("salesforce", Answer(404, "NOT_FOUND"), T.PARK),
        ("hubspot", Answer(302), T.PARK),
        # Records.
        *[
            ("salesforce", Answer(400, code, of_record=True), T.REJECT)
            for code in (
                "DUPLICATES_DETECTED",
                "REQUIRED_FIELD_MISSING",
                "STRING_TOO_LONG",
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                "FIELD_CUSTOM_VALIDATION_EXCEPTION",
                "INVALID_EMAIL_ADDRESS",
                "INVALID_CROSS_REFERENCE_KEY",
                "ENTITY_IS_DELETED",
                "NOBODY_KNOWS_THIS_ONE",
            )
        ],
        ("salesforce", Answer(400, "UNABLE_TO_LOCK_ROW", of_record=True), T.RESEND),
        ("salesforce", Answer(400, "API_TEMPORARILY_UNAVAILABLE", of_record=True), T.RESEND),
        ("salesforce", Answer(400, "QUERY_TIMEOUT"), T.RESEND),
        ("salesforce", Answer(400, "DUPLICATE_VALUE", of_record=True), T.ONCE_MORE),
        (
            "salesforce",
            Answer(
                400,
                "INVALID_FIELD",
                "Foreign key external ID: 1580 not found for field X__c in entity User",
                of_record=True,
            ),
            T.HOLD,
        ),
        ("salesforce", Answer(400, "INVALID_FIELD", "No such column 'foo'", of_record=True), T.STOP),
        ("salesforce", Answer(400, "INVALID_TYPE", of_record=True), T.STOP),
        # The org's trouble: however often it is refused, the data is not to blame.
        ("salesforce", Answer(400, "STORAGE_LIMIT_EXCEEDED", of_record=True), T.HOLD),
        ("salesforce", Answer(400, "INSUFFICIENT_ACCESS_OR_READONLY", of_record=True), T.HOLD),
        ("hubspot", Answer(207, "PROPERTY_DOESNT_EXIST", of_record=True), T.STOP),
        ("hubspot", Answer(207, "INVALID_EMAIL", of_record=True), T.REJECT),
        ("hubspot", Answer(207, "VALIDATION_ERROR", of_record=True), T.REJECT),
        ("hubspot", Answer(207, "CONFLICT", of_record=True), T.ONCE_MORE),
        ("hubspot", Answer(207, "NO_RESULT", of_record=True), T.READ_BACK),
    ],
)
def test_each_answer_has_its_treatment(system: System, answer: Answer, expected: Treatment) -> None:
    assert treatment(system, answer) is expected


@given(
    system=st.sampled_from(["salesforce", "hubspot", "lms"]),
    status=st.none() | st.integers(100, 599),
    code=st.sampled_from(["", "X", "REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "DAILY"]),
    of_record=st.booleans(),
)
def test_whatever_comes_has_a_treatment_and_a_record_never_stops_a_run(
    system: System,
    status: int | None,
    code: str,
    of_record: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    found = treatment(system, Answer(status, code, of_record=of_record))

    assert isinstance(found, Treatment)
    if of_record and status in {200, 207, 400}:
        assert found not in {T.PARK, T.REFRESH, T.BISECT, T.SLOW_DOWN, T.NARROW}
